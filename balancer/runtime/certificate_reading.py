"""The process that reads changed certificates (L7): `python -m balancer.runtime.certificate_reading`.

It gets a `ReadRequest` on stdin, and answers with a `ReadAnswer` on stdout. A disk that does not answer stops
this process, not the supervisor; and the 15 MiB of cryptography go with it.
"""

import signal
import sys
import time
from typing import TYPE_CHECKING

from balancer.runtime.certificate_sources import (
    ReadAnswer,
    ReadAuthorities,
    ReadPair,
    ReadRequest,
    Unusable,
    decode_request,
)
from balancer.spec.part import encode
from balancer.spec.tls import CertificateSpec

if TYPE_CHECKING:
    from balancer.certificates.pair import Pair

MOST_SECONDS = 30  # it ends itself, in case the supervisor is no longer there to do it


def certificate_spec(label: str, pair: "Pair") -> CertificateSpec:
    """What workers get of a pair."""
    return CertificateSpec(
        label=label,
        names=pair.names,
        chain=pair.chain,
        key=pair.key,
        not_after=pair.not_after,
        not_before=pair.not_before,
    )


def answer_to(request: ReadRequest, now: float) -> ReadAnswer:
    """Read what is asked for; `now` is in seconds since the epoch."""
    from balancer.certificates.problem import CertificateError
    from balancer.certificates.reading import authorities_from, pair_for_upstreams, pair_from_files

    pairs: list[ReadPair | Unusable] = []
    for files in request.pairs:
        try:
            if request.for_upstreams:
                pair = pair_for_upstreams(files.certificate, files.key, now)
            else:
                pair = pair_from_files(files.certificate, files.key, request.password_file, now)
        except CertificateError as error:
            pairs.append(Unusable(why=str(error)))
        else:
            spec = certificate_spec(files.certificate, pair)
            pairs.append(ReadPair(spec=spec, issuer=pair.issuer, warnings=pair.warnings))
    authorities: ReadAuthorities | Unusable | None = None
    if request.authorities:
        try:
            pem, warnings = authorities_from(request.authorities, now)
        except CertificateError as error:
            authorities = Unusable(why=str(error))
        else:
            authorities = ReadAuthorities(pem=pem, warnings=warnings)
    return ReadAnswer(pairs=tuple(pairs), authorities=authorities)


def main() -> None:
    """Answer one request."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the supervisor ignores it, and that is inherited
    signal.alarm(MOST_SECONDS)
    request = decode_request(sys.stdin.buffer.read())
    sys.stdout.buffer.write(encode(answer_to(request, time.time())))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
