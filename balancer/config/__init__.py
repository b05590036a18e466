"""Settings (L1): models, and the loader that fills them from environment and file."""
