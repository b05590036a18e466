"""The client side: connections, what they send and are sent, the data plane that watches them (L6)."""
