"""Load-balancing policies: the interface, the registry, one file per policy."""
