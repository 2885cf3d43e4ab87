"""The spec of a container's bundle, written while the container is launched.

What the container controls (names in its root and in volumes) must be looked up where nobody else changes mounts: in
the launch's own mount namespace, after the root is mounted there. So a start decides what goes into the spec before,
and `Bundle.write_spec` finishes it in the launch's thread. It needs nothing of the engine but what it was made with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from darse.core import trace
from darse.runtime.apparmor import check_loaded
from darse.runtime.monitor.conmon import MonitorDirectory
from darse.runtime.oci import OCIRuntime, cdi
from darse.runtime.oci.spec import SpecInputs, build_spec
from darse.runtime.oci.user import lookup_user
from darse.runtime.remapping import IdMapping
from darse.runtime.rootfs.bind_sources import pin_layers, pin_shared_memory, pin_subpaths
from darse.runtime.rootfs.mount_targets import check_destinations, with_modes


class Bundle:
    """The bundle of one launch."""

    def __init__(
        self,
        files: MonitorDirectory,
        runtime: OCIRuntime,
        mapping: IdMapping,
        inputs: SpecInputs,
        *,
        shared_memory_of: int = 0,
        devices: Sequence[cdi.Edits] = (),
    ) -> None:
        """`inputs` has all but the user, and mounts as they were asked for.

        shared_memory_of: the pid of the process whose /dev/shm the container shares; 0: none.
        devices: what CDI adds to the spec.
        """
        self._files = files
        self._runtime = runtime
        self._mapping = mapping
        self._inputs = inputs
        self._shared_memory_of = shared_memory_of
        self._devices = devices
        self._uncompiled_filter: bytes | None = None

    def write_spec(self, root_fd: int) -> None:
        """Write config.json; `root_fd` is a descriptor of the mounted root.

        Blocks: call it in the launch's mount namespace. Raises InvalidParameter and Conflict for what is not there in
        the root or in a volume, and for an AppArmor profile that is not loaded; SystemFault, and OSError.
        """
        directory = self._files.directory
        inputs = self._pinned(root_fd, directory)
        inputs = self._runtime.adapt_spec(self._mapping.adapt_spec(inputs, directory), directory)
        with trace.step("file", f"write the OCI spec, {self._files.config}"):
            spec = build_spec(inputs)
            check_loaded(spec["process"].get("apparmorProfile", ""))
            cdi.apply(spec, self._devices)
            self._uncompiled_filter = self._runtime.insert_filter(spec)
            self._files.config.write_bytes(msgspec.json.encode(spec))

    def _pinned(self, root_fd: int, directory: Path) -> SpecInputs:
        """The inputs with what a container could exchange bound to names of ours, and with the user."""
        inputs = self._inputs
        check_destinations(root_fd, inputs.rootfs, inputs.mounts)
        mounts = pin_subpaths(pin_layers(with_modes(root_fd, inputs.mounts), directory), directory)
        user = lookup_user(root_fd, inputs.config.User, inputs.host.GroupAdd or ())
        if self._shared_memory_of:
            inputs = replace(inputs, shm_source=pin_shared_memory(self._shared_memory_of, directory))
        return replace(inputs, mounts=mounts, user=user)

    def keep_filter(self) -> None:
        """After the creation: keep the seccomp filter that the runtime has compiled, for the next container."""
        if self._uncompiled_filter is not None:
            self._runtime.keep_filter(self._files.container_id, self._uncompiled_filter)
