"""What vertices do, but for sources: run a process, change files, merge trees, take the difference of two.

Fields and their meaning are those of LLB (`solver/pb/ops.proto`). Inputs and outputs are numbers: an operation's input
is the position in its vertex's inputs, `EMPTY` is no input (an empty tree), `SKIP_OUTPUT` is no output.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from darse.build.graph.sources import SourceOperation

EMPTY = -1
_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755
SKIP_OUTPUT = -1


class NetworkMode(enum.StrEnum):
    """Which network a process has."""

    SANDBOX = "sandbox"
    HOST = "host"
    NONE = "none"


class SecurityMode(enum.StrEnum):
    """How much a process may do."""

    SANDBOX = "sandbox"
    INSECURE = "insecure"
    """Privileged; only where the client has the entitlement."""


class MountKind(enum.StrEnum):
    """What is mounted."""

    BIND = "bind"
    SECRET = "secret"  # noqa: S105 - a kind of mount
    SSH = "ssh"
    CACHE = "cache"
    TMPFS = "tmpfs"


class CacheSharing(enum.StrEnum):
    """What happens when two processes have the same cache mount."""

    SHARED = "shared"
    """Both write to it."""
    PRIVATE = "private"
    """The second has one of its own."""
    LOCKED = "locked"
    """The second waits for the first."""


class ContentCache(enum.StrEnum):
    """Whether a mount's content, rather than its definition, decides about a cache hit."""

    DEFAULT = "default"
    ON = "on"
    OFF = "off"


