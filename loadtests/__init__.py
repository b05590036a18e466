"""The load tests: the side-by-side benchmark and its nginx and HAProxy settings."""
