"""The files that are compiled, by pyproject.toml."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "balancer"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["balancer"][
    "compiled"
]


def hot_files() -> list[Path]:
    """Their paths in the checkout."""
    files = [PACKAGE / name for name in SETTINGS["files"]]
    files += [file for room in SETTINGS["rooms"] for file in sorted((PACKAGE / room).glob("*.py"))]
    plain = {PACKAGE / name for name in SETTINGS["plain"]}
    return [file for file in files if file not in plain and file.name != "__init__.py"]


def module_of(file: Path) -> str:
    """The module in `file`."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)
