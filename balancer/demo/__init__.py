"""The demo: embedded app replicas, a gentle load, and a live table."""
