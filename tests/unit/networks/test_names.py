"""hosts and resolv.conf."""

from __future__ import annotations

import pytest

from darse.networks.names import (
    addresses_in_hosts,
    host_resolv_conf,
    hosts_file,
    internal_resolv_conf,
    lookup_settings,
    resolv_conf,
    with_address,
    without_address,
)

LAN = "search example.org\nnameserver 10.0.0.53\noptions edns0 trust-ad\n"


def written(
    host: str, *, keep: bool = False, servers: str = "", search: str = "", options: str = "", v6: bool = False
) -> str:
    return resolv_conf(host, servers.split(), search.split(), options.split(), keep_loopback=keep, ipv6=v6).decode()


def test_the_host_s_file_as_it_is() -> None:
    assert written(LAN) == LAN
    assert written("# only this\n", keep=True) == "# only this\n"


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.53", "::1", "127.1.2.3", "fe80::1%eth0", "2001:db8::53"])
def test_servers_out_of_a_container_s_reach_are_left_out(server: str) -> None:
    text = f"nameserver {server}\nnameserver 10.0.0.53\nsearch lan\n"
    assert written(text) == "nameserver 10.0.0.53\nsearch lan\n"
    assert written(text, keep=True) == text


def test_public_servers_when_none_is_left() -> None:
    assert written("nameserver 127.0.0.1\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert written("") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_ipv6_servers_for_containers_with_ipv6() -> None:
    assert written("nameserver 2001:db8::53\n", v6=True) == "nameserver 2001:db8::53\n"


def test_what_is_asked_for_takes_the_place_of_the_host_s() -> None:
    assert written(LAN, servers="1.1.1.1 9.9.9.9") == (
        "nameserver 1.1.1.1\nnameserver 9.9.9.9\nsearch example.org\noptions edns0 trust-ad\n"
    )
    assert written(LAN, search="a b") == "nameserver 10.0.0.53\nsearch a b\noptions edns0 trust-ad\n"
    assert written(LAN, options="ndots:2") == "nameserver 10.0.0.53\nsearch example.org\noptions ndots:2\n"


def test_a_dot_means_no_search_domain() -> None:
    assert "search" not in written(LAN, search=".")


def test_the_last_search_line_counts() -> None:
    assert "search b c\n" in written("search a\nsearch b c\nnameserver\t10.0.0.1\n", options="x")


def test_behind_systemd_resolved_are_the_real_servers() -> None:
    files = {"/etc/resolv.conf": "nameserver 127.0.0.53\n", "/run/systemd/resolve/resolv.conf": LAN}
    assert host_resolv_conf(lambda path: files.get(path, "")) == LAN
    del files["/run/systemd/resolve/resolv.conf"]
    assert host_resolv_conf(lambda path: files.get(path, "")) == "nameserver 127.0.0.53\n"
    assert host_resolv_conf(lambda _: LAN) == LAN


def test_hosts() -> None:
    text = hosts_file(
        "web", "lan", ["172.17.0.2", "10.0.0.2"], ["db:10.0.0.9", "up:host-gateway", "six:[::5]"], "172.17.0.1"
    )
    assert text.decode().splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "ff00::\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
        "10.0.0.9\tdb",
        "172.17.0.1\tup",
        "::5\tsix",
        "172.17.0.2\tweb.lan web",
        "10.0.0.2\tweb.lan web",
    ]


def test_hosts_without_a_network_have_no_line_of_their_own() -> None:
    assert b"web" not in hosts_file("web", "", [""], (), "")


@pytest.mark.parametrize(
    ("hostname", "domain", "line"),
    [
        ("foobar.example.com", "", "10.0.0.2\tfoobar.example.com foobar"),
        ("foobar", "example.com", "10.0.0.2\tfoobar.example.com foobar"),
        ("a.b", "c", "10.0.0.2\ta.b.c a"),
        ("foobar", "", "10.0.0.2\tfoobar"),
    ],
)
def test_hosts_has_the_whole_name_and_the_short_one(hostname: str, domain: str, line: str) -> None:
    assert hosts_file(hostname, domain, ["10.0.0.2"], (), "").decode().splitlines()[-1] == line


def internal(host: str = LAN, servers: str = "", search: str = "", options: str = "") -> tuple[list[str], bool]:
    found = internal_resolv_conf(host, servers.split(), search.split(), options.split())
    return found.content.decode().splitlines(), found.ndots


def test_with_a_name_server_of_the_engines() -> None:
    lines, ndots = internal(LAN + "sortlist 10.0.0.0\n; a comment\n")
    assert lines[2:] == [
        "",
        "nameserver 127.0.0.11",
        "search example.org",
        "options edns0 trust-ad ndots:0",
        "sortlist 10.0.0.0",
        "",
        "# Based on host file: '/etc/resolv.conf' (internal resolver)",
        "# ExtServers: [host(10.0.0.53)]",
        "# Overrides: []",
        "# Option ndots from: internal",
    ]
    assert not ndots


@pytest.mark.parametrize(
    ("host", "asked", "expected", "source", "ndots"),
    [
        ("", {}, "options ndots:0", "internal", False),
        ("options ndots:3\n", {}, "options ndots:3", "host", True),
        ("options ndots:3\n", {"options": "ndots:1"}, "options ndots:1", "override", True),
        ("options ndots:x\n", {}, "options ndots:0", "internal", False),
        ("options rotate\n", {"options": "timeout:1"}, "options timeout:1 ndots:0", "internal", False),
        ("options a\noptions b\n", {}, "options a b ndots:0", "internal", False),
    ],
)
def test_ndots(host: str, asked: dict[str, str], expected: str, source: str, ndots: bool) -> None:
    lines, found = internal(host, **asked)
    assert expected in lines
    assert f"# Option ndots from: {source}" in lines
    assert found is ndots


def test_overrides_with_a_name_server_of_the_engines() -> None:
    lines, _ = internal(LAN, "192.0.2.1 192.0.2.2", "a b", "timeout:1")
    assert "search a b" in lines
    assert "# ExtServers: [192.0.2.1 192.0.2.2]" in lines
    assert "# Overrides: [nameservers search options]" in lines
    assert not any(line.startswith("search") for line in internal(LAN, search=".")[0])
    assert "# NO EXTERNAL NAMESERVERS DEFINED" in internal("")[0]
    assert "search lan" in internal("search a\ndomain lan\n")[0]


def test_addresses_come_into_hosts_and_go() -> None:
    before = b"127.0.0.1\tlocalhost\n172.18.0.2\tweb\n# mine"
    after = with_address(before, ["172.19.0.2", "fd00::2"], "web")
    assert after == before + b"\n172.19.0.2\tweb\nfd00::2\tweb\n"
    assert without_address(after, ["172.19.0.2", "fd00::2"], "web") == before + b"\n"
    assert without_address(b"172.19.0.2 web\n172.19.0.2\tother\n", ["172.19.0.2"], "web").count(b"\n") == 2


def test_what_a_resolver_reads() -> None:
    found = lookup_settings("nameserver 1.1.1.1\nsearch a\nsearch b c\noptions ndots:2 ndots:99 x\n")
    assert found == (["1.1.1.1"], ["b", "c"], 15)
    assert lookup_settings("").ndots == 1
    hosts = "127.0.0.1 localhost # web\n10.0.0.1\tWeb db\n::1 localhost\n"
    assert addresses_in_hosts(hosts, "WEB.") == ["10.0.0.1"]
    assert addresses_in_hosts(hosts, "localhost") == ["127.0.0.1", "::1"]
    assert addresses_in_hosts(hosts, "10.0.0.1") == []
