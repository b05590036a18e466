"""Which settings differ between two readings (L1). Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from balancer.config.catalogue import POOLS, Path


def differing(before: BaseModel, after: BaseModel, above: Path = ()) -> Iterator[Path]:
    """The paths of settings that differ; a pool that only one of them has, as a whole."""
    for name in type(before).model_fields:
        was, now = getattr(before, name), getattr(after, name)
        if was == now or (*above, name) == ("config",):
            continue
        if name == POOLS and not above:
            for pool in dict.fromkeys((*was, *now)):
                if pool in was and pool in now:
                    yield from differing(was[pool], now[pool], (POOLS, pool))
                else:
                    yield POOLS, pool
        elif isinstance(was, BaseModel) and type(was) is type(now):
            yield from differing(was, now, (*above, name))
        else:
            yield (*above, name)


def with_value(before: Any, after: Any, path: Path) -> Any:
    """`before`, with the value of `after` at `path`."""
    first, rest = path[0], path[1:]
    if isinstance(before, Mapping):
        inner = with_value(before[first], after[first], rest) if rest else after.get(first)
        return {**before, first: inner} if inner is not None else _without(before, first)
    was, now = getattr(before, first), getattr(after, first)
    return before.model_copy(update={first: with_value(was, now, rest) if rest else now})


def _without(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in mapping.items() if each != name}
