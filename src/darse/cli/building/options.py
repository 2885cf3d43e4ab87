"""From the flags of `build` to the parameters of the API."""

from __future__ import annotations

import json
import os

from darse.cli.command_line.flags import Options
from darse.cli.creating.environment import with_proxies
from darse.cli.creating.limits import ulimit
from darse.cli.creating.security import security_option
from darse.cli.creating.values import size
from darse.cli.errors import CliError, InvalidArgument
from darse.cli.settings.config import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ATTESTATIONS = frozenset({"provenance", "sbom"})
_SECRET_LIMIT = 500 * 1024
# Attributes of an output that this command itself minds.
_OF_CLIENT = frozenset({"type", "dest", "name", "push", "tar"})


def parameters(options: Options, settings: Settings) -> dict[str, Any]:
    """The query of `POST /build`. Raises CliError."""
    swap = options.memory_swap
    labels = dict(_pair(entry) for entry in options.label)
    return {
        "t": [_checked_name(name) for name in options.tag] or None,
        "target": options.target or None,
        "call": call_of(options),
        "platform": ",".join(platforms_of(options)) or None,
        "squash": options.squash,
        "annotation": options.annotation or None,
        "provenance": _attestation(options, "provenance", options.provenance),
        "sbom": _attestation(options, "sbom", options.sbom),
        "allow": options.allow or None,
        "securityopt": list(map(security_option, options.security_opt)) or None,
        "buildargs": json.dumps(build_arguments(options, settings)),
        "labels": json.dumps(labels) if labels else None,
        "nocache": options.no_cache,
        "nocachefilter": [name for entry in options.no_cache_filter for name in entry.split(",") if name] or None,
        "pull": options.pull,
        "rm": True,
        "networkmode": options.network,
        "extrahosts": [_extra_host(entry) for entry in options.add_host] or None,
        "ulimits": json.dumps([ulimit(entry) for entry in options.ulimit]) if options.ulimit else None,
        "shmsize": size(options.shm_size, "shm-size") if options.shm_size else None,
        "memory": size(options.memory, "memory") if options.memory else None,
        "memswap": (-1 if swap == "-1" else size(swap, "memory-swap")) if swap else None,
        "cpushares": options.cpu_shares,
        "cpuperiod": options.cpu_period,
        "cpuquota": options.cpu_quota,
        "cpusetcpus": options.cpuset_cpus or None,
        "cpusetmems": options.cpuset_mems or None,
        "cgroupparent": options.cgroup_parent or None,
        "version": "1",
    }


def platforms_of(options: Options) -> list[str]:
    """The platforms of the result; the environment may name the one that is meant without a flag."""
    given = options.platform or [os.environ.get("DOCKER_DEFAULT_PLATFORM", "")]
    return [one for entry in given for one in entry.split(",") if one]


def output_query(output: dict[str, str]) -> str | None:
    """The attributes of an output that are the engine's, as `outputs` of the API has them; None without any."""
    attributes = {name: value for name, value in output.items() if name not in _OF_CLIENT}
    return json.dumps([{"Type": "image", "Attrs": attributes}]) if attributes else None


def _attestation(options: Options, kind: str, given: str) -> str | None:
    """What is asked for of one kind, by its own flag or `--attest type=KIND,…`. Raises CliError."""
    attested: dict[str, str] = {}
    for entry in options.attest:
        fields = _fields(entry, "attest", None)
        attested[fields.get("type", "")] = entry
    if unknown := attested.keys() - _ATTESTATIONS:
        raise CliError(f'unsupported attestation "{unknown.pop()}": it is provenance or sbom')
    return given or attested.get(kind) or None


def call_of(options: Options) -> str | None:
    """What is asked about the Dockerfile; None for a build. Raises CliError."""
    call = "check" if options.check else str(options.call).removeprefix("lint").split(",")[0]
    if call not in ("", "build", "check", "outline", "targets"):
        raise CliError(f'unsupported call "{call}": it is one of build, check, outline, targets')
    return None if call in ("", "build") else call


