"""Files of the storage: whole or not at all, and for their owner only."""

import os
from pathlib import Path

import pytest

from balancer.runtime.acme_files import Folder, read_state, sweep, write
from balancer.runtime.acme_lock import FolderLock
from balancer.runtime.acme_parts import Pending, State
from balancer.spec.tls import ChallengeSpec

PROOF = ChallengeSpec(domain="a.example", token="t", answer="t.x")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_files_and_their_directories_are_for_the_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "certificates" / "a.pem"
    os.umask(before := os.umask(0))
    try:
        os.umask(0)
        write(str(file), b"one")
        write(str(file), b"two")
    finally:
        os.umask(before)
    assert file.read_bytes() == b"two"
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert os.listdir(file.parent) == ["a.pem"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.pem"
    write(str(file), b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(str(file), b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.pem"]


def test_what_a_killed_process_has_left_is_swept_and_never_read(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), ("a.example",))
    folder.publish("a.example", Pending(challenges=(PROOF,), until=2.0))
    for place in (tmp_path, tmp_path / "pending"):
        (place / ".new-1-x.json").write_text("half")
    assert [one.challenges for one in folder.pending(1.0)] == [(PROOF,)]
    sweep(str(tmp_path))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.example.json"]


def test_states_are_read_again_when_they_change(tmp_path: Path) -> None:
    folder, other = (Folder(str(tmp_path), ("a.example",)) for _ in range(2))
    assert folder.states() == {"a.example": State()}
    other.write_state("a.example", State(failures=1, error="no"))
    assert folder.states()["a.example"].failures == 1
    other.write_state("a.example", State(failures=2, error="no"))
    assert folder.states()["a.example"].failures == 2
    os.unlink(tmp_path / "state" / "a.example.json")
    assert folder.states()["a.example"] == read_state(str(tmp_path), "a.example") == State()


def test_challenges_are_read_again_when_they_change(tmp_path: Path) -> None:
    folder, other = (Folder(str(tmp_path), ()) for _ in range(2))
    assert folder.pending(0.0) == []
    other.publish("a.example", Pending(challenges=(PROOF,), until=2.0))
    assert len(folder.pending(0.0)) == 1
    other.publish("a.example", Pending(challenges=(PROOF, PROOF), until=2.0))
    assert [len(one.challenges) for one in folder.pending(0.0)] == [2]
    assert folder.pending(2.0) == []
    other.withdraw("a.example")
    other.withdraw("a.example")
    assert folder.pending(0.0) == []


def test_an_instance_is_seen_again_if_its_file_was_removed(tmp_path: Path) -> None:
    first, second = FolderLock(str(tmp_path)), FolderLock(str(tmp_path))
    first.join()
    (tmp_path / "instances").unlink()
    first.join()
    second.join()
    assert not first.is_alone()
    second.close()
    assert first.is_alone()
    first.close()
