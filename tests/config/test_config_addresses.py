"""Upstreams and listen addresses, as operators may write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.config.address import Address, parse_listen
from balancer.config.finding_specs import DnsSpec, FileSpec, OwnSpec, SrvSpec
from balancer.config.upstream_spec import (
    Spec,
    UpstreamSpec,
    parse_member,
    parse_upstream,
    refuse_duplicates,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("app1:8000", UpstreamSpec("app1", 8000), id="name"),
        pytest.param("my_app-1.internal.:80", UpstreamSpec("my_app-1.internal.", 80), id="long_name"),
        pytest.param("APP1:8000", UpstreamSpec("app1", 8000), id="upper_case"),
        pytest.param("10.0.0.2:8000?weight=3", UpstreamSpec("10.0.0.2", 8000, 3), id="weight"),
        pytest.param("http://app3:8000", UpstreamSpec("app3", 8000), id="http"),
        pytest.param("https://app3:8443?weight=2", UpstreamSpec("app3", 8443, 2, tls=True), id="https"),
        pytest.param("HTTPS://app3", UpstreamSpec("app3", 443, tls=True), id="https_without_port"),
        pytest.param("dns://app:8443?tls=true", DnsSpec("app", 8443, tls=True), id="dns_by_tls"),
        pytest.param("HTTP://app3/", UpstreamSpec("app3", 80), id="http_without_port"),
        pytest.param("[::1]:8000", UpstreamSpec("::1", 8000), id="ipv6"),
        pytest.param("http://[0:0::1]:8000?weight=2", UpstreamSpec("::1", 8000, 2), id="ipv6_http_weight"),
        pytest.param("dns://app:8000", DnsSpec("app", 8000, 1, 2.0), id="dns"),
        pytest.param("DNS://App.internal:80/", DnsSpec("app.internal", 80), id="dns_upper_case"),
        pytest.param("dns://app:8000?refresh=500ms&weight=2", DnsSpec("app", 8000, 2, 0.5), id="dns_options"),
        pytest.param("dns://app:8000?refresh=100ms", DnsSpec("app", 8000, 1, 0.1), id="refresh_shortest"),
        pytest.param("dns://app:8000?refresh=1h", DnsSpec("app", 8000, 1, 3600.0), id="refresh_longest"),
        pytest.param("srv://_http._tcp.App.example./", SrvSpec("_http._tcp.app.example."), id="srv"),
        pytest.param(
            "SRV://app?refresh=5s&tls=true&backup=true&nameserver=10.0.0.53:8600",
            SrvSpec("app", 5.0, True, True, "10.0.0.53:8600"),
            id="srv_options",
        ),
        pytest.param(
            "srv://a?nameserver=10.0.0.53", SrvSpec("a", nameserver="10.0.0.53:53"), id="srv_port_53"
        ),
        pytest.param("srv://a?nameserver=[0::1]:54", SrvSpec("a", nameserver="[::1]:54"), id="srv_ipv6"),
        pytest.param("srv://a?nameserver=0::1", SrvSpec("a", nameserver="[::1]:53"), id="srv_bare_ipv6"),
        pytest.param("file:///etc/members.yaml", FileSpec("/etc/members.yaml"), id="file"),
        pytest.param("File:////Etc/a b", FileSpec("/Etc/a b"), id="file_as_it_is_written"),
        pytest.param("dns://app:8000?refresh=0.1239", DnsSpec("app", 8000, 1, 0.124), id="refresh_in_ms"),
    ],
)
def test_an_upstream_is_parsed(text: str, expected: Spec) -> None:
    assert parse_upstream(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("app1", "has no port; write app1:8000", id="no_port"),
        pytest.param("", "has no valid host name", id="empty"),
        pytest.param(":8000", "has no valid host name", id="no_host"),
        pytest.param("app1:", "is not host:port", id="empty_port"),
        pytest.param("app1:http", "is not host:port", id="port_name"),
        pytest.param("app1:0", r"port outside 1 to 65535 \(0\)", id="port_0"),
        pytest.param("app1:65536", r"port outside 1 to 65535 \(65536\)", id="port_too_large"),
        pytest.param("app 1:80", "has no valid host name", id="space"),
        pytest.param("-app:80", "has no valid host name", id="leading_dash"),
        pytest.param("a..b:80", "has no valid host name", id="empty_label"),
        pytest.param("ä:80", "has a host name that is not ASCII; write xn--4ca", id="not_ascii"),
        pytest.param(
            "http://unix:/run/a.sock:/x",
            "has a scheme, which a unix socket has not; write unix:/run/a.sock",
            id="a socket as in nginx",
        ),
        pytest.param(
            "https+unix:/run/a.sock", "not supported; write unix:/run/a.sock$", id="TLS to a socket"
        ),
        pytest.param(
            "unix+tls:/run/a.sock", "not supported; write unix:/run/a.sock$", id="a socket with TLS"
        ),
        pytest.param("10.0.0.300:80", r"no valid IPv4 address \(10.0.0.300\)", id="bad_ipv4"),
        pytest.param("10.0.0:80", "no valid IPv4 address", id="short_ipv4"),
        pytest.param("::1", r"without brackets; write \[::1\]:8000", id="ipv6_without_brackets"),
        pytest.param("[::g]:80", "no IPv6 address in its brackets", id="bad_ipv6"),
        pytest.param("[10.0.0.1]:80", "no IPv6 address in its brackets", id="ipv4_in_brackets"),
        pytest.param("dns://app", "has no port; write dns://app:8000", id="dns_without_port"),
        pytest.param("dns://10.0.0.2:80", "looks up an IP address; write 10.0.0.2:80", id="dns_of_ipv4"),
        pytest.param("dns://[0::1]:80", r"looks up an IP address; write \[::1\]:80", id="dns_of_ipv6"),
        pytest.param("dns://app:80?refresh=99ms", r"from 100ms to 1h \(99ms\)", id="refresh_too_short"),
        pytest.param("dns://app:80?refresh=3601", r"from 100ms to 1h \(3601\)", id="refresh_too_long"),
        pytest.param("dns://app:80?refresh=soon", r"not a duration .* \(soon\); write", id="refresh_no_time"),
        pytest.param("dns://app:80?refresh=", "not a duration", id="refresh_empty"),
        pytest.param("dns://app:80?refresh=1s&refresh=2s", "more than one refresh", id="refresh_twice"),
        pytest.param("dns://app:80?backup=yes", r"backup .* \(yes\); write \?backup=true", id="dns_backup"),
        pytest.param(
            "http://app:80?refresh=2s", "which only dns:// takes; .* write dns://app:80$", id="refresh_no_dns"
        ),
        pytest.param("srv://_http._tcp.app:80", "port, .* write srv://_http._tcp.app, or dns", id="srv_port"),
        pytest.param("srv://10.0.0.2", "looks up an IP address; write 10.0.0.2:8000", id="srv_of_ipv4"),
        pytest.param("srv://a b", "has no valid host name", id="srv_no_name"),
        pytest.param("srv://a/b", "has no valid host name", id="srv_path"),
        pytest.param("srv://a?weight=2", "has the option weight, which is in the records", id="srv_weight"),
        pytest.param("srv://a?nameserver=ns1", r"not an IP address \(ns1\); write \?names", id="nameserver"),
        pytest.param("srv://a?nameserver=1.2.3.4:0", "not an IP address", id="nameserver_port"),
        pytest.param("srv:_http._tcp.app", "has no ://.*; write srv://_http._tcp.app$", id="srv_colon"),
        pytest.param("dns://a:80?nameserver=1.2.3.4", "only srv:// takes; remove it", id="nameserver_of_dns"),
        pytest.param("a:80?nameserver=1.2.3.4", "only srv:// takes; remove it", id="nameserver_of_one"),
        pytest.param("file://etc/a", "no absolute path of a file; write file:///etc/", id="file_relative"),
        pytest.param("file:/etc/a", "has no ://.*; write file:///etc/a$", id="file_one_slash"),
        pytest.param("file:///etc/", "no absolute path of a file", id="file_folder"),
        pytest.param("file:///a?backup=true", "has options, .*; write file:///a$", id="file_options"),
        pytest.param("consul://web", "unknown scheme .* install the package", id="not_installed"),
        pytest.param("https://app:8000/api", "has a path; .* write https://app:8000", id="https_path"),
        pytest.param("app:8000?tls=true", "which only dns:// takes; write https://app:8000", id="tls_no_dns"),
        pytest.param("unix:/run/a.sock?tls=true", "tls, which only dns:// takes; remove", id="tls_of_unix"),
        pytest.param("dns://app:8000?tls=1", "tls that is neither true nor false", id="tls_number"),
        pytest.param("https//app:8000", "has no :// .*; write https://app:8000", id="https_without_colon"),
        pytest.param("app:8000?backup", r"neither true nor false \(\)", id="backup_without_value"),
        pytest.param("app:8000?backup=true&backup=true", "more than one backup", id="backup_twice"),
        pytest.param("ftp://app:8000", r"unknown scheme \(ftp://\)", id="ftp"),
        pytest.param("http://app:8000/api", "has a path; .* write app:8000", id="path"),
        pytest.param("http://me:secret@app:8000", "has a user name", id="user_name"),
        pytest.param("app:8000?wieght=3", r"unknown option \(wieght\)", id="unknown_option"),
        pytest.param("app:8000?weight=0", "has the weight 0; leave it out", id="weight_0"),
        pytest.param("app:8000?weight=1.5", "not a whole number from 1 to 1000", id="weight_fraction"),
        pytest.param("app:8000?weight=", "not a whole number from 1 to 1000", id="weight_empty"),
        pytest.param("app:8000?weight=²", "not a whole number from 1 to 1000", id="weight_superscript"),
        pytest.param("app:8000?weight=1&weight=2", "more than one weight", id="weight_twice"),
        pytest.param({"app1": 8000}, "is a mapping; write each upstream as one string", id="yaml_mapping"),
        pytest.param(8000, "is not host:port", id="number"),
    ],
)
def test_an_invalid_upstream_is_refused(text: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_upstream(text)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        pytest.param(
            ["app:80", "app:80?weight=3", "app:81"],
            r"names app:80 twice; .* write app:80\?weight=2",
            id="upstream",
        ),
        pytest.param(
            ["dns://app:80", "dns://app:80?refresh=1s"],
            r"names dns://app:80 twice; .* write dns://app:80\?weight=2",
            id="name_looked_up",
        ),
        pytest.param(["file:///a", "file:///a"], "names file:///a twice; keep one", id="file"),
        pytest.param(["srv://a", "srv://a?tls=true"], "names srv://a twice; keep one", id="service"),
        pytest.param(
            ["app:80", "dns://app:80"],
            "names app:80 with dns:// and without; keep dns://app:80 for .*, or app:80 for one upstream",
            id="one_name_both_ways",
        ),
    ],
)
def test_duplicate_upstreams_are_refused(texts: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        refuse_duplicates(tuple(parse_upstream(text) for text in texts))


def test_an_entry_with_the_scheme_of_an_installed_source_is_taken_as_it_is() -> None:
    text = "consul://me:x@web/a?tag=v2&weight=many"
    spec = parse_upstream(f" CONSUL{text[6:]} ", lambda: {"consul"})
    assert spec == OwnSpec(text)
    assert (str(spec), spec.id) == (text, text)


def test_no_installed_source_takes_a_scheme_of_ours() -> None:
    assert parse_upstream("dns://app:80", lambda: {"dns", "http"}) == DnsSpec("app", 80)


def test_a_file_beside_backups_may_list_regular_upstreams() -> None:
    specs = (parse_upstream("app:80?backup=true"), parse_upstream("file:///a"))
    assert refuse_duplicates(specs) == specs


@pytest.mark.parametrize("text", ["app:80", "dns://app:80", "srv://a", "file:///a"])
def test_a_member_from_elsewhere_has_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="has no IP address; names can be used only in UPSTREAMS"):
        parse_member(text)


@pytest.mark.parametrize(
    ("name", "domain"),
    [("_http._tcp.app.example.", "app.example."), ("app", "app"), ("_http._tcp", "_tcp")],
)
def test_the_name_in_certificates_is_the_one_without_service_and_protocol(name: str, domain: str) -> None:
    assert SrvSpec(name).domain == domain


def test_backup_upstreams_alone_are_refused() -> None:
    with pytest.raises(ValueError, match=r"names only backup upstreams.* remove \?backup=true"):
        refuse_duplicates((parse_upstream("app:80?backup=true"), parse_upstream("dns://b:80?backup=true")))


@pytest.mark.parametrize(
    "text", ["app:80?backup=true", "app:80?weight=2&backup=true", "dns://app:80?backup=true&refresh=5s"]
)
def test_a_backup_is_written_back_as_it_was_read(text: str) -> None:
    spec = parse_upstream(text)
    assert spec.backup
    assert str(spec) == text


def test_different_ports_of_a_name_are_no_duplicates() -> None:
    specs = tuple(parse_upstream(text) for text in ("app:80", "app:81", "dns://app:82", "dns://app:83"))
    assert refuse_duplicates(specs) == specs


_NAMES = st.sampled_from(["app", "a-b.c_d"])
_HOSTS = _NAMES | st.just("10.0.0.1") | st.ip_addresses(v=6).map(str)
_PORTS = st.integers(1, 65535)
_WEIGHTS = st.integers(1, 1000)
_REFRESHES = st.integers(100, 3_600_000).map(lambda milliseconds: milliseconds / 1000)


@settings(deadline=None)
@given(
    st.builds(UpstreamSpec, _HOSTS, _PORTS, _WEIGHTS, st.booleans(), st.booleans())
    | st.builds(DnsSpec, _NAMES, _PORTS, _WEIGHTS, _REFRESHES, st.booleans(), st.booleans())
    | st.builds(SrvSpec, _NAMES, _REFRESHES, st.booleans(), st.booleans(), st.sampled_from(["", "[::1]:53"]))
)
def test_upstream_survives_a_round_trip(upstream: Spec) -> None:
    assert parse_upstream(str(upstream)) == upstream


_QUERIES = st.lists(
    st.sampled_from(["refresh", "weight"]).flatmap(
        lambda name: st.from_regex(r"[0-9]{0,4}(\.[0-9]{1,9})?(ms|s|m|h)?", fullmatch=True).map(
            lambda value: f"{name}={value}"
        )
    ),
    max_size=2,
).map("&".join)


@settings(deadline=None)
@given(st.text() | st.builds("dns://app:80?{}".format, _QUERIES))
def test_any_text_is_an_upstream_or_a_value_error(text: str) -> None:
    try:
        upstream = parse_upstream(text)
    except ValueError:
        return
    assert parse_upstream(str(upstream)) == upstream


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("0.0.0.0:8080", Address("0.0.0.0", 8080), id="ipv4"),
        pytest.param("[::]:8080", Address("::", 8080), id="ipv6"),
        pytest.param(":8080", Address("0.0.0.0", 8080), id="only_port"),
        pytest.param("localhost:0", Address("127.0.0.1", 0), id="localhost_any_port"),
    ],
)
def test_a_listen_address_is_parsed(text: str, expected: Address) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("8080", "is a port without an address; write 0.0.0.0:8080", id="no_colon"),
        pytest.param("127.0.0.1", "has no port", id="no_port"),
        pytest.param("127.0.0.1:70000", "has a port above 65535", id="port_too_large"),
        pytest.param("example.com:80", "is not an IP address and a port", id="name"),
        pytest.param(8080, "is not host:port; write 0.0.0.0:8080", id="number"),
    ],
)
def test_an_invalid_listen_address_is_refused(text: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_listen(text)


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        pytest.param("127.0.0.1:80", "127.0.0.1:80", True, id="same"),
        pytest.param("0.0.0.0:80", "127.0.0.1:80", True, id="every_address_holds_it_too"),
        pytest.param("127.0.0.1:80", "[::]:80", True, id="every_ipv6_address"),
        pytest.param("127.0.0.1:80", "127.0.0.2:80", False, id="other_address"),
        pytest.param("127.0.0.1:80", "127.0.0.1:81", False, id="other_port"),
        pytest.param("127.0.0.1:0", "127.0.0.1:0", False, id="any_free_port"),
    ],
)
def test_which_listen_addresses_clash(one: str, other: str, clash: bool) -> None:
    assert parse_listen(one).clashes_with(parse_listen(other)) is clash
    assert parse_listen(other).clashes_with(parse_listen(one)) is clash


def test_a_unix_socket_has_a_path_that_the_kernel_takes() -> None:
    spec = parse_upstream("unix:/run/app.sock?weight=3")
    assert spec == UpstreamSpec("unix:/run/app.sock", 0, 3)
    assert (spec.id, str(spec)) == ("unix:/run/app.sock", "unix:/run/app.sock?weight=3")
    assert parse_upstream("unix:///run/app.sock").id == spec.id
    assert parse_upstream(f"unix:/{'x' * 106}").id.endswith("x")
    with pytest.raises(ValueError, match="has a path of more than 107 bytes"):
        parse_upstream(f"unix:/{'x' * 107}")
