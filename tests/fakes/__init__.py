"""Fakes: parts of the outside world that tests control."""
