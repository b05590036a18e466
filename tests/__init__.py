"""The tests, room by room as in `balancer`. A package so that all may use `tests.fakes`."""
