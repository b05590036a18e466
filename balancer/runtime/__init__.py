"""Processes: the supervisor, the workers, and what passes between them."""
