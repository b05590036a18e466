"""The rules that choose an upstream: the seam, the registry, one file per policy."""
