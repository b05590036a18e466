"""An instance's spec (L1) as frozen values: `worker` crosses the control channel, `diff` compares two."""
