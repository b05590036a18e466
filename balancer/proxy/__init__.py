"""The way of a request: client connection, exchange, attempt, relay."""
