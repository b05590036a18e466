"""One stack and one load for all end-to-end tests: each starts from the state that the previous one left."""

from collections.abc import Generator, Iterator

import pytest

from tests.e2e.load import Load
from tests.e2e.project import Project
from tests.e2e.stack import Stack, until

PROJECT = pytest.StashKey[Project]()  # the one that the running test uses


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The balancer before two app replicas of weight 1 and one of weight 3, Prometheus and Alertmanager."""
    stack = Stack()
    request.config.stash[PROJECT] = stack
    stack.down()
    try:
        stack.up("balancer", "app", "heavy", "prometheus", "alertmanager", app=2)
        until(
            "three eligible upstreams",
            lambda: [one["eligible"] for one in stack.upstreams().values()] == [True] * 3,
        )
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def load(stack: Stack) -> Load:
    """Locust, started before the first test; it ends with the stack."""
    return Load(stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the output of the containers."""
    report = yield
    project = item.config.stash.get(PROJECT, None)
    if report.failed and project is not None:
        report.sections.append(("containers", project.logs()))
    return report
