"""RUN: a process on the stage's tree, with its mounts."""

from __future__ import annotations

import posixpath
from contextlib import suppress

from darse.build.dockerfile import mounts
from darse.build.dockerfile.convert.conversion import Conversion, context_path
from darse.build.dockerfile.convert.nodes import Node, NodeInputs, Tree
from darse.build.dockerfile.convert.scopes import proxies
from darse.build.dockerfile.convert.stages import StageCommand, StageState, environment_list
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.heredocs import parse_heredoc
from darse.build.dockerfile.instructions import RunInstruction
from darse.build.dockerfile.mounts import RunMount
from darse.build.dockerfile.words import WordError, WordReader
from darse.build.graph.definition import VertexMetadata
from darse.build.graph.operations import (
    EMPTY,
    SKIP_OUTPUT,
    CacheMount,
    CacheSharing,
    DeviceRequirement,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    FileOwner,
    MkdirAction,
    MkfileAction,
    MountKind,
    NetworkMode,
    ProcessMeta,
    SecretEnvironment,
    SecretMount,
    SecurityMode,
)
from darse.quoting import quote

_PIPES = "/dev/pipes/"


def run_process(conversion: Conversion, state: StageState, command: StageCommand, instruction: RunInstruction) -> None:
    """Add the vertex of a RUN to a stage. Raises DockerfileError."""
    state.used_paths.add("/")  # a process may read any file
    running = _Running(conversion, state, command, instruction)
    arguments = running.arguments()
    for index, text in enumerate(instruction.mounts):
        mount = mounts.parse_mount(text, lambda word: conversion.expand(state, instruction, word))
        running.mount(mount, command.sources[index] if index < len(command.sources) else None)
    options = conversion.options
    if options.shm_size:
        running.mounts.append(ExecMount("/dev/shm", kind=MountKind.TMPFS, tmpfs_size=options.shm_size))  # noqa: S108
    network = NetworkMode(instruction.network) if instruction.network != "default" else options.network
    operation = ExecOperation(
        ProcessMeta(
            tuple(arguments),
            (*environment_list(state.environment), *running.agent_environment()),
            conversion.working_directory(state),
            state.image.config.get("User") or "",
            options.hostname,
            options.extra_hosts,
            options.ulimits,
            options.cgroup_parent,
            proxies(options.build_arguments),
            remove_mount_stubs_recursive=True,
        ),
        tuple(running.mounts),
        network,
        SecurityMode(instruction.security),
        tuple(running.secrets),
        (*options.devices, *map(_device, instruction.devices)),
    )
    metadata = conversion.metadata(state, instruction, running.name())
    history = f"RUN {_history(state, arguments)}"
    state.tree = Tree(Node(operation, running.inputs.trees, state.platform, metadata))
    state.image.commit(history, layer=True, epoch=options.source_date_epoch, files=True)


def _device(text: str) -> DeviceRequirement:
    device = mounts.parse_device(text)
    return DeviceRequirement(device.name, not device.required)


def _history(state: StageState, arguments: list[str]) -> str:
    """The arguments of the build that the process could see come first, with their number."""
    known: dict[str, str] = {}
    for argument in state.arguments:
        known[argument.name] = state.environment.get(argument.name, argument.value or "")
    shown = [f"|{len(known)}", *(f"{name}={value}" for name, value in known.items())] if known else []
    return " ".join([*shown, *arguments])


