"""What clients get when more comes than app replicas can do, and when only it looks so (`make overload`)."""
