"""Sticky sessions: which upstream a client is pinned to, and the cookie that carries the pin."""