class UlimitSetting(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource limit: setrlimit(2)'s name in small letters without RLIMIT_."""

    name: str
    soft: int
    hard: int


class ProxySettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Proxies for processes. They change no result, and so no cache key."""

    http: str = ""
    https: str = ""
    ftp: str = ""
    none: str = ""
    all: str = ""


class ProcessMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process of an exec operation."""

    arguments: tuple[str, ...]
    environment: tuple[str, ...] = ()
    """`NAME=value`, each name once."""
    directory: str = "/"
    user: str = ""
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(name, address). Addresses are not part of the cache key."""
    ulimits: tuple[UlimitSetting, ...] = ()
    cgroup_parent: str = ""
    proxy: ProxySettings | None = None
    remove_mount_stubs_recursive: bool = False
    valid_exit_codes: tuple[int, ...] = ()
    """Empty is 0 alone."""


class CacheMount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A directory that outlives the build."""

    id: str = ""
    """Empty is the destination."""
    sharing: CacheSharing = CacheSharing.SHARED


class SecretMount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret as a file, or a forwarded agent as a socket. Owner and mode are those of the file."""

    id: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o400
    optional: bool = False


class ExecMount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mount of an exec operation. The mount at `/` is the process's root."""

    destination: str
    input: int = EMPTY
    selector: str = ""
    """The path in the input that is mounted; empty is all of it."""
    output: int = SKIP_OUTPUT
    read_only: bool = False
    kind: MountKind = MountKind.BIND
    tmpfs_size: int = 0
    """Bytes; 0 is no limit."""
    cache: CacheMount | None = None
    secret: SecretMount | None = None
    content_cache: ContentCache = ContentCache.DEFAULT


class SecretEnvironment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A variable of the process's environment with a secret's value."""

    id: str
    name: str
    optional: bool = False


class DeviceRequirement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device by its CDI name."""

    name: str
    optional: bool = False


class ExecOperation(msgspec.Struct, frozen=True, omit_defaults=True, tag="exec"):
    """Run a process on its mounts. Outputs are what it leaves in those mounts that have one."""

    meta: ProcessMeta
    mounts: tuple[ExecMount, ...]
    network: NetworkMode = NetworkMode.SANDBOX
    security: SecurityMode = SecurityMode.SANDBOX
    secrets: tuple[SecretEnvironment, ...] = ()
    devices: tuple[DeviceRequirement, ...] = ()


class UserName(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user or group by name, looked up in /etc/passwd or /etc/group of an input."""

    name: str
    input: int


class FileOwner(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who owns a file. Without a group it is the user's own: by name its primary group, by number the same number."""

    user: int | UserName | None = None
    group: int | UserName | None = None


class CopyAction(msgspec.Struct, frozen=True, omit_defaults=True, tag="copy", kw_only=True):
    """Copy from the action's second input to its first."""

    source: str
    destination: str
    owner: FileOwner | None = None
    mode: int | None = None
    """Permission bits; None is as in the original."""
    mode_text: str = ""
    """Symbolic, as chmod(1) takes it (`u+x,go=r`); goes before `mode`."""
    follow_symlink: bool = False
    copy_directory_contents: bool = False
    unpack: bool = False
    """Unpack the source where it is an archive (ADD)."""
    create_destination: bool = False
    allow_wildcard: bool = False
    allow_empty_wildcard: bool = False
    timestamp: int | None = None
    """Nanoseconds since the epoch; None is as in the original."""
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    always_replace: bool = False
    """Replace what is there even where it is of another kind."""
    required_paths: tuple[str, ...] = ()
    """At least one file must match each."""


class MkfileAction(msgspec.Struct, frozen=True, omit_defaults=True, tag="mkfile", kw_only=True):
    """Write a file."""

    path: str
    data: bytes
    mode: int = _FILE_MODE
    owner: FileOwner | None = None
    timestamp: int | None = None

    def __post_init__(self) -> None:
        """Let an equal mode be the default itself: digests depend on it, and msgspec leaves out that object alone."""
        if self.mode == _FILE_MODE:
            msgspec.structs.force_setattr(self, "mode", _FILE_MODE)


class MkdirAction(msgspec.Struct, frozen=True, omit_defaults=True, tag="mkdir", kw_only=True):
    """Make a directory."""

    path: str
    mode: int = _DIRECTORY_MODE
    make_parents: bool = False
    owner: FileOwner | None = None
    timestamp: int | None = None

    def __post_init__(self) -> None:
        """See MkfileAction."""
        if self.mode == _DIRECTORY_MODE:
            msgspec.structs.force_setattr(self, "mode", _DIRECTORY_MODE)


class SymlinkAction(msgspec.Struct, frozen=True, omit_defaults=True, tag="symlink", kw_only=True):
    """Make a symbolic link at `path` that points to `target`."""

    target: str
    path: str
    owner: FileOwner | None = None
    timestamp: int | None = None


class RemoveAction(msgspec.Struct, frozen=True, omit_defaults=True, tag="rm", kw_only=True):
    """Remove a file or a tree."""

    path: str
    allow_not_found: bool = False
    allow_wildcard: bool = False


FileChange: TypeAlias = CopyAction | MkfileAction | MkdirAction | SymlinkAction | RemoveAction


class FileAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of files in a file operation.

    `input` and `second_input` are positions in the vertex's inputs, or, from their number on, the results of earlier
    actions: with two inputs, 2 is the result of the first action.
    """

    change: FileChange
    input: int = EMPTY
    second_input: int = EMPTY
    output: int = SKIP_OUTPUT


class FileOperation(msgspec.Struct, frozen=True, omit_defaults=True, tag="file"):
    """Changes of files, one after another, without a process."""

    actions: tuple[FileAction, ...]


class MergeOperation(msgspec.Struct, frozen=True, omit_defaults=True, tag="merge"):
    """All inputs laid over each other, the last on top. `inputs` are positions, `EMPTY` is an empty tree."""

    inputs: tuple[int, ...]


class DiffOperation(msgspec.Struct, frozen=True, omit_defaults=True, tag="diff"):
    """What `upper` has that `lower` has not, with the removals."""

    lower: int = EMPTY
    upper: int = EMPTY


Operation: TypeAlias = SourceOperation | ExecOperation | FileOperation | MergeOperation | DiffOperation


def output_count(operation: Operation) -> int:
    """How many trees an operation gives."""
    match operation:
        case ExecOperation():
            return sum(mount.output != SKIP_OUTPUT for mount in operation.mounts)
        case FileOperation():
            return sum(action.output != SKIP_OUTPUT for action in operation.actions)
    return 1
