"""Members from lists of texts (L5), as files and one's own sources have them."""

from collections.abc import Iterable

from balancer.config.upstream_spec import UpstreamSpec, parse_member
from balancer.discovery.member import Member


def members_in(texts: Iterable[object], server_name: str) -> tuple[Member, ...]:
    """The members that `texts` name in the syntax of UPSTREAMS, in their order, each once. `server_name`:
    whom those by TLS must prove to be; "" for their own addresses. Raises ValueError with a sentence."""
    found: dict[str, Member] = {}
    for number, text in enumerate(texts, 1):
        try:
            spec = parse_member(text)
        except ValueError as error:
            raise ValueError(f"entry {number}: {_shown(text)} {error}") from None
        if spec.id in found:
            raise ValueError(f"entry {number}: {spec.id} is listed twice; keep one of them")
        found[spec.id] = member(spec, server_name)
    return tuple(found.values())


def member(spec: UpstreamSpec, server_name: str) -> Member:
    """The member at the address of `spec`."""
    name = (server_name or spec.host) if spec.tls else ""
    return Member(spec.id, spec.host, spec.port, spec.weight, spec.host, spec.backup, name)


_LONGEST = 100  # characters of an entry that a message repeats


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
