"""The queue for a slot: who waits, in which order, for how long, and who is refused."""
