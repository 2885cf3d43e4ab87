"""From dockerd's flags and `daemon.json` to an EngineConfig: one table of options for both.

An option may be given in one of the two places only, as with dockerd: whoever edits the file should not find it
ignored. What has no meaning here is accepted where that is harmless (tuning of pulls, say) and refused where it would
promise a protection that is not there.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darse import __version__
from darse.engine.config import TLS, AddressPool, EngineConfig
from darse.engine.errors import InvalidParameter

DEFAULT_CONFIG_FILE = Path("/etc/darse/daemon.json")
_TLS_DIRECTORY = Path("/etc/darse")


@dataclass(frozen=True)
class Option:
    """One option: flag name, kind (`text`, `flag`, `number`, `list`, `pairs`), its key in the file, and help."""

    flag: str
    kind: str
    help: str
    key: str = ""
    short: str = ""

    @property
    def file_key(self) -> str:
        """The key in daemon.json."""
        return self.key or self.flag


OPTIONS = (
    Option("add-runtime", "pairs", "Register another OCI runtime: NAME=PATH", key="runtimes"),
    Option("allow-plain-tcp", "flag", "Listen on tcp without TLS, for anybody who reaches the port"),
    Option("bip", "text", "Address and subnet of the default bridge, such as 10.1.0.1/24"),
    Option("bridge", "text", "Name of the default bridge, or none", short="b"),
    Option("cgroup-parent", "text", "Control group under which containers get theirs"),
    Option("data-root", "text", "Where images, volumes and containers are kept"),
    Option("debug", "flag", "Log more", short="D"),
    Option("default-address-pool", "list", "base=CIDR,size=N: where networks' subnets come from", "default-address-pools"),
    Option("default-cgroupns-mode", "text", "Control group namespace of containers: host or private"),
    Option("default-gateway", "text", "Default gateway of the default bridge's containers"),
    Option("default-ipc-mode", "text", "IPC mode of containers: private or shareable"),
    Option("default-runtime", "text", "OCI runtime of containers"),
    Option("default-shm-size", "text", "Size of /dev/shm of containers"),
    Option("default-ulimit", "list", "NAME=SOFT[:HARD]: a limit for every container", key="default-ulimits"),
    Option("dns", "list", "Name server for containers"),
    Option("dns-opt", "list", "resolv.conf option for containers", key="dns-opts"),
    Option("dns-search", "list", "Search domain for containers"),
    Option("exec-root", "text", "Where the running state is kept"),
    Option("fixed-cidr", "text", "Range of the default bridge's addresses for containers"),
    Option("group", "text", "Group that may use the socket", short="G"),
    Option("host", "list", "Where to listen: unix://PATH, tcp://ADDRESS:PORT or fd://", key="hosts", short="H"),
    Option("host-gateway-ip", "text", "What host-gateway in --add-host stands for"),
    Option("icc", "flag", "Let containers of the default bridge talk to each other (default true)"),
    Option("init", "flag", "Run an init in containers"),
    Option("init-path", "text", "Path of that init"),
    Option("insecure-registry", "list", "Registry that may be used without TLS", key="insecure-registries"),
    Option("ip", "text", "Host address of published ports"),
    Option("ip-forward", "flag", "Switch on IPv4 forwarding (default true)"),
    Option("ip-masq", "flag", "Masquerade containers' traffic to the outside (default true)"),
    Option("iptables", "flag", "Manage the firewall, with nftables (default true)"),
    Option("label", "list", "Label of the engine", key="labels"),
    Option("live-restore", "flag", "Let containers run on when the engine stops (default true)"),
    Option("log-format", "text", "text or json"),
    Option("log-level", "text", "debug, info, warn, error or fatal", short="l"),
    Option("mtu", "number", "Largest packet on the default bridge"),
    Option("no-new-privileges", "flag", "Set no-new-privileges for every container"),
    Option("pidfile", "text", "File to write the engine's process id to", short="p"),
    Option("registry-mirror", "list", "Mirror of Docker Hub", key="registry-mirrors"),
    Option("seccomp-profile", "text", "Path of the default seccomp profile, or unconfined"),
    Option("shutdown-timeout", "number", "Seconds for containers to end, without live restore"),
    Option("tls", "flag", "Use TLS on tcp"),
    Option("tlscacert", "text", "Certificates that clients' must be signed by"),
    Option("tlscert", "text", "The engine's certificate"),
    Option("tlskey", "text", "The engine's key"),
    Option("tlsverify", "flag", "Use TLS on tcp and demand clients' certificates"),
    # Without effect here, and harmless: accepted so that existing files and units work.
    Option("containerd", "text", "Ignored: darse needs no containerd"),
    Option("exec-opt", "list", "Ignored", key="exec-opts"),
    Option("experimental", "flag", "Ignored"),
    Option("features", "pairs", "Ignored"),
    Option("ip6tables", "flag", "Ignored until networks have IPv6"),
    Option("log-driver", "text", "Default logging driver: json-file"),
    Option("log-opt", "pairs", "Ignored until log options are acted on", key="log-opts"),
    Option("max-concurrent-downloads", "number", "Ignored"),
    Option("max-concurrent-uploads", "number", "Ignored"),
    Option("max-download-attempts", "number", "Ignored"),
    Option("oom-score-adjust", "number", "Ignored"),
    Option("storage-driver", "text", "overlay2", short="s"),
    Option("storage-opt", "list", "Ignored", key="storage-opts"),
    Option("userland-proxy", "flag", "Ignored: published ports need no proxy"),
    Option("userland-proxy-path", "text", "Ignored"),
)  # fmt: skip
_BY_KEY = {option.file_key: option for option in OPTIONS}


def parser() -> argparse.ArgumentParser:
    """The command line of `darsed`."""
    made = argparse.ArgumentParser(
        prog="darsed", description="The darse engine: serves the Docker Engine API.", allow_abbrev=False
    )
    made.add_argument("--config-file", default=str(DEFAULT_CONFIG_FILE), help="configuration file")
    made.add_argument("--validate", action="store_true", help="check the configuration and exit")
    made.add_argument("-v", "--version", action="version", version=f"darsed version {__version__}")
    for option in OPTIONS:
        names = [f"--{option.flag}", *([f"-{option.short}"] if option.short else [])]
        more: dict[str, Any] = {"help": option.help, "default": None, "dest": option.file_key}
        if option.kind == "flag":
            more |= {"nargs": "?", "const": "true", "metavar": "BOOL"}
        elif option.kind in ("list", "pairs"):
            more["action"] = "append"
        made.add_argument(*names, **more)
    return made


def load(arguments: list[str]) -> tuple[EngineConfig, bool]:
    """Return the configuration, and whether it is only to be checked. Raises InvalidParameter."""
    given = vars(parser().parse_args(arguments))
    path = Path(given.pop("config_file"))
    validate_only = given.pop("validate")
    flags = {key: value for key, value in given.items() if value is not None}
    in_file = _read_file(path, must_exist=path != DEFAULT_CONFIG_FILE)
    conflicts = sorted(set(flags) & set(in_file) - {"runtimes"})
    if conflicts:
        texts = ", ".join(f"{key}: (from flag: {flags[key]}, from file: {in_file[key]})" for key in conflicts)
        raise InvalidParameter(
            "unable to configure the engine with file "
            f"{path}: the following directives are specified both as a flag and in the configuration file: {texts}"
        )
    return build({**in_file, **flags}), validate_only


def _read_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        if must_exist:
            raise InvalidParameter(f"open {path}: no such file or directory") from None
        return {}
    except ValueError as error:
        raise InvalidParameter(f"unable to configure the engine with file {path}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidParameter(f"unable to configure the engine with file {path}: an object is wanted")
    unknown = sorted(set(document) - set(_BY_KEY))
    if unknown:
        raise InvalidParameter(
            f"unable to configure the engine with file {path}: the following directives don't match any configuration "
            f"option: {', '.join(unknown)}"
        )
    return document


def build(values: dict[str, Any]) -> EngineConfig:
    """Make the configuration of raw values by file key. Raises InvalidParameter."""
    fields: dict[str, Any] = {}
    for key, raw in values.items():
        reader = _READERS.get(key)
        if reader is not None:
            fields.update(reader(_plain(_BY_KEY[key], raw)))
    tls = _tls(values)
    if tls is not None:
        fields["tls"] = tls
    driver = values.get("storage-driver", "overlay2")
    if driver not in ("overlay2", "overlay", "overlayfs"):
        raise InvalidParameter(f"storage driver {driver} is not supported: overlay2 is")
    if values.get("log-driver", "json-file") not in ("json-file", "local"):
        raise InvalidParameter(f"logger: no log driver named '{values['log-driver']}' is registered")
    return EngineConfig(**fields)


def _plain(option: Option, raw: Any) -> Any:
    """A value in the type of its option, from a flag's text or the file's JSON."""
    if option.kind == "flag":
        text = str(raw).lower()
        if text in ("1", "t", "true"):
            return True
        if text in ("0", "f", "false"):
            return False
        raise InvalidParameter(f'invalid argument "{raw}" for "--{option.flag}": true or false is wanted')
    if option.kind == "number":
        try:
            return int(raw)
        except (TypeError, ValueError):
            raise InvalidParameter(f'invalid argument "{raw}" for "--{option.flag}": a number is wanted') from None
    if option.kind == "text" and not isinstance(raw, (str, int)):
        raise InvalidParameter(f"invalid value for {option.file_key}: a string is wanted")
    return raw


def _tls(values: dict[str, Any]) -> TLS | None:
    verify = "tlsverify" in values and bool(_plain(_BY_KEY["tlsverify"], values["tlsverify"]))
    wanted = verify or ("tls" in values and _plain(_BY_KEY["tls"], values["tls"]))
    if not wanted:
        return None
    paths = {
        key: Path(values.get(key, _TLS_DIRECTORY / name))
        for key, name in (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem"))
    }
    needed = ["tlscert", "tlskey", *(["tlscacert"] if verify else [])]
    for key in needed:
        if not paths[key].is_file():
            raise InvalidParameter(f"--{key}: {paths[key]} is missing")
    return TLS(paths["tlscert"], paths["tlskey"], paths["tlscacert"] if verify else None, verify)


def _same(field: str) -> Any:
    return lambda value: {field: value}


def _path(field: str) -> Any:
    def read(value: str) -> dict[str, Path]:
        path = Path(value)
        if not path.is_absolute():
            path = Path.cwd() / path
        return {field: path}

    return read


def _strings(field: str) -> Any:
    def read(value: Any) -> dict[str, tuple[str, ...]]:
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise InvalidParameter(f"invalid value for {field}: a list of strings is wanted")
        return {field: tuple(entries)}

    return read


def _choice(field: str, *allowed: str) -> Any:
    def read(value: str) -> dict[str, str]:
        if value not in allowed:
            raise InvalidParameter(
                f"invalid value for {field.replace('_', '-')}: {value!r}: one of {', '.join(allowed)}"
            )
        return {field: value}

    return read


def _addresses(field: str) -> Any:
    def read(value: Any) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = _strings(field)(value)
        for text in found[field]:
            _check_address(text)
        return found

    return read


def _address(field: str) -> Any:
    def read(value: str) -> dict[str, str]:
        _check_address(value)
        return {field: value}

    return read


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f"{text} is not an ip address") from None


def _pools(value: Any) -> dict[str, tuple[AddressPool, ...]]:
    pools = []
    for entry in value if isinstance(value, list) else [value]:
        fields = entry if isinstance(entry, dict) else dict(part.partition("=")[::2] for part in entry.split(","))
        try:
            base, size = str(ipaddress.IPv4Network(fields["base"], strict=False)), int(fields["size"])
        except (KeyError, ValueError) as error:
            raise InvalidParameter(f"invalid default address pool {entry!r}: base=CIDR,size=N is wanted") from error
        if not ipaddress.IPv4Network(base).prefixlen <= size <= 30:
            raise InvalidParameter(f"invalid default address pool {entry!r}: size does not fit the base")
        pools.append(AddressPool(base, size))
    return {"default_address_pools": tuple(pools)}


def _bytes(field: str) -> Any:
    units = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

    def read(value: Any) -> dict[str, int]:
        text = str(value).lower().removesuffix("ib").removesuffix("b") or "x"
        number, unit = (text[:-1], text[-1]) if text[-1] in units else (text, "")
        if not number.isdecimal():
            raise InvalidParameter(f"invalid size: '{value}'")
        return {field: int(number) * units[unit]}

    return read


def _ulimits(value: Any) -> dict[str, dict[str, tuple[int, int]]]:
    limits = {}
    if isinstance(value, dict):
        for name, limit in value.items():
            limits[name] = (int(limit["Soft"]), int(limit["Hard"]))
    else:
        for text in value:
            name, _, numbers = text.partition("=")
            soft, _, hard = numbers.partition(":")
            try:
                limits[name] = (int(soft), int(hard or soft))
            except ValueError:
                raise InvalidParameter(f"invalid ulimit: {text}") from None
    return {"default_ulimits": limits}


def _runtimes(value: Any) -> dict[str, dict[str, str]]:
    if isinstance(value, dict):
        return {"runtimes": {name: entry["path"] for name, entry in value.items() if "path" in entry}}
    pairs = dict(text.partition("=")[::2] for text in value)
    if not all(pairs.values()):
        raise InvalidParameter("--add-runtime wants NAME=PATH")
    return {"runtimes": pairs}


_READERS = {
    "runtimes": _runtimes,
    "allow-plain-tcp": _same("allow_plain_tcp"),
    "bip": _same("bip"),
    "bridge": _same("bridge"),
    "cgroup-parent": _same("cgroup_parent_option"),
    "data-root": _path("data_root"),
    "debug": _same("debug"),
    "default-address-pools": _pools,
    "default-cgroupns-mode": _choice("default_cgroupns_mode", "host", "private"),
    "default-gateway": _address("default_gateway"),
    "default-ipc-mode": _choice("default_ipc_mode", "private", "shareable"),
    "default-runtime": _same("default_runtime"),
    "default-shm-size": _bytes("default_shm_size"),
    "default-ulimits": _ulimits,
    "dns": _addresses("dns"),
    "dns-opts": _strings("dns_options"),
    "dns-search": _strings("dns_search"),
    "exec-root": _path("exec_root"),
    "fixed-cidr": _same("fixed_cidr"),
    "group": _same("group"),
    "hosts": _strings("hosts"),
    "host-gateway-ip": _address("host_gateway_ip"),
    "icc": _same("icc"),
    "init": _same("init"),
    "init-path": _same("init_path"),
    "insecure-registries": _strings("insecure_registries"),
    "ip": _address("ip"),
    "ip-forward": _same("ip_forward"),
    "ip-masq": _same("ip_masq"),
    "iptables": _same("iptables"),
    "labels": _strings("labels"),
    "live-restore": _same("live_restore"),
    "log-format": _choice("log_format", "text", "json"),
    "log-level": _choice("log_level", "debug", "info", "warn", "error", "fatal"),
    "mtu": _same("mtu"),
    "no-new-privileges": _same("no_new_privileges"),
    "pidfile": _path("pidfile"),
    "registry-mirrors": _strings("registry_mirrors"),
    "seccomp-profile": _same("seccomp_profile"),
    "shutdown-timeout": _same("shutdown_timeout"),
}
