"""From the settings of TLS to what workers and the supervisor need (L7), in the process that reads them."""

import os

from balancer.config.acme_paths import certificate_file, folder_of
from balancer.config.pair_files import PairFiles
from balancer.config.tls import TlsSettings
from balancer.config.tls_files import TlsFiles
from balancer.runtime.acme_parts import AcmePlan
from balancer.runtime.certificate_reading import certificate_spec
from balancer.runtime.certificate_sources import TlsPlan
from balancer.spec.tls import TlsSpec


def tls_spec(settings: TlsSettings, files: TlsFiles) -> TlsSpec | None:
    """The TLS listener of the workers; None if there is none."""
    if not files.certificates:
        return None
    return TlsSpec(
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
    folder = os.path.abspath(folder_of(acme.storage, acme.directory_url))
    kept = [PairFiles(certificate_file(folder, domain)) for domain in files.domains]
    return TlsPlan(
        listen=settings.listen,
        files=(*settings.certificates, *kept),
        password_file=settings.password_file,
        client_ca=settings.client_ca,
        issuers={label: pair.issuer for label, pair in files.certificates},
        stamps=dict(files.stamps),
        acme=AcmePlan(
            domains=files.domains,
            awaited=files.awaited,
            directory_url=acme.directory_url,
            folder=folder,
            email=acme.email,
            ca=os.path.abspath(acme.ca) if acme.ca else "",
        )
        if acme.is_on
        else None,
    )
