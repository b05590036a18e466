"""Certificates with their keys (L0): read, checked, put in order. Only short-lived processes load it."""
