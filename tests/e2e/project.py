"""A compose project, controlled by the tests: its containers are found by label."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tests.e2e.engine import EngineError, compose_command, run

SECONDS = 180.0  # that a compose command may take


class Project:
    """The services of some compose files, with the local images."""

    def __init__(self, name: str, files: Sequence[str], environ: Mapping[str, str], *options: str) -> None:
        """`environ`: what the files take from outside. `options` are for every compose command."""
        self.name = name
        ours = {key: value for key, value in os.environ.items() if not key.startswith("BALANCER_")}
        self.environ = {**ours, "COMPOSE_PROJECT_NAME": name, **environ}
        named = [option for file in files for option in ("-f", file)]
        self.compose = (*compose_command(), *named, *options)

    def up(self, *services: str, environ: Mapping[str, str] | None = None, **scale: int) -> None:
        """Start services, or change their number of replicas; running containers stay."""
        scales = [f"--scale={service}={count}" for service, count in scale.items()]
        self._run("up", "--detach", "--no-build", "--no-recreate", *scales, *services, environ=environ)

    def replace(self, service: str, environ: Mapping[str, str]) -> None:
        """Stop the service's containers, and start new ones, as settings or images have changed."""
        self._run("up", "--detach", "--no-build", "--no-deps", service, environ=environ)

    def down(self) -> None:
        """Remove the whole project, and leftovers of an earlier run."""
        self._run("down", "--volumes", "--remove-orphans", "--timeout", "2")

    def containers(self, service: str) -> list[str]:
        """The ids of a service's running containers, which are their host names."""
        labels = {"project": self.name, "service": service, "oneoff": "False"}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        return run("docker", "ps", "--quiet", *filters).split()

    def switch(self, container: str, **switches: Any) -> None:
        """Turn the switches of an app replica."""
        run("docker", "exec", container, "python3", "-m", "loadtests.app", "control", json.dumps(switches))

    def signal(self, container: str, name: str) -> None:
        """Send a signal to a container's first process."""
        run("docker", "kill", f"--signal={name}", container)

    def logs(self) -> str:
        """The end of every container's output."""
        try:
            return self._run("logs", "--no-color", "--tail=40")
        except EngineError as error:
            return str(error)

    def _run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        return run(*self.compose, *arguments, seconds=SECONDS, environ={**self.environ, **(environ or {})})
