"""One command for several instances (L7): all are changed at the same time, and failures are named."""

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeAlias

from rich.console import Console, RenderableType
from rich.text import Text

from balancer.console.client import AdminClient
from balancer.errors import OperatorError

# What a command does with one instance: yields what it has to say, as it goes on.
Act: TypeAlias = Callable[[AdminClient], Iterator[RenderableType]]


class SomeFailedError(OperatorError):
    """Some instances were not changed."""


def everywhere(clients: Sequence[AdminClient], console: Console, act: Act) -> None:
    """Do it at all instances, and print what `act` says. If there are several, a failure of one does not keep
    the others from being changed, each line begins with the instance, and SomeFailedError is raised at the
    end."""
    if len(clients) == 1:
        for line in act(clients[0]):
            console.print(line, soft_wrap=isinstance(line, Text))
        return
    failed = []
    for client, said in _at_once(clients, act):
        place = Text(f"{client.place}", style="bold")
        if isinstance(said, BaseException):
            failed.append(str(client.place))
            if not isinstance(said, OperatorError):
                raise said
            console.print(Text.assemble(place, ("  failed: ", "bold red"), str(said)), soft_wrap=True)
        elif isinstance(said, Text):
            console.print(Text.assemble(place, "  ", said), soft_wrap=True)
        else:
            console.print(place)
            console.print(said)
    if failed:
        in_order = [str(client.place) for client in clients if str(client.place) in failed]
        raise SomeFailedError(f"{len(failed)} of {len(clients)} instances failed: {', '.join(in_order)}")


def _at_once(
    clients: Sequence[AdminClient], act: Act
) -> Iterator[tuple[AdminClient, RenderableType | BaseException]]:
    """What is said of each instance, as it comes: an exception is the last. The threads do not keep a command
    that is interrupted from ending."""
    said: SimpleQueue[tuple[AdminClient, RenderableType | BaseException | None]] = SimpleQueue()

    def run(client: AdminClient) -> None:
        try:
            for each in act(client):
                said.put((client, each))
        except BaseException as error:
            said.put((client, error))
        else:
            said.put((client, None))

    for client in clients:
        threading.Thread(target=run, args=(client,), daemon=True).start()
    running = len(clients)
    while running:
        client, each = said.get()
        if each is None or isinstance(each, BaseException):
            running -= 1
        if each is not None:
            yield client, each
