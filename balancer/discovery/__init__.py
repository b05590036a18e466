"""Finding upstreams (L5): keeps the addresses of names current, and finds the upstreams behind a name."""
