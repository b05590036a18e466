"""Upstream pools: groups of upstreams that share a policy, checks and limits."""
