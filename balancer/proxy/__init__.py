"""A request's path between client side and upstream side: exchange, attempt, retries, tunnels (L5)."""
