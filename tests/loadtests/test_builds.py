"""A measured process imports the build that was asked for, or the measurement fails."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import builds
from loadtests.builds import Build
from loadtests.errors import BenchError


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A directory with a copy of the package that looks compiled."""
    shutil.copytree(builds.ROOT / "balancer", tmp_path / "balancer", ignore=shutil.ignore_patterns("*.pyc"))
    (tmp_path / "balancer" / "clock.abi3.so").touch()
    return tmp_path


def test_a_compiled_copy_of_this_source_is_found(compiled: Path) -> None:
    assert builds.compiled(compiled) == Build("compiled", compiled)


def test_without_an_extension_there_is_no_compiled_package(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no compiled package"):
        builds.compiled(tmp_path)


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_compiled_package_of_another_source_is_stale(compiled: Path, change: str) -> None:
    clock = compiled / "balancer" / "clock.py"
    if change == "edited":
        clock.write_text("# another\n")
    elif change == "removed":
        clock.unlink()
    else:
        (compiled / "balancer" / "another.py").touch()
    with pytest.raises(BenchError, match="stale"):
        builds.compiled(compiled)


def test_a_copy_of_the_whole_checkout_is_refused(compiled: Path) -> None:
    (compiled / "loadtests").mkdir()
    with pytest.raises(BenchError, match="more than the package"):
        builds.compiled(compiled)


def test_an_extension_in_the_checkout_is_not_plain_python(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "ROOT", compiled)
    with pytest.raises(BenchError, match="shadows its source"):
        builds.plain()


def test_the_builds_directory_is_imported_whatever_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "balancer").mkdir()
    (tmp_path / "balancer" / "__init__.py").write_text("__version__ = 'of the build'\n")
    done = subprocess.run(
        [sys.executable, "-c", "import balancer, loadtests; print(balancer.__version__)"],
        env=Build("compiled", tmp_path).environment(),
        cwd=builds.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "of the build\n"
