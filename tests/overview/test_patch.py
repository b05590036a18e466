"""Merge patches."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from balancer.overview.patch import merge_patch

KEYS = st.sampled_from("abcd")
LEAVES = (
    st.none() | st.booleans() | st.integers(0, 3) | st.text("xy", max_size=2) | st.lists(st.integers(0, 2))
)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=4), max_leaves=12)
OBJECTS = st.dictionaries(KEYS, TREES, max_size=4)


def applied(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


def without_nulls(tree: Any) -> Any:
    """No patch can say null."""
    if not isinstance(tree, dict):
        return tree
    return {name: without_nulls(value) for name, value in tree.items() if value is not None}


@given(OBJECTS, OBJECTS)
def test_applied_it_turns_one_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = merge_patch(before, after)
    assert without_nulls(applied(before, patch)) == without_nulls(after)


@given(OBJECTS)
def test_of_the_same_it_is_empty(tree: dict[str, Any]) -> None:
    assert merge_patch(tree, dict(tree)) == {}


def test_only_what_differs_is_in_it() -> None:
    before = {"a": {"x": 1, "y": 2}, "b": [1], "c": 3, "gone": {}}
    assert merge_patch(before, {"a": {"x": 1, "y": 5}, "b": [1, 2], "c": 3, "d": {"z": 0}}) == {
        "a": {"y": 5},
        "b": [1, 2],
        "d": {"z": 0},
        "gone": None,
    }
