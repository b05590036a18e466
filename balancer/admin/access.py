"""Who is let in (L6): a reload changes it while the server runs."""

from balancer.admin.hosts import Hosts


class Access:
    """The present ADMIN_TOKEN, "" if none is set, and the names that the listener answers for."""

    __slots__ = ("hosts", "token")

    def __init__(self, token: str, hosts: Hosts) -> None:
        self.token = token
        self.hosts = hosts
