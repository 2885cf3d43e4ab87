"""The values of options: from a flag's text or the file's JSON to fields of EngineConfig, checked.

A reader takes a value of its option's kind and returns the fields that it sets. What dockerd offers and darse does
not is refused where accepting it would promise something (`refused`), and accepted where it is mere tuning
(`ignored`).
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from darse.core.config import AddressPool
from darse.core.errors import InvalidParameter
from darse.engine.configuration.hosts import parse_host
from darse.units import InvalidSize, parse_size

Fields = dict[str, Any]
Reader = Callable[[Any], Fields]

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
# A greater one does not fit what the API has limits in.
_LARGEST_LIMIT = 2**63 - 1
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")


def same(field: str) -> Reader:
    """The value as it is."""
    return lambda value: {field: value}


def ignored(_: Any) -> Fields:
    """Accepted, and without effect."""
    return {}


def refused(what: str, *, unless: Any = None) -> Reader:
    """Not there yet; `unless` is a value that asks for nothing."""

    def read(value: Any) -> Fields:
        if value in (unless, "", [], {}, 0, False):
            return {}
        raise InvalidParameter(f"{what}: darse does not support that yet")

    return read


def tcp_address(field: str) -> Reader:
    """An address and a port; empty: none."""

    def read(value: str) -> Fields:
        if not value:
            return {field: ""}
        host = parse_host(value, default_socket=Path(), tls=False)
        if host.scheme != "tcp" or not value.rpartition(":")[2].isdecimal():
            raise InvalidParameter(f"invalid {field.replace('_', '-')}: {value}: must be ADDRESS:PORT")
        return {field: value.removeprefix("tcp://")}

    return read


def url(field: str) -> Reader:
    """A URL of http or https; empty: none."""

    def read(value: str) -> Fields:
        try:
            parts = urlsplit(value)
        except ValueError:  # of brackets without an IPv6 address in them
            parts = None
        if value and (parts is None or parts.scheme not in ("http", "https") or not parts.hostname):
            raise InvalidParameter(f"invalid {field.replace('_', '-')}: {value}: must be a URL of http or https")
        return {field: value}

    return read


def pairs(field: str) -> Reader:
    """Names and their values, which are strings."""

    def read(value: Mapping[str, Any]) -> Fields:
        if not all(isinstance(one, str) for one in value.values()):
            raise InvalidParameter(f"invalid {field.replace('_', '-')}: values must be strings")
        return {field: dict(value)}

    return read


def number(field: str, *, least: int = 0, most: int | None = None) -> Reader:
    """A number not below `least`, nor above `most`."""

    def read(value: int) -> Fields:
        if value < least or (most is not None and value > most):
            raise InvalidParameter(f"invalid {field.replace('_', ' ')}: {value}")
        return {field: value}

    return read


def path(field: str) -> Reader:
    """A path, made absolute."""

    def read(value: str) -> Fields:
        if not value:
            raise InvalidParameter(f"invalid {field.replace('_', '-')}: must be a path")
        return {field: Path.cwd() / value}

    return read


def directory(field: str) -> Reader:
    """A directory that is there."""

    def read(value: str) -> Fields:
        if not os.path.isdir(value):  # false of a name that is too long, too
            raise InvalidParameter(f"invalid {field.replace('_', ' ')}: {value} is no directory")
        return {field: str(Path(value).resolve())}

    return read


def strings(field: str) -> Reader:
    """A list of strings."""
    return lambda value: {field: tuple(value)}


def choice(field: str, *allowed: str) -> Reader:
    """One of some words."""

    def read(value: str) -> Fields:
        if value not in allowed:
            name = field.replace("_", " ")
            raise InvalidParameter(f"invalid {name}: {value!r}: must be one of {', '.join(allowed)}")
        return {field: value}

    return read


def only(name: str, *allowed: str) -> Reader:
    """A word that must be one of those that describe what darse does anyway."""

    def read(value: str) -> Fields:
        if value not in allowed:
            raise InvalidParameter(f"{name} {value!r} is not supported: {allowed[0]} is")
        return {}

    return read


def addresses(field: str) -> Reader:
    """A list of IP addresses."""

    def read(value: list[str]) -> Fields:
        return {field: tuple(map(checked_address, value))}

    return read


def address(field: str) -> Reader:
    """An IP address."""
    return lambda value: {field: checked_address(value)}


def checked_address(text: str) -> str:
    """Return an IP address as it is. Raises InvalidParameter in docker's words."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f"{text} is not an ip address") from None
    return text


