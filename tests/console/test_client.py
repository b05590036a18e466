"""The address of the running balancer, and the message if it does not answer."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from balancer.console.client import AdminClient, NotABalancerError, UnreachableError
from balancer.console.places import (
    Place,
    addresses_of,
    find_admin,
    find_admins,
    find_token,
    operator_name,
)
from balancer.errors import OperatorError


@pytest.mark.parametrize(
    ("named", "environ", "place"),
    [
        pytest.param(None, {}, "127.0.0.1:9901", id="default"),
        pytest.param(None, {"BALANCER_ADMIN_LISTEN": "10.0.0.5:9000"}, "10.0.0.5:9000", id="environment"),
        pytest.param(None, {"BALANCER_ADMIN_LISTEN": "0.0.0.0:9000"}, "127.0.0.1:9000", id="every address"),
        pytest.param(None, {"BALANCER_ADMIN_LISTEN": "[::]:9000"}, "[::1]:9000", id="every IPv6 address"),
        pytest.param(None, {"BALANCER_ADMIN_LISTEN": ":9000"}, "127.0.0.1:9000", id="port alone"),
        pytest.param(None, {"BALANCER_ADMIN_LISTEN": " "}, "127.0.0.1:9901", id="empty"),
        pytest.param("app:9000", {"BALANCER_ADMIN_LISTEN": "10.0.0.5:1"}, "app:9000", id="named"),
        pytest.param("http://app:9000/", {}, "app:9000", id="URL"),
        pytest.param("app", {}, "app:9901", id="without port"),
        pytest.param("[::1]:9000", {}, "[::1]:9000", id="IPv6"),
    ],
)
def test_the_address_is_the_option_or_that_of_the_settings(
    named: str | None, environ: dict[str, str], place: str
) -> None:
    assert str(find_admin(named, environ, None)) == place


def test_a_file_gives_the_address_unless_the_environment_does(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("admin_listen: 0.0.0.0:9000\n")
    assert str(find_admin(None, {}, str(file))) == "127.0.0.1:9000"
    assert str(find_admin(None, {"BALANCER_CONFIG": str(file)}, None)) == "127.0.0.1:9000"
    assert str(find_admin(None, {"BALANCER_ADMIN_LISTEN": "127.0.0.1:1"}, str(file))) == "127.0.0.1:1"
    file.write_text("upstreams: app1:8000\n")
    assert str(find_admin(None, {}, str(file))) == "127.0.0.1:9901"


@pytest.mark.parametrize(
    ("named", "environ", "error"),
    [
        ("https://app:9901", {}, '--admin: "https://app:9901" asks for TLS'),
        ("a b:c", {}, '--admin: "a b:c" is not host:port; write 127.0.0.1:9901'),
        ("", {}, '--admin: "" is not host:port'),
        ("app:99999", {}, '--admin: "app:99999" has a port that is not from 1 to 65535'),
        (
            None,
            {"BALANCER_ADMIN_LISTEN": "9901"},
            'BALANCER_ADMIN_LISTEN: "9901" is a port without an address; write 127.0.0.1:9901',
        ),
        (None, {"BALANCER_ADMIN_LISTEN": "127.0.0.1:0"}, "means any free port"),
        (None, {"BALANCER_CONFIG": "/nonexistent.yaml"}, "cannot be read"),
    ],
)
def test_an_invalid_address_is_reported(named: str | None, environ: dict[str, str], error: str) -> None:
    with pytest.raises(OperatorError) as raised:
        find_admin(named, environ, None)
    assert error in str(raised.value)


class Server:
    """Accepts one connection and sends the test's bytes, whatever the request."""

    def __init__(self, says: bytes | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._says = says
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.place = Place(*self._listener.getsockname())

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            if self._says is None:
                self._done.wait()
            else:
                connection.sendall(self._says)

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        self._listener.close()


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.fixture
def says(request: pytest.FixtureRequest) -> Iterator[AdminClient]:
    server = Server(request.param)
    yield AdminClient(server.place)
    server.stop()


@pytest.mark.parametrize("says", [http(b'{"pools": []}\n')], indirect=True, ids=["answer"])
def test_the_response_is_returned(says: AdminClient) -> None:
    assert says.get("/api/pools", "pools") == {"pools": []}


@pytest.mark.parametrize(
    ("says", "error"),
    [
        pytest.param(http(b"<html>", b"404 Not Found"), "is not the admin API", id="another server"),
        pytest.param(http(b"{}"), "is not the admin API", id="another JSON"),
        pytest.param(http(b"[1]"), "is not the admin API", id="no object"),
        pytest.param(http(b'{"error": "no such"}', b"404 Not Found"), "answers 404: no such", id="its error"),
        pytest.param(
            http(b'{"error": "it needs"}', b"401 Unauthorized"),
            "requires an ADMIN_TOKEN: set BALANCER_ADMIN_TOKEN or BALANCER_ADMIN_TOKEN_FILE here",
            id="no token",
        ),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP", id="another protocol"),
    ],
    indirect=["says"],
)
def test_a_server_that_is_no_balancer_is_reported(says: AdminClient, error: str) -> None:
    with pytest.raises(NotABalancerError, match=error):
        says.get("/api/pools", "pools")


@pytest.mark.parametrize(
    ("says", "error"),
    [
        pytest.param(b"", "closed the connection before its response was complete", id="closed"),
        pytest.param(http(b"{}")[:-1], "closed the connection", id="cut off"),
        pytest.param(None, r"did not answer within 0\.05 s", id="silent"),
    ],
    indirect=["says"],
)
def test_a_server_that_does_not_answer_is_reported(says: AdminClient, error: str) -> None:
    with pytest.raises(UnreachableError, match=error):
        says.get("/api/pools", "pools", patience=0.05 if "silent" in error or "within" in error else 20.0)


def test_a_refused_connection_is_reported_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place(*server.getsockname())
    with pytest.raises(UnreachableError, match=f"nothing answers on {place}; is the balancer running?"):
        AdminClient(place).get("/api/pools", "pools")


TOKENS = [
    pytest.param({}, "", "", id="none"),
    pytest.param({"BALANCER_ADMIN_TOKEN": "t0ken"}, "", "t0ken", id="environment"),
    pytest.param({"BALANCER_ADMIN_TOKEN_FILE": "{dir}/token"}, "", "from-file", id="file by environment"),
    pytest.param({}, "admin_token: t0ken", "t0ken", id="settings file"),
    pytest.param({}, "admin_token_file: {dir}/token", "from-file", id="file by settings file"),
    pytest.param({"BALANCER_ADMIN_TOKEN": "a"}, "admin_token_file: {dir}/token", "a", id="environment wins"),
]


@pytest.mark.parametrize(("environ", "settings", "token"), TOKENS)
def test_the_token_is_read_from_the_settings(
    tmp_path: Path, environ: dict[str, str], settings: str, token: str
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "settings.yaml").write_text(settings.format(dir=tmp_path))
    placed = {name: value.format(dir=tmp_path) for name, value in environ.items()}
    assert find_token(placed, str(tmp_path / "settings.yaml")) == token


@pytest.mark.parametrize("content", [None, "", "two words", "\xe9"], ids=["none", "empty", "words", "bytes"])
def test_a_file_without_a_token_is_reported(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(OperatorError, match=r"BALANCER_ADMIN_TOKEN_FILE: .*token"):
        find_token({"BALANCER_ADMIN_TOKEN_FILE": str(tmp_path / "token")}, None)


def look_up(name: str) -> list[str]:
    if name == "balancer":
        return ["10.0.0.5", "10.0.0.6"]
    raise socket.gaierror(-2, "Name or service not known")


SEVERAL: list[Any] = [
    pytest.param(None, ["127.0.0.1:9901"], id="none"),
    pytest.param(["a:1,b:2"], ["a:1", "b:2"], id="with a comma"),
    pytest.param(["a:1", " b "], ["a:1", "b:9901"], id="repeated"),
    pytest.param(["dns://balancer:99"], ["10.0.0.5:99", "10.0.0.6:99"], id="a name"),
    pytest.param(["dns://balancer,10.0.0.6:9901"], ["10.0.0.5:9901", "10.0.0.6:9901"], id="each once"),
]


@pytest.mark.parametrize(("named", "places"), SEVERAL)
def test_several_addresses_may_be_named(named: list[str] | None, places: list[str]) -> None:
    assert [str(place) for place in find_admins(named, {}, None, look_up)] == places


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ("dns://nowhere", r'"dns://nowhere" does not resolve \(name or service not known\); correct it'),
        ("a:1,", '"" is not host:port'),
    ],
)
def test_a_wrong_list_of_addresses_is_reported(named: str, error: str) -> None:
    with pytest.raises(OperatorError, match=f"--admin: {error}"):
        find_admins([named], {}, None, look_up)


