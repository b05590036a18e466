"""Fakes: parts of the outside world that tests hold in their own hands."""
