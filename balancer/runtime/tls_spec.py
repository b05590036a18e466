"""From the settings of TLS to what workers and the supervisor need (L7), in the process that reads them."""

import os
from collections.abc import Iterator, Mapping

from balancer.config.acme_paths import certificate_file
from balancer.config.pair_files import PairFiles
from balancer.config.tls import TlsSettings
from balancer.config.tls_files import TlsFiles
from balancer.config.upstream_tls import UpstreamTlsSettings
from balancer.config.upstream_tls_files import UpstreamTlsFiles
from balancer.runtime.acme_parts import AcmePlan
from balancer.runtime.certificate_reading import certificate_spec
from balancer.runtime.certificate_sources import TlsPlan, UpstreamTlsPlan, WatchPlan
from balancer.spec.tls import TlsSpec, UpstreamTlsSpec


def tls_spec(settings: TlsSettings, files: TlsFiles) -> TlsSpec | None:
    """The TLS listener of the workers; None if there is none."""
    if not files.certificates:
        return None
    return TlsSpec(
        name=str(settings.listen),
        min_version=settings.min_version,
        certificates=tuple(certificate_spec(label, pair) for label, pair in files.certificates),
        client_ca=files.client_ca,
        client_required=bool(files.client_ca) and settings.client_certificates == "required",
        public_port=settings.public_port,
        redirect=settings.redirect,
        hsts=settings.hsts,
    )


def tls_plan(settings: TlsSettings, files: TlsFiles) -> TlsPlan | None:
    """The supervisor's part; None if there is no TLS listener."""
    if not files.certificates:
        return None
    acme = settings.acme
    kept = [PairFiles(certificate_file(acme.folder, domain)) for domain in files.domains]
    return TlsPlan(
        listen=settings.listen,
        files=WatchPlan(
            pairs=(*settings.certificates, *kept),
            authorities=settings.client_ca,
            stamps=dict(files.stamps),
            password_file=settings.password_file,
            issuers={label: pair.issuer for label, pair in files.certificates},
            automatic=files.domains,
            awaited=files.awaited,
        ),
        acme=AcmePlan(
            domains=files.domains,
            awaited=files.awaited,
            directory_url=acme.directory_url,
            folder=acme.folder,
            email=acme.email,
            ca=os.path.abspath(acme.ca) if acme.ca else "",
        )
        if acme.is_on
        else None,
    )


def upstream_tls_spec(settings: UpstreamTlsSettings, files: UpstreamTlsFiles) -> UpstreamTlsSpec:
    """How a pool speaks TLS with its upstreams."""
    return UpstreamTlsSpec(
        verify=settings.verify,
        ca=files.ca,
        server_name=settings.server_name,
        certificate=None if files.pair is None else certificate_spec(settings.certificate, files.pair),
    )


def upstream_tls_plans(
    pools: Mapping[str, UpstreamTlsSettings], files: Mapping[str, UpstreamTlsFiles]
) -> Iterator[UpstreamTlsPlan]:
    """The supervisor's part, for all pools with the same files together."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for pool, settings in pools.items():
        if settings.files:
            alike.setdefault((settings.ca, settings.certificate, settings.key), []).append(pool)
    for (ca, certificate, key), names in alike.items():
        read = files[names[0]]
        yield UpstreamTlsPlan(
            pools=tuple(names),
            files=WatchPlan(
                pairs=(PairFiles(certificate, key),) if certificate else (),
                authorities=ca,
                stamps=dict(read.stamps),
                issuers={} if read.pair is None else {certificate: read.pair.issuer},
                for_upstreams=True,
            ),
        )
