"""The build backend (PEP 517): that of setuptools, which needs more packages to compile than to copy.

Built plainly, the package needs setuptools and nothing else, so installing from source is quick.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Config = dict[str, Any] | None


def wants_compiled() -> bool:
    """Whether this build compiles."""
    return os.environ.get("BUILD_COMPILED", "0") not in ("", "0")


def project() -> dict[str, Any]:
    """The content of pyproject.toml."""
    return tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))


def get_requires_for_build_wheel(config_settings: Config = None) -> list[str]:
    """To compile: mypyc, and what the package imports, whose types it reads."""
    requires = list(build_meta.get_requires_for_build_wheel(config_settings))
    if wants_compiled():
        content = project()
        requires += [
            *content["tool"]["balancer"]["compiled"]["requires"],
            *content["project"]["dependencies"],
        ]
    return requires


def get_requires_for_build_editable(config_settings: Config = None) -> list[str]:
    """An editable install is never compiled: an extension beside its source would outlive a change of it."""
    if wants_compiled():
        raise SystemExit(
            "BUILD_COMPILED: an editable install is not compiled; run `make compiled`, or unset it"
        )
    return list(build_meta.get_requires_for_build_editable(config_settings))


def build_editable(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    """See `get_requires_for_build_editable`, which not every installer calls."""
    get_requires_for_build_editable(config_settings)
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
