"""Raw requests and responses with the verdict each must get, and what is needed to put them to the test."""
