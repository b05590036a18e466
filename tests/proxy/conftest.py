"""A stage for each test; what every test must leave behind is looked at when it ends."""

from collections.abc import Callable, Iterator

import pytest

from tests.proxy.stage import Stage

MakeStage = Callable[..., Stage]


@pytest.fixture
def make_stage() -> Iterator[MakeStage]:
    """Builds stages with settings of their own."""
    stages: list[Stage] = []

    def make(*args: object, **changes: object) -> Stage:
        stages.append(Stage(*args, **changes))  # type: ignore[arg-type]  # as `start_message` takes them
        return stages[-1]

    yield make
    for stage in stages:
        stage.check_and_close()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """One upstream, default settings."""
    return make_stage()
