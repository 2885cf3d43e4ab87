"""`RUN --mount` and `--device`: their keys, their defaults, and what does not go together."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from darse.build.dockerfile import values
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.suggest import suggested
from darse.quoting import quote
from darse.units import parse_size

KINDS = ("bind", "cache", "secret", "ssh", "tmpfs")
SHARING = ("locked", "private", "shared")
_KEYS = (
    "destination dst env from gid id mode readonly readwrite required ro rw sharing size source src target type uid"
).split()
_LARGEST_ID = 2**32 - 1


class RunMount(msgspec.Struct, kw_only=True):
    """One mount of a RUN. What is None was not given."""

    kind: str = "bind"
    source_stage: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = True
    size: int = 0
    """Bytes, of a tmpfs; 0 is no limit."""
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    """The variable that has a secret; empty is the secret's id."""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class RunDevice(msgspec.Struct, frozen=True):
    """A device of a RUN, by its CDI name."""

    name: str
    required: bool = False


def check_source(text: str) -> None:
    """Refuse a mount whose `from` has a variable: stages must be known before variables are. Raises DockerfileError."""
    for field in _fields(text, "mounts"):
        key, _, value = field.partition("=")
        if key.lower() == "from" and "$" in value[:-1]:
            raise DockerfileError(
                "'from' doesn't support variable expansion, define alias stage instead",
                advice="Add a stage `FROM $image AS name` and mount from=name.",
            )


def source_stage(text: str) -> str:
    """The stage or image that a mount is from, without reading the rest. Raises DockerfileError."""
    found = ""
    for field in _fields(text, "mounts"):
        key, _, value = field.partition("=")
        if key.lower() == "from":
            found = value
    return found


def parse_mount(text: str, expand: Callable[[str], str]) -> RunMount:
    """Read a value of `--mount`. Raises DockerfileError."""
    mount = RunMount()
    access_given = False
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in ("readonly", "ro", "readwrite", "rw", "required"):
                raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        value = expand(value)
        access_given |= key in ("readonly", "ro", "readwrite", "rw")
        _set(mount, key, value, field)
    if not access_given:
        mount.read_only = mount.kind not in ("cache", "tmpfs")
    _check(mount)
    return mount


def _set(mount: RunMount, key: str, value: str, field: str) -> None:
    match key:
        case "type":
            mount.kind = _one_of(value, KINDS, "unsupported mount type")
        case "from":
            mount.source_stage = value
        case "source" | "src":
            mount.source = value
        case "target" | "dst" | "destination":
            mount.target = value
        case "readonly" | "ro":
            mount.read_only = _boolean(key, value)
        case "readwrite" | "rw":
            mount.read_only = not _boolean(key, value)
        case "required" if mount.kind in ("secret", "ssh"):
            mount.required = _boolean(key, value)
        case "size" if mount.kind == "tmpfs":
            try:
                mount.size = parse_size(value)
            except ValueError:
                raise DockerfileError(f"invalid value for {key}: {value}") from None
        case "required" | "size":
            raise DockerfileError(f"unexpected key '{key}' for mount type '{mount.kind}'")
        case "id":
            mount.id = value
        case "sharing":
            mount.sharing = _one_of(value, SHARING, "unsupported sharing value")
        case "mode":
            mount.mode = _number(key, value, 8)
        case "uid":
            mount.uid = _number(key, value, 10)
        case "gid":
            mount.gid = _number(key, value, 10)
        case "env":
            mount.env = value
        case _:
            raise DockerfileError(suggested(f"unexpected key '{key}' in '{field}'", key, _KEYS))


def _check(mount: RunMount) -> None:
    if mount.kind not in ("secret", "ssh", "cache"):
        for key, value in (("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)):
            if value is not None:
                raise DockerfileError(f'{key} not allowed for "{mount.kind}" type mounts')
    if mount.kind == "secret":
        if mount.source_stage:
            raise DockerfileError("secret mount should not have a from")
        if mount.sharing:
            raise DockerfileError("secret mount should not define sharing")
        if not mount.source and not mount.target and not mount.id:
            raise DockerfileError("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise DockerfileError("both source and id can't be set")
    if mount.sharing and mount.kind != "cache":
        raise DockerfileError(f"invalid cache sharing set for {mount.kind} mount")


def parse_device(text: str) -> RunDevice:
    """Read a value of `--device`: `vendor/class=name[,required]`. Raises DockerfileError."""
    name, required = "", False
    for field in _fields(text, "devices"):
        key, equals, value = field.partition("=")
        match key.lower():
            case "required":
                required = _boolean("required", value) if equals else True
            case "name" if equals:
                if name:
                    raise DockerfileError(f"device name already set to {name}")
                name = value
            case _ if not name:
                name = field
            case _ if not equals:
                raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
            case other:
                raise DockerfileError(suggested(f"unexpected key '{other}' in '{field}'", other, ["name", "required"]))
    return RunDevice(name, required)


def _fields(text: str, what: str) -> list[str]:
    try:
        return values.fields(text)
    except ValueError as error:
        raise DockerfileError(f"failed to parse csv {what}: {error}") from None


def _one_of(value: str, known: tuple[str, ...], error: str) -> str:
    if value.lower() not in known:
        raise DockerfileError(suggested(f"{error} {quote(value)}", value, known))
    return value.lower()


def _boolean(key: str, value: str) -> bool:
    try:
        return values.boolean(value)
    except ValueError:
        raise DockerfileError(f"invalid value for {key}: {value}") from None


def _number(key: str, value: str, base: int) -> int:
    if not value.isascii() or not value.isdecimal() or (base == 8 and set(value) & {"8", "9"}):
        raise DockerfileError(f"invalid value {value} for {key}")
    if (number := int(value, base)) > _LARGEST_ID:
        raise DockerfileError(f"invalid value {value} for {key}")
    return number
