"""Announces that certificates will expire (L7): 21, 7 and 1 days before, and when they have."""

from balancer.spec.tls import CertificateSpec

DAY = 86400.0
DAYS = (21, 7, 1, 0)


class Expiry:
    """Which announcements have been made, by certificate."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, float], int] = {}

    def due(self, certificate: CertificateSpec, now: float) -> int | None:
        """The announcement to make now, as one of DAYS; None if there is none, or it was made. If several are
        due, only the last. `now` is in seconds since the epoch."""
        left = certificate.not_after - now
        days = min((each for each in DAYS if left <= each * DAY), default=None)
        key = (certificate.label, certificate.not_after)
        if days is None or self._said.get(key, DAYS[0] + 1) <= days:
            return None
        self._said[key] = days
        return days

    def forget(self, label: str) -> None:
        """The certificate was replaced."""
        self._said = {key: days for key, days in self._said.items() if key[0] != label}
