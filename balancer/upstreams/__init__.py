"""An upstream: one address that requests are sent to, and its states."""
