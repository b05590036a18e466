"""Outlier detection by live traffic: which upstreams are suspect or ejected, and for how long."""
