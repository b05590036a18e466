"""Files of certificates and keys: what can be wrong with the files themselves."""

import os
from pathlib import Path

import pytest

from balancer.certificates.pem import MOST_BYTES
from balancer.certificates.problem import CertificateError
from balancer.certificates.reading import (
    authorities_from,
    pair_for_upstreams,
    pair_from_files,
    pair_from_text,
)
from tests.fakes.certificates import authority, key_pem, made, pair_in, text_of


def refused(certificate: str, key: str = "", password_file: str = "") -> str:
    with pytest.raises(CertificateError) as caught:
        pair_from_files(certificate, key, password_file, 0.0)
    return str(caught.value)


def test_two_files_or_one_with_both(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    found = pair_from_files(str(certificate), str(key), "", 0.0)
    assert found.names == ("shop.example",)
    assert pair_from_files(str(both), "", "", 0.0).chain == found.chain


def test_text_may_have_its_line_ends_written_out(tmp_path: Path) -> None:
    certificate, key = (file.read_text() for file in pair_in(tmp_path))
    found = pair_from_text(certificate, key, "", 0.0)
    assert pair_from_text(certificate.replace("\n", "\\n"), key.replace("\n", "\\n"), "", 0.0) == found
    assert pair_from_text(certificate + key, "", "", 0.0) == found


def test_where_a_missing_key_goes_depends_on_the_setting(tmp_path: Path) -> None:
    file, _ = pair_in(tmp_path)
    assert refused(str(file)).endswith("no private key; add it to the setting: certificate:key")
    with pytest.raises(
        CertificateError, match=r"no private key; name the file with the key in UPSTREAM_TLS__KEY$"
    ):
        pair_for_upstreams(str(file), "", 0.0)
    with pytest.raises(CertificateError, match=r"no private key; write it into TLS__KEY$"):
        pair_from_text(file.read_text(), "", "", 0.0)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path)
    key.unlink()
    why = "cannot be read (no such file or directory); correct the path or mount the file"
    assert refused(str(certificate), str(key)) == f"{key} {why}"
    assert refused(str(key)) == f"{key} {why}"


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path)
    certificate.chmod(0)
    before = os.geteuid()
    user = before or 65534  # root may read every file
    os.seteuid(user)
    try:
        why = refused(str(certificate), str(key))
    finally:
        os.seteuid(before)
    assert why.startswith(
        f"{certificate} cannot be read (permission denied); let the user with the id {user}, "
    )


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path, fifo):
        assert refused(str(path)) == f"{path} is not a file; correct the path"
    assert refused("/run/\0") == "/run/\0 is not a path: it has a NUL in it; correct it"


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.pem"
    large.write_bytes(b"x" * (MOST_BYTES + 1))
    assert (
        refused(str(large))
        == f"{large} is larger than 1 MiB; write only the certificate with its chain into it"
    )


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    leaf = made("site", names=("a.example",))
    certificate, key, password = (tmp_path / name for name in ("site.pem", "site.key", "password"))
    certificate.write_bytes(leaf.pem)
    key.write_bytes(key_pem(leaf.private, b"s3 cret"))
    password.write_bytes(b"s3 cret\nand more")
    assert pair_from_files(str(certificate), str(key), str(password), 0.0).was_encrypted
    password.write_bytes(b"\n")
    text = refused(str(certificate), str(key), str(password))
    assert text == f"{password} holds no password; write it into its first line"


def test_authorities_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(text_of(authority().cert_pem))
    assert authorities_from(str(file), 0.0) == (text_of(authority().cert_pem), ())
    file.write_bytes(b"")
    with pytest.raises(CertificateError, match="is empty"):
        authorities_from(str(file), 0.0)


def test_a_file_of_beginnings_is_refused_at_once(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.pem"
    for line in (b"-----BEGIN A-----\n", b"-----END A-----\n", b"-----BEGIN A----\n", b"0" * 64):
        hostile.write_bytes(line * (MOST_BYTES // len(line)))
        refused(str(hostile))