def build_arguments(options: Options, settings: Settings) -> dict[str, str | None]:
    """`--build-arg`s, of which a bare name takes this process's value, and the proxies of config.json."""
    found: dict[str, str | None] = {}
    for entry in with_proxies(options.build_arg, settings):
        name, equals, value = entry.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    if "SOURCE_DATE_EPOCH" in os.environ:
        found.setdefault("SOURCE_DATE_EPOCH", os.environ["SOURCE_DATE_EPOCH"])
    return found


def secrets(entries: list[str]) -> dict[str, bytes]:
    """`--secret`s: `id=…`, with `src=` a file, or `env=` a variable; without both the variable of that name, or else
    the file. Raises CliError.
    """
    found = {}
    for entry in entries:
        fields = _fields(entry, "secret", {"id", "src", "source", "env", "type"})
        name = fields.get("id", "")
        source, variable = fields.get("src") or fields.get("source", ""), fields.get("env", "")
        if fields.get("type") not in (None, "file", "env"):
            raise CliError(f'unsupported secret type "{fields["type"]}"')
        if not name:
            name = os.path.basename(source) if source else variable
        if not name:
            raise CliError(f"invalid secret {entry}: id is missing")
        if not source and not variable:
            source, variable = ("", name) if name in os.environ and fields.get("type") != "file" else (name, "")
        if fields.get("type") == "env" and source:
            source, variable = "", source
        content = _of_variable(variable) if variable else _of_file(source)
        if len(content) > _SECRET_LIMIT:
            raise CliError(f"secret {name} is larger than {_SECRET_LIMIT} bytes")
        found[name] = content
    return found


def named_contexts(entries: list[str]) -> dict[str, str]:
    """`--build-context`s: by name, what each is. Raises CliError."""
    found = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name or not value:
            raise CliError(f"invalid context value: {entry}, expected key=value")
        found[name] = value
    return found


def output_of(entries: list[str]) -> dict[str, str]:
    """`--output`: a folder, `-` for an archive on standard output, or fields. Empty for an image of the engine.

    Raises CliError.
    """
    if not entries:
        return {}
    if len(entries) > 1:
        raise CliError("multiple outputs currently unsupported by this engine")
    (entry,) = entries
    if "=" not in entry:
        return {"type": "tar", "dest": "-"} if entry == "-" else {"type": "local", "dest": entry}
    fields = _fields(entry, "output", None)
    kind = fields.get("type", "")
    if not kind:
        raise CliError("type is required for output")
    if kind == "registry":
        fields |= {"type": "image", "push": "true"}
    elif kind not in ("image", "docker", "local", "tar", "oci"):
        raise CliError(f'exporter "{kind}" could not be found: it is one of image, docker, local, tar, oci, registry')
    if kind in ("local", "tar", "oci") and not fields.get("dest"):
        if kind == "local":
            raise CliError("dest is required for local output")
        fields["dest"] = "-"
    return fields


def _fields(entry: str, flag: str, known: set[str] | None) -> dict[str, str]:
    found = {}
    for part in entry.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise CliError(f"invalid {flag} {entry}: invalid field '{part}' must be a key=value pair")
        name = name.strip().lower()
        if known is not None and name not in known:
            raise CliError(f"invalid {flag} {entry}: unexpected key '{name}' in '{part}'")
        found[name] = value
    return found


def _of_variable(name: str) -> bytes:
    if name not in os.environ:
        raise CliError(f"failed to read secret: the environment has no variable {name}")
    return os.environb[os.fsencode(name)]


def _of_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise CliError(f"failed to stat {path}: {(error.strerror or '').lower()}") from error


def _checked_name(name: str) -> str:
    from darse.image_spec.references import InvalidReference, parse_name

    try:
        parse_name(name)
    except InvalidReference as error:
        raise InvalidArgument(name, "tag", str(error)) from None
    return name


def _pair(entry: str) -> tuple[str, str]:
    name, _, value = entry.partition("=")
    return name, value


def _extra_host(entry: str) -> str:
    name, separator, address = entry.replace("=", ":", 1).partition(":")
    if not separator or not name or not address:
        raise InvalidArgument(entry, "add-host", f'bad format for add-host: "{entry}"')
    return f"{name}:{address}"
