"""Load generators and origins for what wrk and nginx cannot do: raw sockets and one epoll each."""
