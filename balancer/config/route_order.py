"""Whether routes lead to pools, have names of their own, and can match at all (L1)."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from balancer.config.route_rules import Place, Rule, Wanted, places_with

_Seen: TypeAlias = dict[tuple[Place, Wanted | None], list[Rule]]


def misfits(rules: Sequence[Rule], pools: Collection[str]) -> Iterator[str]:
    """A sentence for each name that several routes have, each pool that does not exist, and each route that
    can never match. `rules` are all routes or some, in their order; without `pools` these are not known."""
    for name, count in Counter(rule.route.name for rule in rules).items():
        if count > 1:
            yield f"has {count} routes called {name}; give each its own name"
    there = ", ".join(pools)
    # A rule is found by its rarest condition: of 1,000 with the same path, few have the same one.
    common = Counter(wanted for rule in rules for wanted in rule.wanted)
    seen: _Seen = {}
    for rule in rules:
        for pool in rule.route.pools:
            if pools and pool not in pools:
                yield f"{rule} names the pool {pool}, which does not exist; the pools are {there}"
        takers = [_taker(rule, place, seen) for place in rule.places]
        found = list(dict.fromkeys(taker for taker in takers if taker is not None))
        if None not in takers:
            yield f"{rule} never matches: {_hidden_by(rule, found)}"
        key = min(rule.wanted, key=lambda wanted: (common[wanted], wanted), default=None)
        for place in rule.places:
            seen.setdefault((place, key), []).append(rule)


def _hidden_by(rule: Rule, takers: Sequence[Rule]) -> str:
    if len(takers) == 1:
        taker = takers[0]
        if set(rule.places) == set(taker.places) and rule.takes(taker):
            return f"{taker.route.name}, above it, matches the same requests; remove one of them"
        return f"{taker.route.name}, above it, takes all of its requests; put it first"
    *names, last = [taker.route.name for taker in takers]
    return f"{', '.join(names)} and {last}, above it, take all of its requests; put it first"


def _taker(rule: Rule, place: Place, seen: Mapping[tuple[Place, Wanted | None], list[Rule]]) -> Rule | None:
    """A route above that takes every request that a rule takes at a place."""
    keys = (None, *sorted(rule.implied))
    for each in places_with(place):
        for key in keys:
            for one in seen.get((each, key), ()):
                if one.takes(rule):
                    return one
    return None
