"""The process that orders one certificate (L7): `python -m balancer.runtime.acme_ordering`.

It gets an `OrderRequest` as the first line of stdin, and says what happens in lines on stdout, the last of
which is `Ordered` or `Failed`. After `Publish` it waits for another line. The 40 MiB of acme, requests and
cryptography go with it. What it gets is in the storage before it says so: an account and a certificate that
were given are never lost.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread

from balancer import __version__
from balancer.acme.account import Account, new_account
from balancer.acme.challenge import Shown
from balancer.acme.order import Wanted, order
from balancer.acme.problem import Cause, OrderError
from balancer.certificates.pair import checked
from balancer.certificates.pem import Pem
from balancer.certificates.problem import CertificateError
from balancer.config.acme_paths import certificate_file
from balancer.runtime import acme_files
from balancer.runtime.acme_parts import (
    AccountRecord,
    Failed,
    Note,
    Ordered,
    OrderRequest,
    Publish,
    Said,
    decode_request,
)
from balancer.spec.part import DecodeError, encode
from balancer.spec.tls import ChallengeSpec

MOST_SECONDS = 300  # it ends itself, whatever it waits for


def say(said: Said) -> None:
    """A line for the supervisor."""
    sys.stdout.buffer.write(encode(said) + b"\n")
    sys.stdout.buffer.flush()


def answer_to(request: OrderRequest) -> Ordered | Failed:
    """Order it."""
    wanted = Wanted(
        domain=request.domain,
        directory_url=request.directory_url,
        email=request.email,
        ca=request.ca,
        challenge=request.challenge,
        agent=f"balancer/{__version__}",
    )
    folder = request.folder
    try:
        account = _account(folder)
        issued = order(wanted, account, lambda kept: _keep(folder, kept), _publish)
        text = issued.chain.rstrip() + b"\n" + issued.key
        pair = checked(Pem(certificate_file(folder, request.domain), text), None, None, time.time())
        acme_files.write_certificate(folder, request.domain, text)
    except OrderError as error:
        return Failed(cause=error.cause, why=str(error), retry_after=error.retry_after)
    except OSError as error:
        why = f"{folder} cannot be used: {(error.strerror or str(error)).lower()}"
        return Failed(cause=Cause.REFUSED, why=why)  # it may have been issued, which counts for the authority
    except CertificateError as error:
        return Failed(cause=Cause.REFUSED, why=f"the authority's answer cannot be used: {error}")
    return Ordered(challenge=issued.challenge, not_before=pair.not_before, not_after=pair.not_after)


def _account(folder: str) -> Account:
    """The account that is kept, or a new one, with a key only. Raises OSError."""
    file = acme_files.account_file(folder)
    try:
        record = acme_files.read(file, AccountRecord)
        if record is not None:
            account = Account(record.key, record.url, record.email)
            _ = account.jwk
            return account
    except (DecodeError, ValueError):
        say(Note(text=f"{file} is damaged, so a new account is made; the old file is kept as {file}.damaged"))
        with suppress(OSError):
            os.rename(file, f"{file}.damaged")
    return new_account()


def _keep(folder: str, account: Account) -> None:
    acme_files.write_account(folder, AccountRecord(key=account.key, url=account.url, email=account.email))


def _publish(shown: Sequence[Shown]) -> None:
    say(
        Publish(
            challenges=tuple(
                ChallengeSpec(
                    domain=one.domain, token=one.token, answer=one.answer, chain=one.chain, key=one.key
                )
                for one in shown
            )
        )
    )
    if not sys.stdin.buffer.readline():
        sys.exit("the supervisor is gone")


def _end_with_supervisor() -> None:
    """Exit once nobody can write to stdin any more: an authority that does not answer would hold this process
    for a while, and another instance may order by now."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)  # POLLHUP is always reported
    poll.poll()
    os._exit(0)


def main() -> None:
    """Answer one request."""
    Thread(target=_end_with_supervisor, daemon=True).start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the supervisor ignores it, and that is inherited
    signal.alarm(MOST_SECONDS)
    os.umask(0o077)
    say(answer_to(decode_request(sys.stdin.buffer.readline())))


if __name__ == "__main__":
    main()
