"""The client side: connections, their requests and responses, and the data plane that sweeps them (L6)."""
