"""Which mounts a container gets: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's VOLUMEs in one list.

What is asked for comes in four forms that may name the same destination. Later forms win as in docker: what is
inherited is replaced by a bind, an image's volume by anything; naming one destination in two explicit forms is an
error.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

import msgspec

from darse.engine.errors import InvalidParameter
from darse.wire.containers import HostConfig, Mount, MountPoint

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
_NAME_LIMIT = 255
_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_CONSISTENCY = frozenset({"consistent", "cached", "delegated", "default", ""})
_TMPFS_FLAGS = frozenset(
    [
        "ro",
        "rw",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "sync",
        "async",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "bind",
        "rbind",
        "unbindable",
        "runbindable",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    ]
)
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})


class MountPlan(msgspec.Struct, kw_only=True):
    """One mount of a container, as it is stored. `source` is a host path for binds; a volume's is found by its name."""

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    rw: bool = True
    mode: str = ""
    propagation: str = ""
    no_copy: bool = False
    subpath: str = ""
    tmpfs_options: list[str] = []
    anonymous: bool = False
    non_recursive: bool = False
    make_source: bool = False
    labels: dict[str, str] | None = None
    driver_options: dict[str, str] | None = None
    from_container: bool = False


def parse_mounts(
    host: HostConfig,
    volumes: Mapping[str, object] | None,
    image_volumes: Mapping[str, object] | None,
    inherited: Iterable[MountPlan] = (),
) -> list[MountPlan]:
    """Return the mounts, parents before what is mounted inside them. Raises InvalidParameter in docker's words."""
    plans: dict[str, MountPlan] = {plan.destination: plan for plan in inherited}
    explicit: set[str] = set()

    def add(plan: MountPlan) -> None:
        if plan.destination in explicit:
            raise InvalidParameter(f"Duplicate mount point: {plan.destination}")
        explicit.add(plan.destination)
        plans[plan.destination] = plan

    for text in host.Binds or ():
        add(parse_bind(text, host.VolumeDriver))
    for mount in host.Mounts or ():
        add(parse_mount(mount))
    for destination, options in (host.Tmpfs or {}).items():
        add(_tmpfs(destination, options))
    for destination in [*(volumes or ()), *(image_volumes or ())]:
        path = _destination(destination, destination)
        if path not in plans:
            plans[path] = MountPlan(
                type="volume", destination=path, driver=host.VolumeDriver or "local", anonymous=True
            )
    return sorted(plans.values(), key=lambda plan: (plan.destination.count("/"), plan.destination))


