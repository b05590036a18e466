"""The service of clients when app replicas are overloaded, and when they only seem to be (`make
overload`)."""
