"""The registry's names and options, whatever the origin of the policy."""

from typing import Any

import pytest

from balancer.errors import SettingsError
from balancer.policies import registry
from balancer.policies.peak_ewma import PeakEwma
from balancer.policies.round_robin import RoundRobin
from tests.policies.contexts import context

ALL = "consistent_hash, ip_hash, least_connections, peak_ewma, power_of_two, random, round_robin"


def test_the_built_in_policies_are_registered() -> None:
    assert ", ".join(registry.names()) == ALL


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        pytest.param("round_robin", {}, None, id="good"),
        pytest.param("consistent_hash", {"bounded_load": 1.25}, None, id="good_option"),
        pytest.param("peak_ewma", {"decay": 3}, None, id="a_whole_number_for_a_number"),
        pytest.param(
            "round_robbin", {}, ("policy", "is not a policy; did you mean round_robin?"), id="near_a_name"
        ),
        pytest.param(
            "fair",
            {},
            ("policy", f"is not a policy; write {ALL}, or module:attribute for one of your own"),
            id="unknown",
        ),
        pytest.param(
            "my.policies.Fair",
            {},
            ("policy", "is not a policy; write your own as module:attribute, my.policies:Fair"),
            id="a_dot_for_the_colon",
        ),
        pytest.param(
            "round_robin",
            {"spin": 1},
            ("policy_options", "is not empty, but round_robin takes no options; remove it"),
            id="options_nobody_takes",
        ),
        pytest.param(
            "consistent_hash",
            {"bounded_lod": 1},
            (
                "policy_options",
                "has bounded_lod, which consistent_hash does not take; did you mean bounded_load?",
            ),
            id="near_an_option",
        ),
        pytest.param(
            "peak_ewma",
            {"decay": "10s"},
            ("policy_options", "has a decay that is not a number; the default is decay=10.0"),
            id="type_of_an_option",
        ),
        pytest.param(
            "consistent_hash",
            {"bounded_load": 1},
            (
                "policy_options",
                "is refused: bounded_load is 1; write 0 for none, or more than 1, such as 1.25",
            ),
            id="value_of_an_option",
        ),
    ],
)
def test_mistakes_in_a_choice_are_reported(
    name: str, options: dict[str, Any], problem: tuple[str, str] | None
) -> None:
    assert registry.problem(name, options) == problem


def test_a_choice_is_built() -> None:
    assert isinstance(registry.build("round_robin", {}, context()), RoundRobin)
    assert isinstance(registry.build("peak_ewma", {"decay": 3}, context()), PeakEwma)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        pytest.param("fair", {}, "policy: fair is not a policy", id="name"),
        pytest.param(
            "random",
            {"a": 1},
            "policy_options: {'a': 1} is not empty, but random takes no options",
            id="options",
        ),
    ],
)
def test_an_invalid_choice_is_not_built(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        registry.build(name, options, context())
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("name", registry.names())
def test_every_policy_has_a_description(name: str) -> None:
    assert registry.summary(name)


@pytest.mark.parametrize("name", registry.names())
def test_uses_keys_is_the_same_for_every_choice_of_options(name: str) -> None:
    built = registry.build(name, {}, context())
    assert (registry.needs_key(name), registry.key_source(name)) == (built.needs_key, built.key_source)
    assert registry.needs_key(name) == (name in {"consistent_hash", "ip_hash"})
    assert registry.key_source(name) == ("client_ip" if name == "ip_hash" else None)


def test_whether_an_unknown_policy_uses_keys_is_unknown() -> None:
    with pytest.raises(SettingsError, match="policy: fair is not a policy"):
        registry.needs_key("fair")


def test_classes_with_slots_have_no_dict() -> None:
    """Hot objects: an attribute that is not declared would be found too late."""
    for name in registry.names():
        assert not hasattr(registry.build(name, {}, context()), "__dict__"), name
