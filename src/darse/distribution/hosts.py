"""Which hosts stand behind a registry's name, and how each is reached: mirrors, TLS, certificates, proxies.

As dockerd has it: Docker Hub is asked through its mirrors first; a registry that is configured as insecure, or on a
loopback address, may have a certificate that nobody knows, or none and speak plain HTTP; certificates are in
`certs.d/HOST[:PORT]/` (`*.crt` to trust, `NAME.cert` with `NAME.key` to show).
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from darse.distribution.errors import RegistryError, Unreachable
from darse.distribution.transport import Route, address
from darse.image_spec.references import DEFAULT_DOMAIN

HUB = "registry-1.docker.io"
# Under this name clients keep the credentials of Docker Hub.
HUB_INDEX = "https://index.docker.io/v1/"
CERTIFICATES = (Path("/etc/darse/certs.d"), Path("/etc/docker/certs.d"))


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured of registries: the engine's options, or the command's.

    `mirrors` are URLs that end in a slash; `insecure` are `HOST[:PORT]` and networks; `proxies` are by scheme.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certificates: tuple[Path, ...] = CERTIFICATES
    proxies: dict[str, str] = {}
    no_proxy: str = ""


class RegistryEndpoint(msgspec.Struct, frozen=True):
    """One place to ask: `base` is its URL, without a slash at the end."""

    base: str
    is_mirror: bool = False

    @property
    def authority(self) -> str:
        """Host and port, as they stand in the URL."""
        return urlsplit(self.base).netloc


def proxies_of(environment: Mapping[str, str], http: str = "", https: str = "", none: str = "") -> RegistrySettings:
    """Settings with the proxies that are given, or else are in the environment."""

    def found(name: str) -> str:
        return environment.get(name.upper()) or environment.get(name, "")

    return RegistrySettings(
        proxies={"http": http or found("http_proxy"), "https": https or found("https_proxy")},
        no_proxy=none or found("no_proxy"),
    )


class Hosts:
    """The ways to all hosts. TLS contexts are made once for each, and again when its certificates have changed."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        # By authority: whether it is insecure and what its certificates were then, and the context of that.
        self._contexts: dict[str, tuple[object, ssl.SSLContext]] = {}
        self._lock = threading.Lock()

    def endpoints(self, domain: str, *, mirrors: bool = False) -> list[RegistryEndpoint]:
        """Where to ask for what is in registry `domain`, in this order; `mirrors` when reading."""
        found = []
        if domain == DEFAULT_DOMAIN:
            if mirrors:
                found = [RegistryEndpoint(mirror.rstrip("/"), is_mirror=True) for mirror in self._settings.mirrors]
            return [*found, RegistryEndpoint(f"https://{HUB}")]
        found = [RegistryEndpoint(f"https://{domain}")]
        if self.is_insecure(domain):
            found.append(RegistryEndpoint(f"http://{domain}"))
        return found

    def is_insecure(self, authority: str) -> bool:
        """Whether `HOST[:PORT]` may go without a certificate that is trusted, or without TLS."""
        if authority in self._settings.insecure:
            return True
        host = urlsplit(f"//{authority}").hostname or ""
        networks = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
        for text in self._settings.insecure:
            if "/" in text:
                networks.append(ipaddress.ip_network(text, strict=False))
        return any(one in network for one in _addresses(host) for network in networks)

    def route(self, url: SplitResult) -> Route:
        """The way to the host of `url`. Raises RegistryError for certificates that cannot be read."""
        proxy = self._proxy(url)
        if url.scheme != "https":
            return Route(proxy=proxy)
        insecure = self.is_insecure(url.netloc)
        seen = (insecure, [_state(root / url.netloc) for root in self._settings.certificates])
        with self._lock:
            made = self._contexts.get(url.netloc)
            if made is None or made[0] != seen:
                made = self._contexts[url.netloc] = (seen, self._context(url.netloc, insecure))
        return Route(made[1], proxy)

    def _context(self, authority: str, insecure: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # From Python 3.13 on authorities without a key usage are refused; docker takes those of private registries.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for root in self._settings.certificates:
            _add_certificates(context, root / authority)
        return context

    def _proxy(self, url: SplitResult) -> str:
        proxy = self._settings.proxies.get(url.scheme, "")
        if not proxy or not url.hostname or _goes_without(url, self._settings.no_proxy):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a host, or none: also an unknown one is looked at only when it is asked."""
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    if host == "localhost" or host.endswith(".localhost"):
        return [ipaddress.ip_address("127.0.0.1")]
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(one).partition("%")[0]) for one in sorted(map(str, found))]


def _state(directory: Path) -> list[tuple[str, int, int]]:
    """What tells a directory's certificates from those of another moment; nothing when it is not there."""
    try:
        with os.scandir(directory) as entries:
            return sorted((one.name, one.stat().st_mtime_ns, one.stat().st_ino) for one in entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _add_certificates(context: ssl.SSLContext, directory: Path) -> None:
    """Trust and show what is in a host's directory. Raises RegistryError in docker's words."""
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for name in names:
            path = directory / name
            if name.endswith(".crt"):
                context.load_verify_locations(cafile=path)
            elif name.endswith(".cert"):
                key = path.with_suffix(".key")
                if key.name not in names:
                    raise RegistryError(
                        f"missing key {key.name} for client certificate {name}. CA certificates must use the "
                        "extension .crt"
                    )
                context.load_cert_chain(path, key)
            elif name.endswith(".key") and path.with_suffix(".cert").name not in names:
                raise RegistryError(f"missing client certificate {path.with_suffix('.cert').name} for key {name}")
    except (OSError, ssl.SSLError) as error:
        raise Unreachable(f"cannot use the certificates in {directory}: {error}") from error


def _goes_without(url: SplitResult, no_proxy: str) -> bool:
    """Whether a host is reached directly: by the rules of Go's golang.org/x/net/http/httpproxy."""
    host, port = address(url)
    host = host.lower()
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if host == "localhost" or (literal is not None and literal.is_loopback):
        return True
    for raw in no_proxy.split(","):
        entry = raw.strip().lower()
        if entry == "*":
            return True
        if literal is not None and "/" in entry:
            try:
                if literal in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
        found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:]+|[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*?)(?::([0-9]+))?", entry)
        if found is None or (found[2] and int(found[2]) != port):
            continue
        name = found[1].strip("[]").removeprefix("*")
        if host == name.removeprefix(".") and not name.startswith("."):
            return True
        if host.endswith(name if name.startswith(".") else f".{name}") and literal is None:
            return True
    return False
