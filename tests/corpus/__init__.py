"""Raw requests and responses with the verdict that each must have, and the drivers that test them."""
