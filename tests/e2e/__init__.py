"""Real containers under load: `make e2e`."""
