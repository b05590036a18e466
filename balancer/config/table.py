"""The settings table of the docs, from the models (L1): `python -m balancer.config.table [FILE ...]`.

Prints the table, or rewrites the text between the two marker lines of each file.
"""

import sys
from pathlib import Path as FilePath

from balancer.config.catalogue import POOLS, SETTINGS, variable
from balancer.config.effective import shown, value_at
from balancer.config.settings import Settings
from balancer.errors import OperatorError

START = "<!-- settings:start -->"
END = "<!-- settings:end -->"


def table() -> str:
    """All settings as a Markdown table: name in the environment, default, meaning."""
    # Only upstreams have no default; any value will do to get the other defaults.
    defaults = Settings.model_validate({"upstreams": "app:1"}).model_dump(mode="json")
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        default = "needed" if setting.field.is_required() else _code(value_at(defaults, setting.path))
        meaning = (setting.field.description or "").replace("|", r"\|")
        rows.append(f"| `{setting.variable}` | {default} | {meaning} |")
    pools = Settings.model_fields[POOLS].description or ""
    rows.append(f"| `{variable((POOLS,))}__<NAME>__...` | none | {pools} |")
    return "\n".join(rows)


def rewritten(text: str) -> str:
    """`text` with the current table between its markers. Raises OperatorError if it has none."""
    before, start, rest = text.partition(f"{START}\n")
    _, end, after = rest.partition(END)
    if not (start and end):
        raise OperatorError(f"the marker lines are missing; put in {START} and, below it, {END}")
    return f"{before}{start}{table()}\n{end}{after}"


def _code(value: object) -> str:
    text = shown(value)
    return f"`{text}`" if text else "none"


def main(files: list[str]) -> int:
    """Print the table, or rewrite the files."""
    if not files:
        print(table())
    for name in files:
        file = FilePath(name)
        file.write_text(rewritten(file.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
