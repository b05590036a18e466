"""A balancer that is changed while it serves, and what its clients notice (`make live`)."""
