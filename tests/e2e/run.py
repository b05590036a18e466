"""`python -m tests.e2e.run`: the end-to-end tests, or one line that says why they were skipped. With
`--build-only` as its only argument it ends with the images.

In CI, which sets REQUIRE_ALL_TESTS=1, a skip is a failure.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.e2e.engine import EngineError, build_images, compose_command, require_engine

BUILD_ONLY = "--build-only"


def main(arguments: Sequence[str]) -> int:
    """Prepare, and run pytest with these additional arguments; returns the exit code."""
    try:
        require_engine()
        compose_command()
    except EngineError as error:
        if os.environ.get("REQUIRE_ALL_TESTS") == "1":
            print(f"e2e FAILED: {error}", file=sys.stderr)
            return 1
        print(f"e2e skipped: {error}")
        return 0
    try:
        build_images()
    except EngineError as error:
        print(f"e2e FAILED: {error}", file=sys.stderr)
        return 1
    if arguments == [BUILD_ONLY]:
        return 0
    return subprocess.call([sys.executable, "-m", "pytest", "-q", "-m", "e2e", "tests/e2e", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
