"""What the commands print, mostly about a running balancer."""
