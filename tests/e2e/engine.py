"""The container engine and the images: the prerequisites of the end-to-end tests."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "python:3.13-slim"
PROMETHEUS_IMAGE = "prom/prometheus:v3.5.0"
ALERTMANAGER_IMAGE = "prom/alertmanager:v0.28.1"
# Target -> tag. The older builder also builds every stage above a target, so the last stage comes last.
TARGETS = {"app": "balancer-app:dev", "load": "balancer-load:dev", "balancer": "balancer:dev"}
# Compiling takes some minutes, so the tests run a plain image unless E2E_COMPILED=1.
COMPILED = os.environ.get("E2E_COMPILED", "0")
PULL_SECONDS = 300.0
BUILD_SECONDS = 1_200.0  # the image compiles the package, which takes five minutes of CPU time


class EngineError(Exception):
    """The end-to-end tests cannot run here; the message is one line with the reason."""


def run(*command: str, seconds: float = 60.0, environ: dict[str, str] | None = None) -> str:
    """Run a command to its end and return its output; if it fails, `EngineError` with the end of the
    output."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
        )
    except FileNotFoundError:
        raise EngineError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{' '.join(command[:3])} did not end within {seconds:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-15:]
        raise EngineError("\n".join([f"{' '.join(command)} failed:", *said]))
    return done.stdout


def require_engine() -> None:
    """`EngineError` if no engine answers."""
    try:
        run("docker", "version", "--format", "{{.Server.Version}}", seconds=20.0)
    except EngineError as error:
        raise EngineError(f"no Docker engine answers ({str(error).splitlines()[-1]})") from None


def compose_command() -> tuple[str, ...]:
    """The compose command of this machine, Compose 2 or docker-compose 1.29."""
    commands: Sequence[tuple[str, ...]] = (("docker", "compose"), ("docker-compose",))
    for command in commands:
        try:
            run(*command, "version", seconds=20.0)
        except EngineError:
            continue
        return command
    raise EngineError("neither docker compose nor docker-compose is installed")


def require_image(name: str) -> None:
    """Pull an image that is not present yet."""
    try:
        run("docker", "image", "inspect", name)
    except EngineError:
        try:
            run("docker", "pull", "--quiet", name, seconds=PULL_SECONDS)
        except EngineError:
            raise EngineError(f"the image {name} is not here and cannot be pulled") from None


def build_images() -> None:
    """Build the project's images, from the cache if nothing has changed."""
    base = os.environ.get("BASE_IMAGE") or BASE_IMAGE
    require_image(base)
    require_image(os.environ.get("PROMETHEUS_IMAGE") or PROMETHEUS_IMAGE)
    require_image(os.environ.get("ALERTMANAGER_IMAGE") or ALERTMANAGER_IMAGE)
    for target, tag in TARGETS.items():
        command = (
            "docker",
            "build",
            "--build-arg",
            f"BASE_IMAGE={base}",
            "--build-arg",
            f"BUILD_COMPILED={COMPILED}",
            "--target",
            target,
            "--tag",
            tag,
            ".",
        )
        # Every engine has the older builder, which needs nothing from a registry.
        run(*command, seconds=BUILD_SECONDS, environ={"DOCKER_BUILDKIT": "0"})
