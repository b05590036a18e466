"""Processes: the supervisor, the workers, and the messages between them."""
