"""Which mounts a container gets: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's VOLUMEs in one list.

What is asked for comes in several forms that may name the same destination. Later forms win as in docker: what is
inherited is replaced by a bind, an image's volume by anything; naming one destination in two explicit forms is an
error. All functions are pure; texts are those of moby's volume/mounts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from darse.core.errors import InvalidParameter
from darse.wire.containers import MountPoint
from darse.wire.host_config import HostConfig, Mount

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
_NAME_LIMIT = 255
_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_CONSISTENCY = frozenset({"consistent", "cached", "delegated", "default", ""})
# Words that contradict each other stand in one line; the last one said counts.
_TMPFS_FLAGS = {
    word: line.split()[0]
    for line in (
        "rw ro",
        "exec noexec",
        "suid nosuid",
        "dev nodev",
        "async sync",
        "dirsync",
        "mand nomand",
        "atime noatime",
        "diratime nodiratime",
        "relatime norelatime",
        "strictatime nostrictatime",
        "private rprivate shared rshared slave rslave unbindable runbindable",
    )
    for word in line.split()
}
_COUNT = re.compile(r"[0-9]{1,18}[kmgKMG]?\Z")
_IDENTITY = re.compile(r"[0-9]{1,9}\Z")
# What tmpfs(5) takes.
_TMPFS_VALUES = {
    "size": re.compile(r"[0-9]{1,18}([kmgKMG]|%)?\Z"),
    "mode": re.compile(r"[0-7]{1,5}\Z"),
    "uid": _IDENTITY,
    "gid": _IDENTITY,
    "nr_inodes": _COUNT,
    "nr_blocks": _COUNT,
    "mpol": re.compile(r"[a-z]+([=:][a-z0-9,-]+)*\Z"),
}
# PATH_MAX, with room for where the runtime puts the root; and NAME_MAX.
_LONGEST_PATH, _LONGEST_NAME = 3900, 255
Invalid = Callable[[str], InvalidParameter]


class MountPlan(msgspec.Struct, kw_only=True):
    """One mount of a container, as it is stored.

    `source` is a host path for binds, and an image's id; a volume's is found by its name. `name` is a volume's, or what
    the image was called. `default_propagation`: none was asked for, so that another may take its place.
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    rw: bool = True
    mode: str = ""
    propagation: str = ""
    default_propagation: bool = False
    no_copy: bool = False
    subpath: str = ""
    tmpfs_options: list[str] = []
    anonymous: bool = False
    non_recursive: bool = False
    read_only_non_recursive: bool = False
    make_source: bool = False
    # docker's inspect and lists leave `--tmpfs` out of the mounts.
    listed: bool = True
    labels: dict[str, str] | None = None
    driver_options: dict[str, str] | None = None
    from_container: bool = False


def parse_mounts(
    host: HostConfig,
    volumes: Mapping[str, object] | None,
    image_volumes: Mapping[str, object] | None,
    inherited: Iterable[MountPlan] = (),
    *,
    data_root: str = "",
) -> list[MountPlan]:
    """Return the mounts, parents before what is mounted inside them. Raises InvalidParameter in docker's words."""
    plans: dict[str, MountPlan] = {plan.destination: plan for plan in inherited}
    explicit: set[str] = set()

    def add(plan: MountPlan) -> None:
        if plan.destination in explicit:
            raise InvalidParameter(f"Duplicate mount point: {plan.destination}")
        explicit.add(plan.destination)
        if plan.type == "bind" and data_root:
            _let_unmounts_through(plan, data_root)
        plans[plan.destination] = plan

    for text in host.Binds or ():
        add(parse_bind(text, host.VolumeDriver))
    for mount in host.Mounts or ():
        add(parse_mount(mount))
    for destination, options in (host.Tmpfs or {}).items():
        add(_tmpfs(destination, options))
    for destination in [*(volumes or ()), *(image_volumes or ())]:
        path = _destination(destination, _invalid_for("volume"))
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
    kind = "bind" if source.startswith("/") else "volume"

    def invalid(reason: str) -> InvalidParameter:
        return InvalidParameter(
            f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {reason}"
        )

    plan = MountPlan(type=kind, destination=_destination(target, invalid), mode=mode)
    _apply_modes(plan, mode)
    if kind == "bind":
        if plan.no_copy:
            raise invalid("field VolumeOptions must not be specified")
        plan.source = _host_path(source)
        _default_propagation(plan)
        plan.make_source = True
    else:
        if plan.propagation:
            raise invalid("field BindOptions must not be specified")
        plan.name, plan.driver = source, volume_driver or "local"
        plan.mode = mode or "z"
    return plan