def parse_bind(text: str, volume_driver: str = "") -> MountPlan:
    """Read `-v`'s `source:destination[:options]`."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts[:2]) or "\0" in text:
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    source, target, mode = [*parts, ""][:3]
    plan = MountPlan(type="bind", destination=_destination(target, text), mode=mode)
    seen = set()
    for word in mode.split(",") if mode else ():
        kind = _apply_mode(plan, word)
        if kind is None or kind in seen:
            raise InvalidParameter(f"invalid mode: {mode}")
        seen.add(kind)
    if source.startswith("/"):
        if plan.no_copy:
            raise InvalidParameter(f"invalid mode: {mode}")
        plan.source = posixpath.normpath(source)
        plan.propagation = plan.propagation or "rprivate"
        plan.make_source = True
    else:
        check_volume_name(source)
        if plan.propagation:
            raise InvalidParameter(f"invalid mode: {mode}")
        plan.type, plan.name, plan.driver = "volume", source, volume_driver or "local"
        plan.mode = mode or "z"
    return plan


def _apply_mode(plan: MountPlan, word: str) -> str | None:
    if word in ("ro", "rw"):
        plan.rw = word == "rw"
        return "access"
    if word in ("z", "Z"):
        return "label"
    if word == "nocopy":
        plan.no_copy = True
        return "copy"
    if word in _PROPAGATIONS:
        plan.propagation = word
        return "propagation"
    if word and word in _CONSISTENCY:
        return "consistency"
    return None


def parse_mount(mount: Mount) -> MountPlan:
    """Read one `--mount`."""

    def invalid(reason: str) -> InvalidParameter:
        return InvalidParameter(f'invalid mount config for type "{mount.Type}": {reason}')

    if mount.Type not in ("bind", "volume", "tmpfs"):
        raise InvalidParameter(f'mount type unknown: "{mount.Type}"')
    if not mount.Target:
        raise invalid("field Target must not be empty")
    if mount.Consistency not in _CONSISTENCY:
        raise invalid(f"invalid consistency: {mount.Consistency}")
    for kind in ("Bind", "Volume", "Tmpfs", "Image"):
        if kind.lower() != mount.Type and getattr(mount, f"{kind}Options") is not None:
            raise invalid(f"field {kind}Options must not be specified")
    plan = MountPlan(type=mount.Type, destination=_destination(mount.Target, mount.Target), rw=not mount.ReadOnly)
    if mount.Type == "bind":
        _bind_options(plan, mount, invalid("field Source must not be empty"))
    elif mount.Type == "volume":
        _volume_options(plan, mount)
    else:
        if mount.Source:
            raise invalid("field Source must not be specified")
        options = mount.TmpfsOptions
        words = ["noexec", "nosuid", "nodev", "rprivate"]
        if mount.ReadOnly:
            words.append("ro")
        if options is not None:
            if options.SizeBytes < 0 or options.Mode < 0:
                raise invalid("size and mode must not be negative")
            words += [f"size={options.SizeBytes}"] if options.SizeBytes else []
            words += [f"mode={options.Mode:o}"] if options.Mode else []
            words += _tmpfs_words(["=".join(option) for option in options.Options or ()], invalid)
        plan.tmpfs_options = words
    return plan


def _bind_options(plan: MountPlan, mount: Mount, no_source: InvalidParameter) -> None:
    if not mount.Source:
        raise no_source
    if not mount.Source.startswith("/") or "\0" in mount.Source:
        raise InvalidParameter(
            f"invalid mount config for type \"bind\": invalid mount path: '{mount.Source}' mount path must be absolute"
        )
    options = mount.BindOptions
    plan.source = posixpath.normpath(mount.Source)
    plan.propagation = (options.Propagation if options else "") or "rprivate"
    if plan.propagation not in _PROPAGATIONS:
        raise InvalidParameter(f'invalid mount config for type "bind": invalid propagation mode: {plan.propagation}')
    if options is not None:
        plan.non_recursive = options.NonRecursive
        plan.make_source = options.CreateMountpoint


def _volume_options(plan: MountPlan, mount: Mount) -> None:
    options = mount.VolumeOptions
    if mount.Source:
        check_volume_name(mount.Source)
    plan.name, plan.anonymous = mount.Source, not mount.Source
    plan.mode = "z"
    plan.driver = "local"
    if options is None:
        return
    plan.no_copy, plan.labels = options.NoCopy, options.Labels
    if options.DriverConfig is not None:
        plan.driver = options.DriverConfig.Name or "local"
        plan.driver_options = options.DriverConfig.Options
    if options.Subpath:
        path = posixpath.normpath(options.Subpath)
        if path.startswith(("/", "..")):
            raise InvalidParameter(
                'invalid mount config for type "volume": subpath must be a relative path within the volume'
            )
        plan.subpath = path


def _tmpfs(destination: str, options: str) -> MountPlan:
    words = _tmpfs_words(
        options.split(",") if options else [], lambda reason: InvalidParameter(f"invalid tmpfs option: {reason}")
    )
    defaults = [
        word for word, opposite in (("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")) if opposite not in words
    ]
    merged = defaults + [word for word in words if word not in defaults]
    return MountPlan(
        type="tmpfs",
        destination=_destination(destination, destination),
        mode=options,
        rw="ro" not in words,
        tmpfs_options=merged,
    )


def _tmpfs_words(words: Iterable[str], invalid: object) -> list[str]:
    checked = []
    for word in words:
        key, equals, value = word.partition("=")
        if (equals and key in _TMPFS_VALUES and value and "\0" not in value) or (not equals and word in _TMPFS_FLAGS):
            checked.append(word)
            continue
        assert callable(invalid)
        raise invalid(f'invalid tmpfs option "{word}"')
    return checked


def _destination(path: str, specification: str) -> str:
    if "\0" in path:
        raise InvalidParameter("invalid volume specification: a path cannot contain a NUL byte")
    if not path.startswith("/"):
        raise InvalidParameter(
            f"invalid volume specification: '{specification}': invalid mount path: '{path}' mount path must be absolute"
        )
    # POSIX lets two leading slashes mean something else; here they do not.
    normal = posixpath.normpath("/" + path.lstrip("/"))
    if normal == "/":
        raise InvalidParameter(
            f"invalid volume specification: '{specification}': invalid specification: destination can't be '/'"
        )
    return normal


def check_volume_name(name: str) -> None:
    """Raise InvalidParameter unless `name` can be a volume's."""
    if VOLUME_NAME.match(name) is None:
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    if len(name) > _NAME_LIMIT:
        raise InvalidParameter(f"volume name is longer than {_NAME_LIMIT} characters")


def mount_point(plan: MountPlan) -> MountPoint:
    """A mount as inspect shows it."""
    if plan.type == "volume":
        return MountPoint(
            Type="volume",
            Name=plan.name,
            Source=plan.source,
            Destination=plan.destination,
            Driver=plan.driver,
            Mode=plan.mode,
            RW=plan.rw,
            Propagation=plan.propagation,
        )
    return MountPoint(
        Type=plan.type,
        Source=plan.source,
        Destination=plan.destination,
        Mode=plan.mode,
        RW=plan.rw,
        Propagation=plan.propagation,
    )
