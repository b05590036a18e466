"""Adaptive concurrency limits: how many requests an upstream gets at once, found by observing it."""
