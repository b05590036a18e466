"""Announcements before a certificate expires."""

from hypothesis import given
from hypothesis import strategies as st

from balancer.runtime.expiry import DAY, DAYS, Expiry
from balancer.spec.tls import CertificateSpec


def certificate(not_after: float = 0.0) -> CertificateSpec:
    return CertificateSpec(label="site", names=(), chain=b"", key=b"", not_after=not_after)


def said(*moments: float) -> list[int | None]:
    """At each moment, in days after the end."""
    expiry = Expiry()
    return [expiry.due(certificate(), moment * DAY) for moment in moments]


def test_it_is_announced_21_7_and_1_days_before_and_at_the_end() -> None:
    assert said(-30, -21.01, -21, -20, -7.01, -7, -6, -1, -0.5, 0, 100) == [
        *(None, None, 21, None, None, 7, None, 1, None, 0, None),
    ]


def test_at_a_late_start_only_the_last_one_is_said() -> None:
    assert said(-5, -5) == [7, None]
    assert said(3) == [0]


def test_a_renewed_certificate_has_its_own() -> None:
    expiry = Expiry()
    assert expiry.due(certificate(), -DAY) == 1
    expiry.forget("site")
    assert expiry.due(certificate(90 * DAY), -DAY) is None
    assert expiry.due(certificate(90 * DAY), 83 * DAY) == 7


@given(st.lists(st.floats(-40, 40), max_size=60))
def test_each_is_said_at_most_once_and_in_order(moments: list[float]) -> None:
    found = [each for each in said(*sorted(moments)) if each is not None]
    assert found == sorted(set(found), reverse=True)
    assert set(found) <= set(DAYS)
