"""Where the API is served, as `-H` says it: `unix:///path`, `tcp://address:port`, `fd://`."""

from __future__ import annotations

import grp
from pathlib import Path

import msgspec

from darse.core.errors import InvalidParameter

PLAIN_PORT, TLS_PORT = 2375, 2376


class Host(msgspec.Struct, frozen=True):
    """One address. `path` is of a unix socket, `name` ("" for all addresses) and `port` of a tcp one."""

    scheme: str
    path: Path = Path()
    name: str = ""
    port: int = 0


def parse_host(text: str, *, default_socket: Path, tls: bool) -> Host:
    """Read one address; without a scheme it is tcp's. Raises InvalidParameter."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", text.strip()
    if scheme == "unix":
        path = Path(rest) if rest else default_socket
        if len(str(path).encode()) > 107 or not path.is_absolute():
            raise InvalidParameter(
                f"invalid bind address ({text}): must be an absolute path of at most 107 bytes for a unix socket"
            )
        return Host("unix", path=path)
    if scheme == "fd":
        return Host("fd")
    if scheme != "tcp":
        raise InvalidParameter(f"invalid bind address ({text}): unsupported proto: {scheme}")
    return _tcp(text, rest.rstrip("/"), TLS_PORT if tls else PLAIN_PORT)


def _tcp(text: str, address: str, default_port: int) -> Host:
    if "/" in address or "@" in address:
        raise InvalidParameter(f"invalid bind address ({text}): unsupported path or user")
    if address.startswith("["):
        name, _, port = address[1:].partition("]")
        port = port.removeprefix(":")
    elif address.count(":") > 1:
        raise InvalidParameter(f"invalid bind address ({text}): an IPv6 address goes in brackets")
    else:
        name, _, port = address.partition(":")
    if port and (not port.isascii() or not port.isdecimal() or int(port[:6]) > 65535):
        raise InvalidParameter(f"invalid bind address ({text}): invalid port: {port}")
    return Host("tcp", name=name or ("" if port else "localhost"), port=int(port) if port else default_port)


def find_group(name: str) -> int:
    """The number of the group that may use the socket. Raises InvalidParameter."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise InvalidParameter(f"group {name} not found") from None
