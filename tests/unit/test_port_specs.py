"""`-p` and `--expose`, as people write them."""

from __future__ import annotations

import pytest

from darse.port_specs import InvalidPort, parse_ports, parse_publish


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [("80/tcp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("8080:80/udp", [("80/udp", "", "8080")]),
        ("8080:80/SCTP", [("80/sctp", "", "8080")]),
        ("127.0.0.1:8080:80", [("80/tcp", "127.0.0.1", "8080")]),
        ("127.0.0.1::80", [("80/tcp", "127.0.0.1", "")]),
        ("[::1]:8080:80", [("80/tcp", "::1", "8080")]),
        ("::1:8080:80", [("80/tcp", "::1", "8080")]),
        ("0:80", [("80/tcp", "", "0")]),
        ("8000-8001:80-81", [("80/tcp", "", "8000"), ("81/tcp", "", "8001")]),
        ("8000-8010:80", [("80/tcp", "", "8000-8010")]),
        ("80-81", [("80/tcp", "", ""), ("81/tcp", "", "")]),
        ("target=80,published=8080,protocol=udp", [("80/udp", "", "8080")]),
        ("target=80", [("80/tcp", "", "")]),
    ],
)
def test_published_ports(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(key, one["HostIp"], one["HostPort"]) for key, one in parse_publish(text)] == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no port specified: <empty>"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("x", "invalid containerPort: x"),
        ("70000", "invalid containerPort: 70000"),
        ("81-80", "invalid containerPort: 81-80"),
        ("x:80", "invalid hostPort: x"),
        ("80/icmp", "invalid proto: icmp"),
        ("nowhere:8080:80", "invalid IP address: nowhere"),
        ("fe80::1%eth0:8080:80", "invalid IP address: fe80::1%eth0"),
        ("8000-8002:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8000-8002"),
    ],
)
def test_what_is_no_port_is_refused_in_dockers_words(text: str, error: str) -> None:
    with pytest.raises(InvalidPort) as failure:
        parse_publish(text)
    assert str(failure.value) == error


def test_what_is_published_is_exposed() -> None:
    bindings, exposed = parse_ports(["8080:80", "8081:80"], ["90-91/udp", "80"])
    assert bindings == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "", "HostPort": "8081"}]}
    assert exposed == {"80/tcp": {}, "90/udp": {}, "91/udp": {}}


_EXPOSE = "invalid range format for --expose: "


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("80:80", "invalid port format for --expose: 80:80"),
        ("", f"{_EXPOSE}, error: empty string specified for ports"),
        ("x", f'{_EXPOSE}x, error: strconv.ParseUint: parsing "x": invalid syntax'),
        ("70000", f'{_EXPOSE}70000, error: strconv.ParseUint: parsing "70000": value out of range'),
        ("9-8", f"{_EXPOSE}9-8, error: invalid range specified for port: 9-8"),
    ],
)
def test_what_cannot_be_exposed(text: str, error: str) -> None:
    with pytest.raises(InvalidPort) as failure:
        parse_ports([], [text])
    assert str(failure.value) == error
