"""The files that the engine makes for a container: where they are, and what is in them.

All of it blocks: the disk may be busy for long. Call it in a thread.

`<data-root>/containers/<id>/` holds what outlives a stop: the log, and hostname, hosts and resolv.conf, which are
mounted into the container. `<exec-root>/bundles/<id>/` and `<exec-root>/exits/` hold what lives as long as a run.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
from pathlib import Path

import msgspec

from darse.core import trace
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import NotRegular, open_own, read_regular
from darse.runtime.monitor.conmon import HANDOVERS, MonitorDirectory

#: Of a container's directory below the data root.
DIRECTORY_MODE = 0o710
_NEW_THINGS = 2


class ContainerFiles(msgspec.Struct, frozen=True):
    """The places of one container's files."""

    container_id: str
    data: Path
    bundle: MonitorDirectory

    @property
    def log(self) -> Path:
        """What the container printed."""
        return self.data / f"{self.container_id}.log"

    @property
    def hostname(self) -> Path:
        """Mounted at /etc/hostname."""
        return self.data / "hostname"

    @property
    def hosts(self) -> Path:
        """Mounted at /etc/hosts."""
        return self.data / "hosts"

    @property
    def resolv_conf(self) -> Path:
        """Mounted at /etc/resolv.conf."""
        return self.data / "resolv.conf"

    @property
    def resolv_conf_hash(self) -> Path:
        """The digest of what the engine wrote to `resolv_conf`: who has changed that since is not overruled."""
        return self.data / "resolv.conf.hash"

    def prepare_bundle(self) -> None:
        """Make an empty directory for a new run."""
        self.clear_bundle()
        if self.log.is_fifo():  # conmon would wait for its other end
            self.log.unlink()
        with trace.step("file", "directory for the run", "mkdir", "-p", str(self.bundle.rootfs)):
            self.bundle.directory.mkdir(mode=0o700)
            self.bundle.rootfs.mkdir()

    def clear_bundle(self) -> None:
        """Remove what the last run left."""
        remove_tree(self.bundle.directory)
        self.bundle.exit_file.unlink(missing_ok=True)

    def write_hostname(self, hostname: str) -> None:
        """Write the file that is mounted at /etc/hostname."""
        self._write(self.hostname, f"{hostname}\n".encode())

    def write_resolv_conf(self, content: bytes) -> None:
        """Write the file that is mounted at /etc/resolv.conf, unless somebody has changed what was written before."""
        try:
            before = _digest(read_regular(self.resolv_conf))
            ours = read_regular(self.resolv_conf_hash).split()
        except (FileNotFoundError, NotRegular):
            before, ours = b"", [b""]
        new = _digest(content)
        if before == new or before not in ours:
            return
        # Both are the engine's, whatever ends it between these two.
        self._write(self.resolv_conf_hash, b"%s %s\n" % (new, before))
        self._write(self.resolv_conf, content)

    def write_hosts(self, hosts: bytes) -> None:
        """Write the file that is mounted at /etc/hosts."""
        self._write(self.hosts, hosts)

    def give_names_to(self, user: int, group: int) -> None:
        """Have the files that are mounted below /etc belong to the container's root."""
        for path in (self.hostname, self.hosts, self.resolv_conf):
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, user, group)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        # Not replaced by a rename: a running container has this very file mounted.
        opener = functools.partial(open_own, mode=0o644)
        with (
            trace.step("file", f"write {path.name}", "tee", str(path), os.fsdecode(content)),
            open(path, "wb", opener=opener) as file,
        ):
            file.write(content)

    def remove(self) -> None:
        """Remove everything; what is gone already is fine.

        A log that is tidied up or compressed just now may leave something new in it, once for each.
        """
        self.clear_bundle()
        for _ in range(_NEW_THINGS):
            try:
                remove_tree(self.data)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
            else:
                return
        remove_tree(self.data)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


class FileLayout:
    """Where all containers' files are."""

    def __init__(self, data_root: Path, exec_root: Path) -> None:
        self.containers = data_root / "containers"
        self.bundles = exec_root / "bundles"
        self.exits = exec_root / "exits"
        self.execs = exec_root / "execs"
        self.handovers = exec_root / HANDOVERS

    def make_directories(self) -> None:
        """Create what every container needs."""
        for directory in (self.containers, self.bundles, self.exits, self.execs, self.handovers):
            directory.mkdir(mode=0o711, parents=True, exist_ok=True)

    def of(self, container_id: str) -> ContainerFiles:
        """The files of one container."""
        return ContainerFiles(
            container_id,
            self.containers / container_id,
            MonitorDirectory(self.bundles / container_id, self.exits, container_id),
        )
