"""What one build brings along: its client's contexts, secrets, credentials and agents, and its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from darse.build.errors import BuildError, ProcessFailed
from darse.build.executor.contexts import LocalContexts, NoContexts
from darse.build.graph.operations import ExecOperation
from darse.build.solver.operation_executor import Snapshot

if TYPE_CHECKING:
    from darse.distribution import Credentials


class AgentConnections(Protocol):
    """The SSH agents that a client forwards."""

    def has(self, agent: str) -> bool:
        """Whether there is an agent of this id."""
        ...

    async def connect(self, agent: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to an agent. Raises BuildError, and OSError."""
        ...


class NoAgents:
    """For builds whose client forwards no agent."""

    def has(self, agent: str) -> bool:
        """See AgentConnections."""
        del agent
        return False

    async def connect(self, agent: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See AgentConnections."""
        raise BuildError(f"unset ssh forward key {agent}")


class StepLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of each process of a build; 0 and empty are no limit."""

    memory: int = 0
    """Bytes."""
    memory_swap: int = 0
    """Bytes of memory and swap together; -1 is no limit of swap."""
    cpu_shares: int = 0
    cpu_period: int = 0
    """Microseconds."""
    cpu_quota: int = 0
    """Microseconds."""
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


class FailedProcess(msgspec.Struct, frozen=True):
    """An operation whose process failed, with the trees of its mounts, by their positions, before and after it."""

    error: ProcessFailed
    operation: ExecOperation
    before: tuple[Snapshot | None, ...]
    after: tuple[Snapshot | None, ...]


class FailedProcesses(Protocol):
    """Keeps those of one build: the snapshots are its to remove."""

    def add(self, failed: FailedProcess) -> None:
        """Take one."""
        ...


class BuildSession(msgspec.Struct, frozen=True, kw_only=True):
    """What the operations of one build may use. Nothing of it is kept when the build has ended."""

    contexts: LocalContexts = msgspec.field(default_factory=NoContexts)
    secrets: Mapping[str, bytes] = {}
    """By id. They are in memory only, and in the processes that ask for them."""
    agents: AgentConnections = msgspec.field(default_factory=NoAgents)
    credentials: Mapping[str, Credentials] = {}
    """By the registry's domain, `docker.io` or `HOST[:PORT]`."""
    resources: StepLimits = StepLimits()
    network: str = "bridge"
    """The network of processes in the mode `sandbox`, by name."""
    shm_size: int = 0
    """Bytes of /dev/shm; 0 is the engine's."""
    security_options: tuple[str, ...] = ()
    """Of processes, as HostConfig has them."""
    may_be_insecure: bool = False
    """Whether the client has the entitlement `security.insecure`."""
    may_use_host_network: bool = True
    """Whether the client has the entitlement `network.host`."""
    failed: FailedProcesses | None = None
    """Where processes that fail are kept, for a client that can look into them."""
