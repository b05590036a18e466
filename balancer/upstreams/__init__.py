"""One address requests are sent to, and the states it can be in."""
