"""Finding upstreams (L5): the addresses of names, kept current, and the upstreams that a name stands for."""
