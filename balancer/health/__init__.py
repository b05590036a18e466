"""Active checks of upstreams, made by the supervisor."""