class _Running:
    """One process while its operation is put together."""

    def __init__(
        self, conversion: Conversion, state: StageState, command: StageCommand, instruction: RunInstruction
    ) -> None:
        self.conversion, self.state, self.command, self.instruction = conversion, state, command, instruction
        self.inputs = NodeInputs()
        self.mounts = [ExecMount("/", self.inputs.index(state.tree), output=0)]
        self.secrets: list[SecretEnvironment] = []
        self._agents: list[str] = []
        self._summary = ""

    def arguments(self) -> list[str]:
        """The words of the process. Here-documents are the shell's, or a program of their own."""
        command = self.instruction.command
        words = list(command.words)
        if command.heredocs:
            words = self._with_heredocs(words)
        return [*self.state.image.shell(), " ".join(words)] if command.shell else words

    def _with_heredocs(self, words: list[str]) -> list[str]:
        heredocs = self.instruction.command.heredocs
        try:
            alone = parse_heredoc(words[0]) if words else None
        except WordError:
            alone = None
        if alone is None:
            return [words[0] + "".join(f"\n{one.content}{one.name}" for one in heredocs)]
        first = heredocs[0]
        self._summary = _summary(first.content)
        if not first.content.startswith("#!"):
            return [first.text()]
        make = MkfileAction(path=f"/{first.name}", data=first.text().encode("utf-8", "surrogateescape"), mode=0o755)
        metadata = VertexMetadata("[internal] preparing inline document")
        node = Node(FileOperation((FileAction(make, output=0),)), [], self.state.platform, metadata)
        self.mounts.append(ExecMount(_PIPES, self.inputs.index(Tree(node)), read_only=True))
        return [posixpath.join(_PIPES, first.name)]

    def name(self) -> str:
        """As progress shows it: secrets that are variables are masked."""
        code = self.instruction.code + (f" ({self._summary})" if self._summary else "")
        state = self.state
        reader = WordReader(self.conversion.reader.escape, raw_quotes=True, keep_unset=True)
        masked = state.environment | {secret.name: "****" for secret in self.secrets}
        with suppress(WordError):  # only the shell would mind
            code = reader.expand(code, masked).text
        keyword, space, rest = code.partition(" ")
        return self.conversion.step_name(state, f"{keyword.upper()}{space}{rest}", triggered=self.command.triggered)

    def agent_environment(self) -> list[str]:
        """Where processes find the agent that is forwarded."""
        if not self._agents or "SSH_AUTH_SOCK" in self.state.environment:
            return []
        return [f"SSH_AUTH_SOCK={self._agents[0]}"]

    def mount(self, mount: RunMount, origin: StageState | None) -> None:
        """Add one mount."""
        if mount.kind == "secret":
            self._secret(mount)
        elif mount.kind == "ssh":
            self._agent(mount)
        else:
            self._files(mount, origin)

    def _secret(self, mount: RunMount) -> None:
        name = mount.source or mount.id or posixpath.basename(mount.target.rstrip("/"))
        if not name:
            raise DockerfileError("one of source, target required")
        self.state.secrets.setdefault(name, (mount.required, self.instruction.lines))
        if mount.env is not None:
            self.secrets.append(SecretEnvironment(name, mount.env or name, not mount.required))
        if mount.env is None or mount.target:
            target = mount.target or f"/run/secrets/{posixpath.basename(name)}"
            self._add_secret(mount, MountKind.SECRET, name, self._absolute(target), 0o400)

    def _agent(self, mount: RunMount) -> None:
        if mount.source:
            raise DockerfileError("ssh does not support source")
        name = mount.id or "default"
        self.state.agents.setdefault(name, (mount.required, self.instruction.lines))
        target = self._absolute(mount.target or f"/run/buildkit/ssh_agent.{len(self._agents)}")
        self._agents.append(target)
        self._add_secret(mount, MountKind.SSH, name, target, 0o600)

    def _add_secret(self, mount: RunMount, kind: MountKind, name: str, target: str, mode: int) -> None:
        mode = mode if mount.mode is None else mount.mode & 0o7777
        secret = SecretMount(name, mount.uid or 0, mount.gid or 0, mode, not mount.required)
        self.mounts.append(ExecMount(target, kind=kind, secret=secret))

    def _absolute(self, target: str) -> str:
        directory = self.state.image.config.get("WorkingDir") or "/"
        found = posixpath.normpath(posixpath.join("/", directory, target))
        return found[1:] if found.startswith("//") else found

    def _files(self, mount: RunMount, origin: StageState | None) -> None:
        target = self._absolute(mount.target)
        if target == "/":
            raise DockerfileError(f"invalid mount target {quote(mount.target or target)}")
        kind = MountKind(mount.kind)
        if kind is MountKind.TMPFS:
            self.mounts.append(ExecMount(target, kind=kind, tmpfs_size=mount.size))
            return
        tree = self._origin(mount, origin)
        source = context_path(mount.source)
        selector = "" if source == "/" else source
        if not selector and (mount.uid, mount.gid, mount.mode) != (None, None, None):
            tree, selector = self._owned(mount, tree), "/cache"
        cache = None
        if kind is MountKind.CACHE:
            name = mount.id or posixpath.normpath(mount.target)
            sharing = CacheSharing(mount.sharing or "shared")
            cache = CacheMount(f"{self.conversion.options.cache_namespace}/{name}", sharing)
        self.mounts.append(
            ExecMount(
                target,
                self.inputs.index(tree),
                selector if tree is not None else "",
                SKIP_OUTPUT,
                mount.read_only,
                kind,
                cache=cache,
            )
        )

    def _origin(self, mount: RunMount, origin: StageState | None) -> Tree | None:
        if not mount.source_stage:
            if mount.kind == "cache":
                return None
            self.conversion.context_paths.add(context_path(mount.source))
            return self.conversion.context()
        if origin is None or not origin.converted:
            raise DockerfileError(
                f"cannot mount from stage {quote(mount.source_stage)} to {quote(mount.target)}, stage needs to be "
                "defined before current command"
            )
        origin.used_paths.add(context_path(mount.source))
        return origin.tree

    def _owned(self, mount: RunMount, tree: Tree | None) -> Tree:
        """A directory with the owner and the mode that a cache begins with."""
        make = MkdirAction(
            path="/cache",
            mode=0o755 if mount.mode is None else mount.mode & 0o7777,
            owner=FileOwner(mount.uid or 0, mount.gid or 0),
        )
        inputs = [] if tree is None else [tree]
        action = FileAction(make, 0 if inputs else EMPTY, output=0)
        metadata = VertexMetadata("[internal] setting cache mount permissions")
        return Tree(Node(FileOperation((action,)), inputs, self.state.platform, metadata))


def _summary(text: str) -> str:
    lines = text.strip().replace("\r\n", "\n").split("\n")
    return lines[0] + ("..." if len(lines) > 1 else "")
