"""The OCI runtime: what it is asked, and the spec that it is given; see the OCI runtime specification.

A *runtime* makes a container from a *bundle*: a directory with `config.json`, the spec, and the root file system. In
the specification's words, a container is *created* when its namespaces, mounts and cgroup are there and its first
process waits, *running* once that process has been started, and *stopped* when it has ended. The runtime keeps the
*state* of each container in a directory until it is *deleted*.

`create`, `exec` and `restore` are run by the monitor (`darse.runtime.monitor`), which becomes the parent of the
process. `start`, and the deletion of the state, are ours.

`OCIRuntime` is what the engine needs of a runtime; `darse.runtime.oci.program` has crun and runc.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from darse.runtime.oci.spec import SpecInputs


class OCIRuntime(Protocol):
    """A runtime under the name that containers choose it by."""

    name: str
    #: The absolute path of the program.
    program: str
    #: The directory of the states, one for each container.
    root: Path
    #: The administrator's (`runtimeArgs`); they go before the runtime's command.
    arguments: tuple[str, ...]

    @property
    def global_options(self) -> tuple[str, ...]:
        """The options before the command, of every call."""

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The program's whole command line."""

    def install(self, directory: Path) -> None:
        """Prepare the program when the engine starts; `directory` is for what that needs. Raises OSError."""

    def uninstall(self) -> None:
        """Undo `install` when the engine ends and no container runs. Raises OSError."""

    def state_directory(self, container_id: str) -> Path:
        """Where the runtime keeps the state of a container."""

    def is_created(self, container_id: str) -> bool:
        """Whether the container is created and not started."""

    async def start(self, container_id: str) -> None:
        """Start the process of a created container. Raises SystemFault, and OSError."""

    def delete_state(self, container_id: str) -> None:
        """Remove the state of a container that has ended, if there is one. Raises OSError."""

    def adapt_spec(self, inputs: SpecInputs, directory: Path) -> SpecInputs:
        """What the spec is to be made from so that this runtime honours it.

        Call it in the launch's mount namespace: mounts that it makes are made below `directory`, the bundle. Raises
        OSError.
        """

    def insert_filter(self, spec: dict[str, Any]) -> bytes | None:
        """Put the compiled seccomp filter into a spec; return the profile when it has to be compiled first."""

    def keep_filter(self, container_id: str, profile: bytes) -> None:
        """Keep the filter that the runtime has compiled from `profile` for a container that it has created."""

    def require_checkpoints(self) -> None:
        """Raise Unavailable, saying what is missing, when containers cannot be checkpointed. Blocks."""
