"""The queue for a slot: admission, order, deadlines and refusals."""