def _default_propagation(plan: MountPlan) -> None:
    if not plan.propagation:
        plan.propagation, plan.default_propagation = "rprivate", True


def _let_unmounts_through(plan: MountPlan, data_root: str) -> None:
    """A private copy of the data root would keep mounted what the engine unmounts there; docker's rule and words."""
    source = plan.source.rstrip("/") + "/"
    if not (f"{data_root}/".startswith(source) or source.startswith(f"{data_root}/")):
        return
    if plan.default_propagation:
        plan.propagation = "rslave"
    elif plan.propagation not in ("rslave", "rshared"):
        raise InvalidParameter(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within '
            f'the daemon root, daemon root: "{data_root}", bind mount source: "{plan.source}", '
            f'propagation: "{plan.propagation}"'
        )


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """Read `--volumes-from`'s `container[:options]`: the container, and whether its volumes may be written to."""
    if not text:
        raise InvalidParameter("volumes-from specification cannot be an empty string")
    reference, _, mode = text.partition(":")
    if not reference:
        raise InvalidParameter('invalid name or ID supplied: ""')
    asked = MountPlan(type="volume", destination="")
    _apply_modes(asked, mode)
    if asked.propagation or asked.no_copy:  # those are the other container's
        raise InvalidParameter(f"invalid mode: {mode}")
    return reference, asked.rw


def _apply_modes(plan: MountPlan, mode: str) -> None:
    seen = set()
    for word in mode.split(",") if mode else ():
        group = _apply_mode(plan, word)
        if group is None or group in seen:
            raise InvalidParameter(f"invalid mode: {mode}")
        seen.add(group)


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

    if mount.Type not in ("bind", "volume", "tmpfs", "image"):
        raise invalid("mount type unknown")
    if not mount.Target:
        raise invalid("field Target must not be empty")
    if mount.Consistency not in _CONSISTENCY:
        raise invalid(f"invalid consistency: {mount.Consistency}")
    for kind in ("Bind", "Volume", "Tmpfs", "Image"):
        if kind.lower() != mount.Type and getattr(mount, f"{kind}Options") is not None:
            raise invalid(f"field {kind}Options must not be specified")
    plan = MountPlan(type=mount.Type, destination=_destination(mount.Target, invalid), rw=not mount.ReadOnly)
    if mount.Type == "bind":
        _bind_options(plan, mount, invalid)
    elif mount.Type == "volume":
        _volume_options(plan, mount, invalid)
    elif mount.Type == "image":
        _image_options(plan, mount, invalid)
    else:
        _tmpfs_options(plan, mount, invalid)
    return plan


def _tmpfs_options(plan: MountPlan, mount: Mount, invalid: Invalid) -> None:
    if mount.Source:
        raise invalid("field Source must not be specified")
    words = ["noexec", "nosuid", "nodev", "rprivate"]
    if mount.ReadOnly:
        words.append("ro")
    options = mount.TmpfsOptions
    if options is not None:
        if options.SizeBytes < 0:
            raise invalid("size must not be negative")
        if not 0 <= options.Mode <= 0o7777:
            raise invalid(f"invalid mode: {options.Mode}")
        words += [f"size={options.SizeBytes}"] if options.SizeBytes else []
        words += [f"mode={options.Mode:o}"] if options.Mode else []
        for option in options.Options or ():
            if not 1 <= len(option) <= 2:
                raise invalid("invalid option array length")
            words.append("=".join(option))
    plan.tmpfs_options = tmpfs_words(words, invalid)