def test_a_name_has_addresses_of_one_family() -> None:
    assert addresses_of("localhost") in (["127.0.0.1"], ["::1"])


@pytest.mark.parametrize(
    ("user", "name"),
    [("alice", "alice"), ("a\nb", "ab"), ("x" * 99, "x" * 64)],
    ids=["plain", "line", "long"],
)
def test_the_name_of_the_operator_is_text(user: str, name: str) -> None:
    assert operator_name({"SUDO_USER": user}) == name


@pytest.mark.parametrize(
    ("says", "results", "status"),
    [
        pytest.param(http(b'{"id": "a"}', b"201 Created"), (), 201, id="created"),
        pytest.param(http(b'{"result": "gone"}', b"404 Not Found"), ("gone",), 404, id="gone"),
        pytest.param(http(b'{"error": "no pool"}', b"404 Not Found"), ("gone",), None, id="another 404"),
        pytest.param(http(b'{"result": "gone"}'), ("gone",), None, id="an answer without the field"),
    ],
    indirect=["says"],
)
def test_what_counts_as_an_answer_to_a_change(
    says: AdminClient, results: tuple[str, ...], status: int | None
) -> None:
    if status is None:
        with pytest.raises(NotABalancerError):
            says.ask("DELETE", "/x", None, "id", results=results)
    else:
        assert says.ask("DELETE", "/x", None, "id", results=results)[0] == status
