"""Reloads because of a changed file: once per change, when it is complete."""

from collections.abc import Iterable, Mapping

import pytest

from balancer.config.file_stamps import Stamp
from balancer.runtime.settings_watch import SettingsWatch


class Scene:
    """Files with versions, which a watch looks at."""

    def __init__(self) -> None:
        self.versions = {"/a.yaml": 1}
        self.reloads: list[str] = []
        self.watch = SettingsWatch(lambda: self.versions, self._reload, self._stamp)

    async def _reload(self, by: str) -> None:
        self.reloads.append(by)

    async def _stamp(self, paths: Iterable[str]) -> Mapping[str, Stamp]:
        return {path: (0, 0, self.versions[path], 0, 0) for path in paths}

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.watch.look()


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_changed_file_is_reloaded_once_it_stays_the_same(scene: Scene) -> None:
    await scene.look(2)
    for version in (2, 3):  # it is being written
        scene.versions["/a.yaml"] = version
        await scene.look()
    assert scene.reloads == []
    await scene.look(3)
    assert scene.reloads == ["change of /a.yaml"]


async def test_a_change_while_settings_are_read_is_not_missed(scene: Scene) -> None:
    await scene.look(2)
    scene.versions["/a.yaml"] = 2
    await scene.look(2)
    scene.versions["/a.yaml"] = 3
    await scene.look(2)
    assert len(scene.reloads) == 2


async def test_a_file_that_is_named_later_is_watched_from_then_on(scene: Scene) -> None:
    await scene.look(2)
    scene.versions["/b"] = 1
    await scene.look(2)
    assert scene.reloads == []
    scene.versions["/b"] = 2
    await scene.look(2)
    assert scene.reloads == ["change of /b"]


async def test_nothing_is_watched_while_it_is_off(scene: Scene) -> None:
    scene.versions.clear()
    await scene.look(3)
    assert scene.reloads == []
