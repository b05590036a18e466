"""What routes answer by themselves: where redirects may lead, and which fixed responses can be sent."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from balancer.config.loader import load
from balancer.errors import SettingsError


def loaded(route: dict[str, Any]) -> Any:
    value = json.dumps([{"name": "x", "match": {"path": "/x"}, **route}, "/=default"])
    return load({"BALANCER_UPSTREAMS": "w:80", "BALANCER_ROUTES": value}).routes[0]


def problem(route: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(route)
    (sentence,) = caught.value.problems
    return sentence.removeprefix("BALANCER_ROUTES: route 1 (x): ")


@pytest.mark.parametrize(
    "to",
    [
        "https://",
        "https://$path",
        "https://$uri",
        "$scheme://$uri",
        "https://$client_ip/",
        "https://$host$client_ip/",
        "https://$host$host/",
        "https://example.com$host/",
        "https://example.com:$uri",
        "https://user@example.com/",
        "https://$$uri",
        "https:///evil.example",
    ],
)
def test_a_redirect_whose_host_a_client_could_choose_is_refused(to: str) -> None:
    start = f"{to.partition('//')[0]}//"
    text = (
        f"has no host after {start}, or one that clients choose; write https://www.example.com$uri or "
        "https://$host$uri"
    )
    assert problem({"redirect": to}) == f'redirect.to: "{to}" {text}'
    headers = {"Location": to}
    assert problem({"respond": {"status": 302, "headers": headers}}) == f"respond.headers: {text}"
    assert problem({"pool": "default", "response_headers": {"set": headers}}).endswith(text)


@pytest.mark.parametrize(
    "to",
    [
        "https",
        "/new",
        "/new$uri",
        "/new$path#top",
        "https://$host$uri",
        "https://$host:8443$uri",
        "https://www.$host",
        "https://$host.mirror.example$path",
        "$scheme://www.example.com/x?from=$uri#top",
        "https://[2001:db8::1]:8443/",
        "http://10.0.0.1$uri",
    ],
)
def test_other_redirects_are_accepted(to: str) -> None:
    assert loaded({"redirect": to}).redirect.to == to


@pytest.mark.parametrize(
    ("respond", "text"),
    [
        (
            {"text": "x", "content_type": "html"},
            'respond.content_type: "html" is no media type; write text/html, or text/html; charset=utf-8',
        ),
        (
            {"text": "x", "content_type": "text/html\r\nX: y"},
            'respond.content_type: "text/html\\r\\nX: y" is no media type; write text/html, or text/html; '
            "charset=utf-8",
        ),
        (
            {"text": "x", "headers": {"content-type": "text/html"}},
            "respond: has Content-Type among its headers; write content_type",
        ),
        (
            {"content_type": "text/html"},
            "respond: has a content_type, which has no effect without a body; remove it",
        ),
        ({"status": 205, "text": "x"}, "respond: has a body, which a 205 cannot have; remove it"),
        ({"status": 304, "text": "x"}, "respond: has a body, which a 304 cannot have; remove it"),
        ({"status": 101}, "respond.status: 101 is too small; the minimum is 200"),
        (
            {"status": 301},
            "respond: has the status 301 without a Location; write redirect: {to: ...}",
        ),
        ({"headers": {"Content-Length": "1"}}, "respond.headers: has Content-Length, which the balancer "
         "writes itself; remove it"),
        ({"headers": {"X-A": "$ip"}}, "respond.headers: has $ip, which is no variable; write $client_ip, "
         "$host, $path, $request_id, $scheme, $uri, or $$ for a dollar sign"),
        ("closed", 'respond: "closed" is no response; write a status, or {status: 503, text: "Back soon."}'),
    ],
)  # fmt: skip
def test_a_response_that_cannot_be_sent_is_refused(respond: Any, text: str) -> None:
    assert problem({"respond": respond}) == text


@pytest.mark.parametrize("status", [503, "503"])
def test_a_status_is_a_response(status: object) -> None:
    assert loaded({"respond": status}).respond.status == 503


def test_only_a_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("a\0b", "/dev/zero", str(tmp_path), str(tmp_path / "pipe")):
        found = problem({"respond": {"file": name}})
        assert found.endswith("is not a file; correct the path or mount the file")


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.html").write_text("closed", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert loaded({"respond": {"file": "page.html"}}).respond.body() == b"closed"
