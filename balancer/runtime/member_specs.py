"""From the entries of UPSTREAMS to their specs (L7)."""

from collections.abc import Iterable

from balancer.config import upstream_spec as written
from balancer.config.finding_specs import DnsSpec, FileSpec, OwnSpec, SrvSpec
from balancer.spec.instance import (
    FindingSpec,
    MembersFileSpec,
    NameSpec,
    OwnSourceSpec,
    ServiceSpec,
    UpstreamSpec,
)
from balancer.spec.tls import UpstreamTlsSpec


def upstreams(entries: Iterable[written.Spec], tls: UpstreamTlsSpec) -> tuple[UpstreamSpec, ...]:
    """Those that are upstreams themselves; `tls` is their pool's."""
    return tuple(
        UpstreamSpec(
            id=one.id,
            host=one.host,
            port=one.port,
            weight=one.weight,
            backup=one.backup,
            server_name=tls.name_of(one.host) if one.tls else "",
        )
        for one in entries
        if isinstance(one, written.UpstreamSpec)
    )


def finding(entries: Iterable[written.Spec], tls: UpstreamTlsSpec) -> tuple[FindingSpec, ...]:
    """Those that find upstreams."""
    return tuple(_finding(one, tls) for one in entries if not isinstance(one, written.UpstreamSpec))


def _finding(one: written.FindingSpec, tls: UpstreamTlsSpec) -> FindingSpec:
    match one:
        case DnsSpec():
            return NameSpec(
                id=one.id,
                host=one.host,
                port=one.port,
                weight=one.weight,
                backup=one.backup,
                refresh=one.refresh,
                server_name=tls.name_of(one.host) if one.tls else "",
            )
        case SrvSpec():
            return ServiceSpec(
                id=one.id,
                host=one.host,
                backup=one.backup,
                refresh=one.refresh,
                nameserver=one.nameserver,
                server_name=tls.name_of(one.domain) if one.tls else "",
            )
        case FileSpec():
            return MembersFileSpec(id=one.id, path=one.path, server_name=tls.server_name)
        case OwnSpec():
            return OwnSourceSpec(id=one.id, server_name=tls.server_name)