def _bind_options(plan: MountPlan, mount: Mount, invalid: Invalid) -> None:
    if not mount.Source:
        raise invalid("field Source must not be empty")
    if not mount.Source.startswith("/") or "\0" in mount.Source:
        raise invalid(f"invalid mount path: '{mount.Source}' mount path must be absolute")
    options = mount.BindOptions
    plan.source = _host_path(mount.Source)
    plan.propagation = options.Propagation if options else ""
    _default_propagation(plan)
    if plan.propagation not in _PROPAGATIONS:
        raise invalid(f"invalid propagation mode: {plan.propagation}")
    if options is None:
        return
    if options.ReadOnlyNonRecursive and options.ReadOnlyForceRecursive:
        raise invalid("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
    for name in ("ReadOnlyNonRecursive", "ReadOnlyForceRecursive"):
        if getattr(options, name) and not mount.ReadOnly:
            raise invalid(f"mount options conflict: !ReadOnly && BindOptions.{name}")
    if options.ReadOnlyForceRecursive and (plan.propagation != "rprivate" or options.NonRecursive):
        raise invalid("ReadOnlyForceRecursive requires Propagation to be rprivate, and a recursive bind")
    plan.non_recursive = options.NonRecursive
    plan.read_only_non_recursive = options.ReadOnlyNonRecursive
    plan.make_source = options.CreateMountpoint


def _volume_options(plan: MountPlan, mount: Mount, invalid: Invalid) -> None:
    options = mount.VolumeOptions
    plan.name, plan.anonymous = mount.Source, not mount.Source
    plan.mode = "z"
    plan.driver = "local"
    if plan.anonymous and mount.ReadOnly:
        raise invalid("must not set ReadOnly mode when using anonymous volumes")
    if options is None:
        return
    plan.no_copy, plan.labels = options.NoCopy, options.Labels
    if options.DriverConfig is not None:
        plan.driver = options.DriverConfig.Name or "local"
        plan.driver_options = options.DriverConfig.Options
    if options.Subpath:
        if not mount.Source:
            raise invalid("must not set Subpath when using anonymous volumes")
        plan.subpath = _subpath(options.Subpath, invalid)


def _image_options(plan: MountPlan, mount: Mount, invalid: Invalid) -> None:
    if not mount.Source:
        raise invalid("field Source must not be empty")
    plan.name, plan.rw = mount.Source, False
    if mount.ImageOptions is not None and mount.ImageOptions.Subpath:
        plan.subpath = _subpath(mount.ImageOptions.Subpath, invalid)


def _subpath(text: str, invalid: Invalid) -> str:
    path = posixpath.normpath(text)
    if path.startswith("/") or path.split("/")[0] == ".." or "\0" in path:
        raise invalid("subpath must be a relative path within the volume")
    return "" if path == "." else path


def _tmpfs(destination: str, options: str) -> MountPlan:
    words = tmpfs_words(["noexec", "nosuid", "nodev", *(options.split(",") if options else [])], InvalidParameter)
    return MountPlan(
        type="tmpfs",
        destination=_destination(destination, _invalid_for("tmpfs")),
        mode=options,
        rw="ro" not in words,
        tmpfs_options=words,
        listed=False,
    )


def tmpfs_words(words: Iterable[str], invalid: Invalid) -> list[str]:
    """Merge tmpfs options: of words that contradict each other the last one stays. Raises what `invalid` makes."""
    merged: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            pattern = _TMPFS_VALUES.get(key)
            if pattern is None or pattern.match(value) is None:
                raise invalid(f'Invalid tmpfs option "{word}"')
        elif word not in _TMPFS_FLAGS:
            raise invalid(f'Invalid tmpfs option "{word}"')
        else:
            key = _TMPFS_FLAGS[word]
        merged.pop(key, None)
        merged[key] = word
    return list(merged.values())


def _invalid_for(kind: str) -> Invalid:
    return lambda reason: InvalidParameter(f'invalid mount config for type "{kind}": {reason}')


def _destination(path: str, invalid: Invalid) -> str:
    if "\0" in path:
        raise invalid("a mount path cannot contain a NUL byte")
    if not path.startswith("/"):
        raise invalid(f"invalid mount path: '{path}' mount path must be absolute")
    # POSIX lets two leading slashes mean something else; here they do not.
    normal = posixpath.normpath("/" + path.lstrip("/"))
    if normal == "/":
        raise invalid("invalid specification: destination can't be '/'")
    raw = normal.encode(errors="surrogatepass")
    if len(raw) > _LONGEST_PATH or any(len(part) > _LONGEST_NAME for part in raw.split(b"/")):
        raise invalid("invalid mount path: file name too long")
    return normal


def _host_path(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def check_volume_name(name: str) -> None:
    """Raise InvalidParameter unless `name` can be a volume's."""
    if len(name) == 1:
        raise InvalidParameter(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if VOLUME_NAME.match(name) is None:
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    if len(name) > _NAME_LIMIT:
        raise InvalidParameter(f"volume name is longer than {_NAME_LIMIT} characters")


def mount_points(plans: Iterable[MountPlan]) -> list[MountPoint]:
    """The mounts that inspect and lists show."""
    return [mount_point(plan) for plan in plans if plan.listed]


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
        Name=plan.name or msgspec.UNSET,
        Source=plan.source,
        Destination=plan.destination,
        Mode=plan.mode,
        RW=plan.rw,
        Propagation=plan.propagation,
    )
