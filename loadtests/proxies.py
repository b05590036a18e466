"""How nginx, HAProxy and this balancer are started with settings made from templates."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
# Up to this size the origin's body is part of its settings: one write and no file, as wrk and the origin
# together must be faster than the proxy. nginx accepts at most 4,096 bytes in one word.
INLINE_BODY = 2048
BACKLOG = 4096  # connections that wait to be accepted


class FileTemplate(Template):
    """`@{name}` is replaced; nginx's own `$name` stays."""

    delimiter = "@"


@dataclass(frozen=True, slots=True)
class Launch:
    """The command to start, and its environment."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def origin(
    directory: Path,
    ports: Sequence[int],
    body: int = 0,
    *,
    answer: str = "",
    maps: str = "",
    more: str = "",
    backlog: int = BACKLOG,
) -> Launch:
    """The origin nginx: `body` bytes, or another `answer`, on every one of `ports`; settings for both."""
    listens = "\n        ".join(f"listen 127.0.0.1:{port} backlog={backlog};" for port in ports)
    if not answer and body <= INLINE_BODY:
        answer = f'return 200 "{"x" * body}";'
    elif not answer:
        (directory / "www").mkdir()
        (directory / "www" / "body").write_bytes(b"x" * body)
        answer = f"root {directory}/www; try_files /body =404;"
    return nginx(
        HERE / "origin.conf.template", directory, listens=listens, answer=f"{more} {answer}", maps=maps
    )


def nginx(template: Path, directory: Path, **values: str) -> Launch:
    """An nginx with the settings of `template`, filled in with `values`, its directory and user."""
    # nginx started by root changes to another user, which could not enter our directory.
    user = "user root;" if os.geteuid() == 0 else ""
    settings = render(template, directory, user=user, directory=str(directory), **values)
    return Launch(["nginx", "-e", "stderr", "-p", str(directory), "-c", str(settings)])


def haproxy(template: Path, directory: Path, **values: str) -> Launch:
    """An HAProxy with the settings of `template`."""
    return Launch(["haproxy", "-db", "-f", str(render(template, directory, **values))])


def balancer(listen: int, admin: int, upstreams: Sequence[str], **settings: str) -> Launch:
    """This balancer on two ports of 127.0.0.1, one worker, no access log; `upstreams` are addresses, none if
    `settings` name pools."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    environment |= {
        "BALANCER_LISTEN": f"127.0.0.1:{listen}",
        "BALANCER_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "BALANCER_WORKERS": "1",
        "BALANCER_ACCESS_LOG__ENABLED": "false",
    }
    if upstreams:
        environment["BALANCER_UPSTREAMS"] = ",".join(upstreams)
    environment |= {f"BALANCER_{name}": value for name, value in settings.items()}
    return Launch([sys.executable, "-m", "balancer", "run"], environment)


def render(template: Path, into: Path, /, **values: str) -> Path:
    """Write the settings file made from `NAME.template` into a directory."""
    settings = into / template.stem
    settings.write_text(FileTemplate(template.read_text()).substitute(values))
    return settings
