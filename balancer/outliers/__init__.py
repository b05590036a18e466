"""Outlier detection by live traffic: who is suspect, who is ejected, and for how long."""
