"""Images as a hostile author would make them: any files and any config, as archives for `docker load`."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_APPLETS = (
    "sh",
    "cat",
    "ls",
    "id",
    "sleep",
    "true",
    "mount",
    "readlink",
    "chmod",
    "touch",
    "mkdir",
    "stat",
    "grep",
    "echo",
)


def entry(path: str, content: bytes = b"", mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    """A regular file."""
    member = tarfile.TarInfo(path)
    member.mode, member.size = mode, len(content)
    return member, content


def link(path: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic link."""
    member = tarfile.TarInfo(path)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member, b""


def directory(path: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    """A directory."""
    member = tarfile.TarInfo(path)
    member.type, member.mode = tarfile.DIRTYPE, mode
    return member, b""


def fifo(path: str) -> tuple[tarfile.TarInfo, bytes]:
    """A named pipe."""
    member = tarfile.TarInfo(path)
    member.type = tarfile.FIFOTYPE
    return member, b""


def crafted_image(
    name: str,
    config: Mapping[str, Any] | None = None,
    entries: Iterable[tuple[tarfile.TarInfo, bytes]] = (),
    *,
    without: Iterable[str] = (),
) -> bytes:
    """A docker archive of the image `name`: the host's busybox, `entries` over it, and `config` as it is.

    `without` names directories among /proc, /sys, /dev, /etc and /tmp that are not to be made.
    """
    missing = set(without)
    base = [directory(path) for path in ("bin", "proc", "sys", "dev", "etc", "tmp") if f"/{path}" not in missing]
    base.append(entry("bin/busybox", Path("/bin/busybox").read_bytes()))
    base += [link(f"bin/{applet}", "busybox") for applet in _APPLETS]
    layer = _tar([*base, *entries])
    document = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created_by": "crafted"}],
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [f"{name}:latest"], "Layers": ["layer.tar"]}]).encode()
    return _tar([entry("config.json", document), entry("layer.tar", layer), entry("manifest.json", manifest)])


def _tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in entries:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
