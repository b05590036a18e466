"""A deterministic simulation of one balancer before its replicas, by an invented clock.

    from tests.sim.scenes import OVERLOAD, play

    print(play(OVERLOAD, seed=1).table())

What decides is the product's own: `UpstreamPool`, `SlotQueue`, the policies. What surrounds them is made up:
replicas that take their time (`replicas.py`), requests that arrive (`arrivals.py`), clients that leave
(`clients.py`). `python -m tests.sim --help` plays one by hand, `python -m tests.sim.published`
what others have published beside the product's own.
"""
