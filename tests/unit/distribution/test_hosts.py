"""Where registries are, and how they are reached."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from darse.distribution.auth import challenges
from darse.distribution.client import domain_of
from darse.distribution.errors import RegistryError
from darse.distribution.hosts import Hosts, RegistrySettings


def bases(hosts: Hosts, domain: str, *, mirrors: bool = True) -> list[str]:
    return [endpoint.base for endpoint in hosts.endpoints(domain, mirrors=mirrors)]


def test_hub_is_asked_through_its_mirrors_first_when_reading() -> None:
    hosts = Hosts(RegistrySettings(mirrors=("https://one.example/", "http://two.example/path/")))
    assert bases(hosts, "docker.io") == [
        "https://one.example",
        "http://two.example/path",
        "https://registry-1.docker.io",
    ]
    assert bases(hosts, "docker.io", mirrors=False) == ["https://registry-1.docker.io"]
    assert bases(hosts, "192.0.2.1:5000") == ["https://192.0.2.1:5000"]


@pytest.mark.parametrize("domain", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"])
def test_loopback_may_speak_plain_http(domain: str) -> None:
    assert bases(Hosts(RegistrySettings()), domain) == [f"https://{domain}", f"http://{domain}"]


@pytest.mark.parametrize(
    ("insecure", "domain", "expected"),
    [
        ("192.0.2.7:5000", "192.0.2.7:5000", True),
        ("192.0.2.7:5000", "192.0.2.7:5001", False),
        ("192.0.2.0/24", "192.0.2.200:5001", True),
        ("192.0.2.0/24", "192.0.3.1", False),
        ("registry.invalid", "registry.invalid", True),
    ],
)
def test_insecure_registries(insecure: str, domain: str, expected: bool) -> None:
    assert Hosts(RegistrySettings(insecure=(insecure,))).is_insecure(domain) is expected


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://registry.example/v2/", "http://proxy.example:3128"),
        ("http://registry.example/v2/", ""),
        ("https://localhost:5000/v2/", ""),
        ("https://127.0.0.1/v2/", ""),
        ("https://inside.corp.example/", ""),
        ("https://corp.example/", ""),
        ("https://notcorp.example/", "http://proxy.example:3128"),
        ("https://sub.dotted.example/", ""),
        ("https://dotted.example/", "http://proxy.example:3128"),
        ("https://10.1.2.3/", ""),
        ("https://port.example:5000/", ""),
        ("https://port.example/", "http://proxy.example:3128"),
    ],
)
def test_proxies(url: str, proxy: str) -> None:
    hosts = Hosts(
        RegistrySettings(
            proxies={"https": "proxy.example:3128"},
            no_proxy="corp.example, .dotted.example,10.0.0.0/8,port.example:5000",
        )
    )
    assert hosts._proxy(urlsplit(url)) == proxy


def test_certificates_may_change_while_the_engine_runs(tmp_path: Path) -> None:
    hosts = Hosts(RegistrySettings(certificates=(tmp_path,)))
    url = urlsplit("https://registry.example:5000/v2/")
    before = hosts.route(url)
    assert hosts.route(url).context is before.context
    directory = tmp_path / "registry.example:5000"
    directory.mkdir()
    (directory / "ca.crt").write_text("no certificate")
    with pytest.raises(RegistryError, match="cannot use the certificates in"):
        hosts.route(url)
    (directory / "ca.crt").unlink()
    assert hosts.route(url).context is not None


def test_a_client_certificate_needs_its_key(tmp_path: Path) -> None:
    directory = tmp_path / "registry.example:5000"
    directory.mkdir()
    (directory / "client.cert").write_text("")
    hosts = Hosts(RegistrySettings(certificates=(tmp_path,)))
    with pytest.raises(RegistryError, match=r"missing key client\.key for client certificate client\.cert"):
        hosts.route(urlsplit("https://registry.example:5000/v2/"))


@pytest.mark.parametrize(
    ("server", "domain"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry.example", "registry.example"),
        ("https://registry.example:5000/v2/", "registry.example:5000"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_server_addresses_of_logins(server: str, domain: str) -> None:
    assert domain_of(server) == domain


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="a registry"', [("basic", {"realm": "a registry"})]),
        (
            'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://auth.example/token", "service": "reg", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        ('Bearer realm="x", Basic realm=y', [("bearer", {"realm": "x"}), ("basic", {"realm": "y"})]),
        ('Bearer realm="with \\"quotes\\""', [("bearer", {"realm": 'with "quotes"'})]),
        ("", []),
        (",,,=", []),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, one.parameters) for one in challenges([header])] == expected


def test_private_authorities_need_no_key_usage(tmp_path: Path) -> None:
    route = Hosts(RegistrySettings(certificates=(tmp_path,))).route(urlsplit("https://registry.example/v2/"))
    assert route.context is not None
    assert not route.context.verify_flags & ssl.VERIFY_X509_STRICT
    assert route.context.verify_mode == ssl.CERT_REQUIRED