def interface(field: str, version: int = 4) -> Reader:
    """An address of a family with its network's prefix length."""

    def read(value: str) -> Fields:
        if not value:
            return {field: ""}
        try:
            parsed = ipaddress.ip_interface(value) if "/" in value else None
        except ValueError:
            parsed = None
        if parsed is None or parsed.version != version:
            raise InvalidParameter(f"invalid CIDR address: {value}")
        return {field: str(parsed)}

    return read


def network(field: str, version: int = 4) -> Reader:
    """A range of addresses of a family."""
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network

    def read(value: str) -> Fields:
        try:
            return {field: str(kind(value, strict=False)) if value else ""}
        except ValueError:
            raise InvalidParameter(f"invalid CIDR address: {value}") from None

    return read


def address_pools(value: list[Any]) -> Fields:
    """`base=CIDR,size=N`, or objects with these members in the file."""
    pools = []
    for entry in value:
        fields = entry if isinstance(entry, dict) else dict(part.partition("=")[::2] for part in entry.split(","))
        try:
            base = ipaddress.ip_network(fields["base"], strict=False)
            size = int(fields["size"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidParameter(f"invalid default address pool {entry!r}: must be base=CIDR,size=N") from None
        if not base.prefixlen <= size <= base.max_prefixlen - 2:
            raise InvalidParameter(f"invalid default address pool {entry!r}: networks of size {size} do not fit")
        pools.append(AddressPool(str(base), size))
    return {"default_address_pools": tuple(pools)} if pools else {}


def size(field: str) -> Reader:
    """A number of bytes: `64m`, `1.5GiB`, 67108864."""

    def read(value: str) -> Fields:
        try:
            return {field: parse_size(str(value))}
        except InvalidSize as error:
            raise InvalidParameter(str(error)) from None

    return read


def ulimits(value: Mapping[str, Any]) -> Fields:
    """`NAME=SOFT[:HARD]`, or the file's objects with `Soft` and `Hard`."""
    limits = {}
    for name, limit in value.items():
        try:
            if isinstance(limit, dict):
                soft, hard = int(limit["Soft"]), int(limit["Hard"])
            else:
                first, _, second = str(limit).partition(":")
                soft, hard = int(first), int(second or first)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidParameter(f"invalid ulimit argument: {name}={limit}") from None
        if not (-1 <= soft <= _LARGEST_LIMIT and -1 <= hard <= _LARGEST_LIMIT):
            raise InvalidParameter(f"invalid ulimit argument: {name}={limit}")
        if hard != -1 and (soft == -1 or soft > hard):
            found = f"soft: -1 (unlimited), hard: {hard}" if soft == -1 else f"{soft} > {hard}"
            raise InvalidParameter(f"ulimit soft limit must be less than or equal to hard limit: {found}")
        limits[name] = (soft, hard)
    return {"default_ulimits": limits}


def runtimes(value: Mapping[str, Any]) -> Fields:
    """`NAME=PATH`, or the file's objects with `path` and `runtimeArgs`, which go before the runtime's command."""
    found: dict[str, str] = {}
    arguments: dict[str, tuple[str, ...]] = {}
    for name, entry in value.items():
        members = {"path": entry} if isinstance(entry, str) else entry
        if not isinstance(members, dict) or not isinstance(members.get("path"), str) or not members["path"]:
            raise InvalidParameter(f"invalid runtime configuration for runtime {name}: must be a path")
        if members.get("options") or members.get("runtimeType"):
            raise InvalidParameter(
                f"invalid runtime configuration for runtime {name}: options and shims are not supported"
            )
        given = members.get("runtimeArgs") or []
        if not isinstance(given, list) or not all(isinstance(one, str) and "\0" not in one for one in given):
            raise InvalidParameter(f"invalid runtime configuration for runtime {name}: runtimeArgs are strings")
        if _NAME.match(name) is None:
            raise InvalidParameter(f"invalid runtime name: {name!r}")
        if name in ("crun", "runc"):
            raise InvalidParameter(f"runtime name '{name}' is reserved")
        found[name] = members["path"]
        if given:
            arguments[name] = tuple(given)
    return {"runtimes": found, **({"runtime_arguments": arguments} if arguments else {})}


def labels(value: list[str]) -> Fields:
    """Labels of the engine: `KEY=VALUE`, one value for each key."""
    found: dict[str, str] = {}
    for text in value:
        key, equals, label = text.partition("=")
        if not equals or not key:
            raise InvalidParameter(f"bad attribute format: {text}")
        if found.setdefault(key, label) != label:
            raise InvalidParameter(f"conflict labels for {key}={found[key]} and {key}={label}")
    return {"labels": tuple(dict.fromkeys(value))}


def mirrors(value: list[str]) -> Fields:
    """URLs of registries."""
    found = []
    for text in value:
        scheme, separator, rest = text.partition("://")
        host, _, path_ = rest.partition("/")
        if not separator or scheme not in ("http", "https"):
            raise InvalidParameter(
                f"invalid mirror: no scheme specified for \"{text}\": must use either 'https://' or 'http://'"
            )
        if not host or "@" in host or "?" in rest or "#" in rest:
            raise InvalidParameter(f'invalid mirror: "{text}" is not a valid URI')
        found.append(f"{scheme}://{host}/{path_.rstrip('/') + '/' if path_.strip('/') else ''}")
    return {"registry_mirrors": tuple(found)}


def insecure(value: list[str]) -> Fields:
    """Registries that may go without TLS: `HOST[:PORT]`, or networks."""
    found = []
    for text in value:
        host = text.partition("://")[2] if text.startswith(("http://", "https://")) else text
        host = host.rstrip("/") if "://" in text else host
        if "/" in host:
            try:
                host = str(ipaddress.ip_network(host, strict=False))
            except ValueError:
                raise InvalidParameter(f"insecure registry {text} is not valid: must be a host or a network") from None
        elif _HOST.match(host) is None:
            raise InvalidParameter(f'insecure registry {text} is not valid: invalid host "{host}"')
        found.append(host)
    return {"insecure_registries": tuple(found)}


def seccomp(value: str) -> Fields:
    """The path of a profile in docker's format, `builtin` or `unconfined`."""
    if value not in ("", "builtin", "unconfined"):
        try:
            json.loads(Path(value).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidParameter(f"opening seccomp profile ({value}) failed: {error}") from error
    return {"seccomp_profile": value}


def exec_options(value: list[str]) -> Fields:
    """`native.cgroupdriver=cgroupfs` is what darse does."""
    for text in value:
        key, _, setting = text.partition("=")
        if key != "native.cgroupdriver":
            raise InvalidParameter(f"invalid exec-opt {text!r}")
        if setting != "cgroupfs":
            raise InvalidParameter(f"cgroup driver {setting!r} is not supported: cgroupfs is")
    return {}


def storage_options(value: list[str]) -> Fields:
    """Options of overlay2 that change nothing here."""
    for text in value:
        if text.partition("=")[0] != "overlay2.override_kernel_check":
            raise InvalidParameter(f"storage option {text!r}: darse does not support that yet")
    return {}


def proxies(value: Mapping[str, Any]) -> Fields:
    """The file's `proxies` object."""
    fields = {}
    for key, text in value.items():
        if key not in ("http-proxy", "https-proxy", "no-proxy") or not isinstance(text, str):
            raise InvalidParameter(f"invalid proxies: {key}: http-proxy, https-proxy and no-proxy are known")
        fields[key.replace("-", "_")] = text
    return fields


def features(value: Mapping[str, Any]) -> Fields:
    """Switches by name; `cdi` has an effect, the others are shown only."""
    found = {}
    for name, on in value.items():
        if str(on).lower() not in ("true", "false"):
            raise InvalidParameter(f"invalid feature {name}={on}: must be true or false")
        found[name] = str(on).lower() == "true"
    return {"features": found}


def log_options(value: Mapping[str, Any]) -> Fields:
    """Default options of containers' logs."""
    for key, text in value.items():
        if not isinstance(text, str):
            raise InvalidParameter(f"invalid log option {key}: must be a string")
    return {"log_options": dict(value)}
