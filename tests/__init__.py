"""The tests, room by room as in `balancer`. A package so that all can import `tests.fakes`."""
