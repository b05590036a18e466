"""What an instance is (L1), as frozen values: `worker` crosses the control channel, `diff` compares two."""
