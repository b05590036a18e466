"""Whether upstreams are fit for work: active checks, made by the supervisor."""
