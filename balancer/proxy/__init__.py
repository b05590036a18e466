"""The way of a request between its two sides: exchange, attempt, retries, tunnels (L5)."""
