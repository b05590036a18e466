"""User instructions per exchange, counted by cachegrind (`make instructions`)."""
