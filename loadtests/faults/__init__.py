"""Faults of an app replica, and their effect on clients (`make faults`)."""
