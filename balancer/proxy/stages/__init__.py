"""What a route may do with its requests besides forwarding them. A route without a stage pays one test."""
