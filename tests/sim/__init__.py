"""A deterministic simulation of one balancer before its replicas, by an invented clock.

    from tests.sim.scenes import OVERLOAD, play

    print(play(OVERLOAD, seed=1).table())

The decisions are the product's own: `UpstreamPool`, `SlotQueue`, the policies. Their surroundings are
invented: replicas that take their time (`replicas.py`), requests that arrive (`arrivals.py`), clients that
leave (`clients.py`). `python -m tests.sim --help` plays one by hand, `python -m tests.sim.published` compares
published algorithms with the product's own.
"""
