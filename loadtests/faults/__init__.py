"""What goes wrong with an app replica, and what clients notice of it (`make faults`)."""
