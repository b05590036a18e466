"""Adaptive concurrency limits: how many requests an upstream is given at once, found by watching it."""
