"""Play a surge of traffic and print it second by second: python -m tests.sim --times 10"""

import argparse
import sys
from collections.abc import Sequence

from tests.sim.scenes import Scene, play, surge


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument(
        "--times", type=float, default=3.0, help="load as a multiple of the capacity (default 3)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-inflight", type=int, default=0, help="LIMITS__MAX_INFLIGHT (default 0: none)")
    parser.add_argument("--queue-size", type=int, default=1000, help="LIMITS__QUEUE_SIZE (default 1000)")
    parser.add_argument("--queue-timeout", type=float, default=5.0, help="LIMITS__QUEUE_TIMEOUT (default 5)")
    parser.add_argument("--workers", type=int, default=1, help="WORKERS (default 1)")
    parser.add_argument("--policy", default="least_connections", help="POLICY (default least_connections)")
    options = parser.parse_args(arguments)
    scene: Scene = surge(options.times).having(
        max_inflight=options.max_inflight,
        queue_size=options.queue_size,
        queue_timeout=options.queue_timeout,
        workers=options.workers,
        policy=options.policy,
    )
    print(play(scene, options.seed).table())


if __name__ == "__main__":
    main(sys.argv[1:])
