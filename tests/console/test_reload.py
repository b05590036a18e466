"""`balancer reload` and `balancer diff`, against a scripted admin listener."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from balancer.cli import app
from balancer.errors import OperatorError, SettingsError
from tests.fakes.admin import FakeAdmin, fake_admin

pytestmark = pytest.mark.integration

NOTHING: dict[str, Any] = {
    "result": "unchanged",
    "how": "nothing",
    "changes": [],
    "members": [],
    "from_environment": [],
    "revision": 3,
    "seconds": 0.01,
}
CHANGED = {
    **NOTHING,
    "result": "applied",
    "how": "new_workers",
    "changes": [
        {"setting": "pools.api.retry.max_attempts", "before": "2", "after": "3", "how": "live"},
        {"setting": "workers", "before": None, "after": "[4]", "how": "new_workers"},
    ],
    "members": [{"pool": "api", "id": "app9:8000", "change": "added", "before": None, "after": "weight 2"}],
    "from_environment": ["BALANCER_POLICY", "BALANCER_LISTEN"],
    "seconds": 0.42,
}
REFUSED = {"error": "2 problems", "problems": ["policy: x is not known", "workers: 0"], "result": "refused"}
TAKEN_BACK = {"error": "worker 0 was not ready within 30 s", "result": "taken_back"}


def run(admin: FakeAdmin, *arguments: str) -> tuple[int, list[list[str]], BaseException | None]:
    """The exit code, the words of each line, and the error."""
    done = CliRunner().invoke(app, [*arguments, "--admin", admin.address], env={"SUDO_USER": "alice"})
    code = 1 if isinstance(done.exception, OperatorError) else done.exit_code
    return code, [line.split() for line in done.output.splitlines()], done.exception


ANSWERS = [
    pytest.param(
        CHANGED,
        "2 settings and 1 upstream changed in 0.4 s, by new workers; the old ones drain",
        id="new workers",
    ),
    pytest.param({**CHANGED, "members": [], "how": "live"}, "2 settings changed in 0.4 s, live", id="live"),
    pytest.param(
        {**CHANGED, "result": "would_apply"},
        "2 settings and 1 upstream would change, by new workers, while the old ones drain",
        id="would",
    ),
    pytest.param(NOTHING, "nothing changes: these are the settings in force", id="unchanged"),
]


@pytest.mark.parametrize(("answer", "said"), ANSWERS)
def test_the_first_line_says_what_happens(answer: Mapping[str, Any], said: str) -> None:
    with fake_admin(lambda method, target, body: (200, answer)) as admin:
        code, lines, _ = run(admin, "reload")
    assert (code, " ".join(lines[0])) == (0, said)
    assert admin.asked == [("POST", "/api/reload", {}, "alice")]


def test_the_changes_are_tables() -> None:
    with fake_admin(lambda method, target, body: (200, CHANGED)) as admin:
        _, lines, _ = run(admin, "reload", "--dry-run")
    assert ["setting", "before", "after", "how"] in lines
    assert ["pools.api.retry.max_attempts", "2", "3", "live"] in lines
    assert ["workers", "-", "[4]", "new", "workers"] in lines
    assert ["app9:8000", "api", "added", "-", "weight", "2"] in lines
    words = [word for line in lines for word in line]
    assert words[-2:] == ["BALANCER_POLICY,", "BALANCER_LISTEN"]
    assert admin.asked[0][2] == {"dry_run": True}


def test_what_went_wrong_in_spite_of_a_reload_is_shown() -> None:
    answer = {**CHANGED, "problems": ["the certificate /run/a.pem cannot be used"]}
    with fake_admin(lambda method, target, body: (200, answer)) as admin:
        code, lines, _ = run(admin, "reload")
    assert code == 0
    assert ["but", "the", "certificate", "/run/a.pem", "cannot", "be", "used"] in lines


def test_diff_sends_the_file(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("policy: random  # \u00fc\n", encoding="utf-8")
    with fake_admin(lambda method, target, body: (200, {**CHANGED, "result": "would_apply"})) as admin:
        code, _, _ = run(admin, "diff", str(file))
    assert code == 0
    assert admin.asked[0][2] == {"dry_run": True, "settings": "policy: random  # \u00fc\n"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, r"nowhere\.yaml cannot be read \(no such file or directory\); correct the path"),
        (b"\xff", "is not UTF-8"),
    ],
    ids=["missing", "bytes"],
)
def test_a_file_that_cannot_be_sent_is_reported(tmp_path: Path, content: bytes | None, error: str) -> None:
    file = tmp_path / "nowhere.yaml"
    if content is not None:
        file.write_bytes(content)
    with fake_admin(lambda method, target, body: (200, NOTHING)) as admin:
        _, _, raised = run(admin, "diff", str(file))
    assert admin.asked == []
    with pytest.raises(OperatorError, match=error):
        raise raised or AssertionError("it was sent")


def test_every_problem_of_refused_settings_is_reported() -> None:
    with fake_admin(lambda method, target, body: (422, REFUSED)) as admin:
        code, _, raised = run(admin, "reload")
    assert code == 1
    assert isinstance(raised, SettingsError)
    assert raised.problems == REFUSED["problems"]


def test_a_reload_that_was_taken_back_says_why() -> None:
    with fake_admin(lambda method, target, body: (409, TAKEN_BACK)) as admin:
        code, _, raised = run(admin, "reload")
    assert code == 1
    assert str(raised) == (
        "the reload was taken back, the settings before are in force: worker 0 was not ready within 30 s"
    )


def test_several_instances_are_reloaded_and_the_refusal_of_one_is_named() -> None:
    with ExitStack() as stack:
        good = stack.enter_context(fake_admin(lambda method, target, body: (200, NOTHING)))
        bad = stack.enter_context(fake_admin(lambda method, target, body: (422, REFUSED)))
        code, lines, raised = run(good, "reload", "--admin", bad.address)
    assert code == 1
    assert str(raised) == f"1 of 2 instances failed: {bad.address}"
    said = {line[0]: " ".join(line[1:]) for line in lines}
    assert said[good.address] == "nothing changes: these are the settings in force"
    assert said[bad.address] == "failed: policy: x is not known; workers: 0"
