"""The side-by-side benchmark (`make bench`): a table of cases, each run with every proxy in turn."""
