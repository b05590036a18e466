"""The app replica of the load tests and of the compose file: a small application that can be made to fail."""
