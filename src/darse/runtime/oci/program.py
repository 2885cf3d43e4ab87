"""OCI runtimes as installed programs: crun, and runc with everything that has its command line.

crun's `start` is done here without a process: the container's first process waits in `exec.fifo` of the runtime's
state directory, and one byte written there lets it go (crun's own `start` does no more). runc is asked by its command
line, in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from darse.core import executors, trace
from darse.core.errors import SystemFault, Unavailable
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.mounts import MNT_DETACH, MS_BIND, bind_read_only, is_mount_point, mount, unmount
from darse.runtime.oci import OCIRuntime
from darse.runtime.oci.spec import SpecInputs
from darse.runtime.rootfs.bind_sources import pin_non_recursive
from darse.runtime.seccomp.cache import SeccompCache

#: Where runtimes look for the programs that they call.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_COMMAND_SECONDS = 60


def oci_runtime(name: str, program: str, root: Path, arguments: Sequence[str] = ()) -> OCIRuntime:
    """The installed runtime `program` under the name that containers choose it by.

    `root` is the directory for its state; `arguments` are the administrator's (`runtimeArgs`), and go before the
    runtime's command.
    """
    kind = Crun if os.path.basename(program) == "crun" else Runc
    return kind(name, program, root, arguments)


class _Program:
    """What both kinds share."""

    def __init__(self, name: str, program: str, root: Path, arguments: Sequence[str] = ()) -> None:
        self.name = name
        self.program = program
        self.root = root
        self.arguments = tuple(arguments)

    @property
    def global_options(self) -> tuple[str, ...]:
        """The options before the command, of every call."""
        return (f"--root={self.root}", *self.arguments)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The program's whole command line."""
        return (self.program, *self.global_options, *arguments)

    def state_directory(self, container_id: str) -> Path:
        """Where the runtime keeps the state of a container."""
        return self.root / container_id

    def is_created(self, container_id: str) -> bool:
        """Whether the container is created and not started: its first process waits at the fifo."""
        return self._exec_fifo(container_id).exists()

    def delete_state(self, container_id: str) -> None:
        """Remove the state of a container that has ended. Raises OSError."""
        directory = self.state_directory(container_id)
        if directory.exists():
            with trace.step("state", f"{self.name} forgets the container", "rm", "-r", str(directory)):
                remove_tree(directory)

    def _exec_fifo(self, container_id: str) -> Path:
        return self.state_directory(container_id) / "exec.fifo"

    def _run(self, *arguments: str) -> None:
        try:
            subprocess.run(
                self.command(*arguments),
                check=True,
                capture_output=True,
                # Nothing of the engine's environment: runc takes NOTIFY_SOCKET for the container's.
                env={"PATH": os.defpath},
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            raise SystemFault(f"{self.name} {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise SystemFault(f"{self.name} {arguments[0]} did not end within {_COMMAND_SECONDS} s") from error


class Crun(_Program):
    """crun(1)."""

    def __init__(self, name: str, program: str, root: Path, arguments: Sequence[str] = ()) -> None:
        super().__init__(name, program, root, arguments)
        self._filters = SeccompCache()
        self._sealed: Path | None = None

    def install(self, directory: Path) -> None:
        """Run crun from a read-only mount of itself below `directory`.

        Against being overwritten by a container (CVE-2019-5736) crun copies itself and starts a second time, unless
        nobody can write to where it is; so each create and exec is spared a start.
        """
        self._sealed = directory / self.name
        bind_read_only(Path(self.program), self._sealed)
        self.program = str(self._sealed)

    def uninstall(self) -> None:
        """Undo `install`; containers that run do not need it."""
        if self._sealed is not None and is_mount_point(self._sealed):
            unmount(str(self._sealed), MNT_DETACH)

    async def start(self, container_id: str) -> None:
        """See `OCIRuntime.start`."""
        fifo = self._exec_fifo(container_id)
        with trace.step("process", "start the container's process", *self.command("start", container_id)):
            if not _open_fifo(fifo):
                await executors.launch.run(self._run, "start", container_id)

    def adapt_spec(self, inputs: SpecInputs, directory: Path) -> SpecInputs:
        """See `OCIRuntime.adapt_spec`.

        crun joins a user namespace by its path alone; told its maps as well, it gives the host's /dev/null away. It
        sets sysctls through the host's /proc, where that takes longer with each network namespace that has had it
        (`darse.linux.sysctl.NamespaceParameters`): those that every container has are set when its namespace is made.
        """
        mounts = pin_non_recursive(inputs.mounts, directory)
        set_up = bool(inputs.namespaces.network) and not inputs.namespaces.user
        return replace(inputs, mounts=mounts, id_maps=None, network_is_set_up=set_up)

    def insert_filter(self, spec: dict[str, Any]) -> bytes | None:
        """See `OCIRuntime.insert_filter`."""
        return self._filters.insert(spec)

    def keep_filter(self, container_id: str, profile: bytes) -> None:
        """See `OCIRuntime.keep_filter`."""
        self._filters.learn(profile, self.state_directory(container_id))

    def require_checkpoints(self) -> None:
        """See `OCIRuntime.require_checkpoints`."""
        version = [self.program, "--version"]
        printed = subprocess.run(version, capture_output=True, text=True, timeout=10, check=False).stdout
        if "+CRIU" not in printed:
            raise Unavailable(
                f"checkpoints: the container's runtime {self.name} is built without CRIU (hint: create the "
                "container with --runtime runc)"
            )


class Runc(_Program):
    """runc(8), and every other program with its command line."""

    def install(self, directory: Path) -> None:
        """Nothing is to be done: the program is run from where it is."""

    def uninstall(self) -> None:
        """Nothing is to be undone."""

    async def start(self, container_id: str) -> None:
        """See `OCIRuntime.start`."""
        with trace.step("process", "start the container's process", *self.command("start", container_id)):
            await executors.launch.run(self._run, "start", container_id)

    def adapt_spec(self, inputs: SpecInputs, directory: Path) -> SpecInputs:
        """See `OCIRuntime.adapt_spec`."""
        network = inputs.namespaces.network
        if not network:
            return inputs
        named = _name_network(network, directory)
        return replace(inputs, namespaces=replace(inputs.namespaces, network=named))

    def insert_filter(self, spec: dict[str, Any]) -> bytes | None:
        """runc takes no compiled filter."""
        return None

    def keep_filter(self, container_id: str, profile: bytes) -> None:
        """runc keeps no compiled filter."""

    def require_checkpoints(self) -> None:
        """See `OCIRuntime.require_checkpoints`."""
        if shutil.which("criu", path=PATH) is None:
            raise Unavailable("checkpoints need the program criu: install the package criu")


def _open_fifo(fifo: Path) -> bool:
    """Write the byte that the container's first process waits for; False when nobody reads there yet."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    try:
        os.write(descriptor, b"0")
    finally:
        os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):
        fifo.unlink()
    return True


def _name_network(path: str, directory: Path) -> str:
    """Bind a network namespace to a name below `directory` that lasts as long as the container; return it.

    CRIU must find the namespace where the spec has it, and the engine's descriptor, by which new ones are named, is
    closed by then. Call it in the launch's mount namespace. Raises OSError.
    """
    target = directory / "netns"
    target.touch()
    with trace.step("mount", "name the network namespace", "mount", "--bind", path, str(target)):
        mount(path, str(target), "", MS_BIND)
    return str(target)
