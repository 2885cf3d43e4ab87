"""Dockerfiles to images, without an engine: a chroot for the commands, and a look at the files before and after.

A *state* is what stands after an instruction: configuration, layers, history. Its key is a digest of everything that it
was made from (the key of the state before, the instruction, the content of the files that it copies), and states are
kept by key: that is the build's cache. Files are unpacked from the layers only when something must be built on them.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.catalog import layers
from tests.catalog.dockerfile import Instruction, Stage, read
from tests.catalog.layers import EPOCH, Layer
from tests.catalog.layout import Layout, write

HERE = Path(__file__).parent
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
SUITE = "bookworm"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Debian's mirrors do not keep what its lists of some days ago speak of.
_LISTS_SECONDS = 12 * 3600
_LEVEL = "2"  # of what this module makes of the same input; a change makes everything anew


class BuildError(Exception):
    """A command of a Dockerfile failed; the text has what it said."""


class State(msgspec.Struct, frozen=True):
    """What stands after an instruction."""

    key: str
    config: dict[str, Any] = {}
    layers: tuple[Layer, ...] = ()
    history: tuple[dict[str, Any], ...] = ()

    def document(self, architecture: str) -> dict[str, Any]:
        """The configuration of an image, as the OCI image spec has it."""
        return {
            "architecture": architecture,
            "os": "linux",
            "created": _moment(len(self.history)),
            "config": {"Env": [f"PATH={_PATH}"], **self.config},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": list(self.history),
        }


class Builder:
    """Builds into a layout; keeps states, and Debian's packages, in a cache beside it."""

    def __init__(
        self, cache: Path, layout: Layout, parent: Callable[[str], State], tell: Callable[[str], None]
    ) -> None:
        """`parent` gives the state of another image of the catalogue; `tell` takes a line for people to read."""
        self._layout = layout
        self._states = cache / "states"
        self._work = Path(tempfile.mkdtemp(prefix="work-", dir=cache))
        self._apt = cache / "apt"
        self._parent = parent
        self._tell = tell
        # Whatever is of a later moment was made here, by this instruction or one before it.
        self._since = int(time.time())
        lists = self._apt / "lists"
        if lists.exists() and time.time() - lists.stat().st_mtime > _LISTS_SECONDS:
            shutil.rmtree(self._apt)
        for directory in (self._states, lists / "partial", self._apt / "archives" / "partial"):
            directory.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Remove the unpacked files."""
        shutil.rmtree(self._work)

    def build(self, context: Path) -> State:
        """The state after the last instruction of a context's Dockerfile. Raises BuildError."""
        stages: dict[str, State] = {}
        state = State("")
        for stage in read(context / "Dockerfile"):
            state = self._stage(stage, context, stages)
            stages[stage.name] = state
        return state

    def _stage(self, stage: Stage, context: Path, stages: dict[str, State]) -> State:
        if stage.parent == "scratch":
            state = State(_digest("scratch", _LEVEL, ARCHITECTURE))
        else:
            state = stages.get(stage.parent) or self._parent(stage.parent)
        begun = state.layers
        for instruction in stage.instructions:
            # Files that this stage has made itself are built on in place; those it began with are for others, too.
            own = state.layers != begun
            state = self._step(state, instruction, context, stages, own=own)
        return state

    def _step(
        self, before: State, instruction: Instruction, context: Path, stages: dict[str, State], *, own: bool
    ) -> State:
        source = self._source(instruction, context, stages)
        key = _digest(before.key, str(instruction), source.key if isinstance(source, State) else _content(source))
        kept = self._states / f"{key}.json"
        if kept.exists():
            state = msgspec.json.decode(kept.read_bytes(), type=State)
            if all(self._layout.path(layer.digest).exists() for layer in state.layers):
                return state
        config = _configured(before.config, instruction)
        added: tuple[Layer, ...] = ()
        if instruction.name in ("RUN", "COPY", "ADD", "WORKDIR"):
            added = self._change(before, instruction, source, own=own)
        history = {"created": _moment(len(before.history) + 1), "created_by": str(instruction)}
        if not added:
            history["empty_layer"] = True
        state = State(key, config, before.layers + added, (*before.history, history))
        write(kept, msgspec.json.encode(state))
        return state

    def _source(self, instruction: Instruction, context: Path, stages: dict[str, State]) -> State | list[Path]:
        """What COPY and ADD take files from: the state of another stage or image, or files of the context."""
        if instruction.name not in ("COPY", "ADD"):
            return []
        origin = instruction.flags.get("from")
        if origin is not None:
            return stages.get(origin) or self._parent(origin)
        if instruction.words[0] == "rootfs.tar":
            return [HERE / "rootfs.sh", HERE / "install_packages"]
        return [context / word for word in instruction.words[:-1]]

    def _change(
        self, before: State, instruction: Instruction, source: State | list[Path], *, own: bool
    ) -> tuple[Layer, ...]:
        """Do what an instruction does to the files; the layer of it, if anything has changed."""
        began = time.monotonic()
        tree = self._work / "changing"
        if own:
            self._tree(before).rename(tree)
        else:
            subprocess.run(["cp", "-a", "--reflink=auto", str(self._tree(before)), str(tree)], check=True)
        look = layers.look(tree)
        if instruction.name == "RUN":
            self._run(tree, before.config, instruction.command())
        elif instruction.name == "WORKDIR":
            (tree / instruction.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        else:
            self._copy(tree, instruction, source)
        paths = layers.changed(look, layers.look(tree))
        if not paths:
            if own:
                tree.rename(self._place(before.layers))
            else:
                shutil.rmtree(tree)
            return ()
        layer = layers.pack(tree, paths, self._layout.blobs, self._since)
        tree.rename(self._place((*before.layers, layer)))
        self._tell(f"{time.monotonic() - began:6.1f} s {layer.size / 1e6:7.1f} MB  {str(instruction)[:100]}")
        return (layer,)

    def _tree(self, state: State) -> Path:
        """A directory with the files of a state, not to be changed."""
        tree = self._place(state.layers)
        if not tree.exists():
            tree.mkdir()
            layers.unpack(state.layers, self._layout.blobs, tree)
        return tree

    def _place(self, stack: tuple[Layer, ...]) -> Path:
        return self._work / _digest("files", *(layer.diff_id for layer in stack))

    def _run(self, tree: Path, config: dict[str, Any], command: list[str]) -> None:
        environment = {
            "PATH": _PATH,
            **dict(pair.split("=", 1) for pair in config.get("Env", [])),
            "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(EPOCH),
            **network_environment(),
        }
        directory = config.get("WorkingDir", "/")
        _must([str(HERE / "chroot.sh"), str(tree), str(self._apt), directory, *command], environment)

    def _copy(self, tree: Path, instruction: Instruction, source: State | list[Path]) -> None:
        *names, target = instruction.words
        if instruction.words[0] == "rootfs.tar":
            environment = {**os.environ, **network_environment(), "SOURCE_DATE_EPOCH": str(EPOCH)}
            _must([str(HERE / "rootfs.sh"), SUITE, str(tree)], environment)
            return
        files = [self._tree(source) / name.lstrip("/") for name in names] if isinstance(source, State) else source
        destination = tree / target.lstrip("/")
        directory = destination if target.endswith("/") else destination.parent
        directory.mkdir(parents=True, exist_ok=True)
        # As COPY does, a directory is copied as its content.
        copied = [f"{file}/." if file.is_dir() else str(file) for file in files]
        owner = [] if isinstance(source, State) else ["--no-preserve=ownership,timestamps"]
        _must(["cp", "-a", *owner, *copied, str(destination)])
        if "chmod" in instruction.flags:
            for file in files:
                path = destination / file.name if destination.is_dir() else destination
                path.chmod(int(instruction.flags["chmod"], 8))


def _configured(config: dict[str, Any], instruction: Instruction) -> dict[str, Any]:
    """The configuration after an instruction."""
    config = dict(config)
    match instruction.name:
        case "ENV":
            pairs = dict(pair.split("=", 1) for pair in config.get("Env", [f"PATH={_PATH}"])) | instruction.pairs()
            config["Env"] = [f"{key}={value}" for key, value in pairs.items()]
        case "LABEL":
            config["Labels"] = config.get("Labels", {}) | instruction.pairs()
        case "CMD":
            config["Cmd"] = instruction.command()
        case "ENTRYPOINT":
            config["Entrypoint"] = instruction.command()
            config.pop("Cmd", None)
        case "EXPOSE":
            config["ExposedPorts"] = config.get("ExposedPorts", {}) | {port: {} for port in instruction.words}
        case "VOLUME":
            config["Volumes"] = config.get("Volumes", {}) | {path: {} for path in instruction.words}
        case "STOPSIGNAL":
            config["StopSignal"] = instruction.rest
        case "USER":
            config["User"] = instruction.rest
        case "WORKDIR":
            config["WorkingDir"] = instruction.rest
        case "HEALTHCHECK":
            raise ValueError("the catalogue's Dockerfiles have no HEALTHCHECK")
    return config


def network_environment() -> dict[str, str]:
    """The way to Debian's mirrors: the proxy that apt is configured with here, or that of the environment."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    asked = ["apt-config", "dump", "--format", "%v", "Acquire::http::Proxy"]
    proxy = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {**environment, "http_proxy": proxy} if proxy else environment


def _must(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        text = done.stdout.decode(errors="replace")[-3000:]
        raise BuildError(f"{' '.join(command)} ended with {done.returncode}:\n{text}")


def _content(paths: list[Path]) -> str:
    """A digest of files: names, modes and content."""
    found = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            mode = stat.S_IMODE(file.stat().st_mode)
            content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
            found.append(f"{file.relative_to(path.parent)} {mode:o} {content}")
    return _digest(*found)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _moment(number: int) -> str:
    """A moment of a build: a second apart from the one before, and always the same."""
    moment = datetime.datetime.fromtimestamp(EPOCH + number, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
