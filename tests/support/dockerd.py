"""A data root of a real dockerd (Debian's docker.io), made by docker's client: what an import is given."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import Dockerd

from tests.support.files import write_files

#: What all of the images are made of.
BASE = "base:v1"
IMAGES = ("deep:v1", *(f"small{number}:v1" for number in range(8)))
VOLUMES = tuple(f"vol{number}" for number in range(5))
# A layer with everything that layers may have: links, set-uid, deletions, a directory that hides the one below.
_DEEP = f"""
FROM {BASE}
RUN mkdir -p /tree/below /gone && echo one > /tree/below/file && ln /tree/below/file /tree/hard \\
    && ln -s below/file /tree/soft && echo x > /gone/x && chown 7:8 /tree/hard && chmod 4755 /tree/below/file \\
    && dd if=/dev/zero of=/tree/zeros bs=64k count=32 2>/dev/null
RUN rm /tree/soft && rm -r /tree/below /gone && mkdir /tree/below && echo two > /tree/below/other
VOLUME /own
CMD ["cat", "/tree/below/other"]
"""


@contextmanager
def running_dockerd(data_root: Path | None = None) -> Iterator[Dockerd]:
    """A dockerd on a root of its own, or on a data root that there is; it is stopped, and its roots are removed."""
    engine = Dockerd()
    if data_root is not None:
        engine.data_root.symlink_to(data_root)
    try:
        engine.start()
        yield engine
    finally:
        engine.discard()


def make_data_root(target: Path) -> None:
    """Make a data root with ten images, five volumes and more without names, two networks and five containers."""
    target.mkdir()
    with running_dockerd(target) as engine:
        engine.docker("import", "-c", 'CMD ["sh"]', "-", BASE, data=_busybox())
        for name in IMAGES:
            text = _DEEP if name == "deep:v1" else f"FROM {BASE}\nCOPY name /name\n"
            context = write_files(engine.root / "contexts" / name[:-3], {"Dockerfile": text, "name": name})
            engine.docker("build", "--network", "none", "-t", name, str(context))
        engine.docker("tag", "small0:v1", "localhost:5000/team/small:latest")
        engine.docker("network", "create", "--subnet", "10.88.0.0/24", "--label", "made=by-hand", "front")
        engine.docker("network", "create", "chosen")
        for name in VOLUMES:
            engine.docker("volume", "create", "--label", f"of={name}", name)
        # What each prints tells of its writable layer, its volume, its network and its image.
        script = "echo run >> /runs; rm -rf /tree/below; mkdir -p /tree/below; cat /runs /data/file; ls -A /tree/below"
        for number, volume in enumerate(VOLUMES[:4]):
            seed = f"echo {volume} > /data/file; chown 5:6 /data/file; echo kept > /own/kept; "
            options = ("--network", "front" if number < 2 else "bridge", "-v", f"{volume}:/data")
            engine.docker(
                "create",
                "--name",
                f"c{number}",
                "-h",
                "host-name",
                *options,
                "deep:v1",
                "sh",
                "-c",
                f"test -e /runs || {{ {seed} }}; {script}; exit {number}",
            )
            engine.docker("start", f"c{number}")
            engine.docker("wait", f"c{number}")
        # From now on dockerd would start it with itself.
        engine.docker("update", "--restart", "unless-stopped", "c3")
        engine.docker(
            "create", "--name", "a-user", "--volumes-from", "c0", "--entrypoint", "", "small1:v1", "cat", "/own/kept"
        )


def _busybox() -> bytes:
    """The archive of a root file system with the host's static busybox."""
    archive = io.BytesIO()
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in applets:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname, link.mode = tarfile.LNKTYPE, "bin/busybox", 0o755
                tar.addfile(link)
    return archive.getvalue()


def fingerprint(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file below a directory: kind, owner, times, attributes, content; but not how many links it has."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            }
            found[path] = (
                status.st_ino,
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_rdev,
                status.st_mtime_ns,
                content,
                tuple(sorted(attributes.items())),
            )
    return found
