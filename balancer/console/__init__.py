"""What the commands print about a balancer, mostly a running one."""
