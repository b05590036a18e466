"""What a source says of an upstream that is there already counts, and the operator's weight stays."""

from dataclasses import replace

from tests.runtime.fleet_harness import DNS, Harness, member

ID = "10.1.0.1:8000"


def test_a_changed_weight_is_taken_over_without_a_new_upstream(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1, 2)])
    before = harness.pool.upstreams[ID]
    harness.told()
    harness.fleet.set_members("default", DNS, [member(1, 5)])
    assert harness.pool.upstreams[ID] is before
    assert (before.weight, before.settings_weight) == (5, 5)
    assert [one.weight for one in harness.told() or () if one.id == ID] == [5]
    event = harness.events.after(0)[-1]
    assert (event.kind, event.text) == ("weight", f"{ID} weight changed from 2 to 5: found by {DNS}")


def test_the_operators_weight_stays(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1, 2)])
    upstream = harness.pool.upstreams[ID]
    harness.fleet.set_weight(upstream, 9)
    harness.fleet.set_members("default", DNS, [member(1, 5)])
    assert (upstream.weight, upstream.settings_weight) == (9, 5)
    assert "while an operator has set 9" in harness.events.after(0)[-1].text


def test_an_upstream_becomes_a_backup_and_none_again(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    upstream = harness.pool.upstreams[ID]
    for backup, text in ((True, "is a backup now"), (False, "is no backup any more")):
        harness.told()
        harness.fleet.set_members("default", DNS, [replace(member(1), backup=backup)])
        assert [one.backup for one in harness.told() or () if one.id == ID] == [backup]
        assert text in harness.events.after(0)[-1].text
    assert harness.pool.upstreams[ID] is upstream


def test_one_that_speaks_tls_now_is_a_new_upstream(harness: Harness) -> None:
    harness.ledger.take_page()  # a worker that has not released it
    harness.fleet.set_members("default", DNS, [member(1)])
    before = harness.pool.upstreams[ID]
    harness.fleet.set_members("default", DNS, [replace(member(1), server_name="app.example")])
    after = harness.pool.upstreams[ID]
    assert (after.server_name, after.row != before.row) == ("app.example", True)


def test_what_another_source_says_of_it_is_ignored(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1, 2)])
    harness.fleet.set_members("default", "file:///members.yaml", [member(1, 7)])
    assert harness.pool.upstreams[ID].weight == 2


def test_a_file_that_cannot_be_used_is_shown_in_its_own_words(harness: Harness) -> None:
    source = "file:///members.yaml"
    harness.fleet.set_problem("default", source, "is empty", "cannot be used", "can be used again")
    harness.fleet.set_problem("default", source, "", "cannot be used", "can be used again")
    assert [event.text for event in harness.events.after(0)] == [
        f"{source} cannot be used: is empty",
        f"{source} can be used again",
    ]
