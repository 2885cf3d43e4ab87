"""Commits of git repositories as sources, by the program git.

git reads what a server sends, so it runs as nobody, in a mount namespace in which it finds its directory and little
else to write to, with no configuration, no hooks and no protocol but those that a source may have. Each build fetches
what it needs: a commit that is asked for again is in the build cache.
"""

from __future__ import annotations

import base64
import functools
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from darse.build.errors import BuildError
from darse.build.executor.agents import forwarded
from darse.build.executor.session import BuildSession
from darse.build.graph.operations import SecretMount
from darse.build.graph.sources import GitSource
from darse.build.solver.operation_executor import Snapshot
from darse.core import executors
from darse.images.snapshots.snapshotter import Snapshotter
from darse.linux.fs.contained import ENTER, ENTRY, Walk, remove_entry, remove_tree
from darse.linux.fs.mounts import MS_BIND, MS_REC, MS_SLAVE, NamespaceThreads, mount
from darse.linux.fs.openat2 import open_without_links

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# nobody(7), whom nothing belongs to.
_NOBODY = 65534
# Where git finds its directory: everybody may pass there, on any host.
_PLACE = "/tmp"  # noqa: S108 - hidden in the namespace
_PROTOCOLS = "http:https:git:ssh"
_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.symlinks=true"),
    *("-c", "protocol.file.allow=never"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "advice.detachedHead=false"),
    *("-c", "init.defaultBranch=master"),
    # They would go on behind the command's end.
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
)
_LAST = 2000


class GitSources:
    """Fetches for all builds."""

    def __init__(self, threads: NamespaceThreads, snapshotter: Snapshotter, directory: Path, sockets: Path) -> None:
        """directory: for work under way. sockets: for those of agents."""
        self._threads = threads
        self._snapshotter = snapshotter
        self._directory = directory
        self._sockets = sockets

    async def resolve(self, session: BuildSession, source: GitSource) -> str:
        """The identity of a commit: its name, and what is taken of it. Raises BuildError."""
        commit = source.reference
        if not _COMMIT.fullmatch(commit):
            commit = await self._find(session, source)
        if source.checksum and not commit.startswith(source.checksum):
            raise BuildError(f"expected checksum to match {source.checksum}, got {commit}")
        parts = [commit, source.subdirectory, ".git" if source.keep_git_dir else ""]
        return "#".join([*parts, "no-submodules" if source.skip_submodules else ""])

    async def _find(self, session: BuildSession, source: GitSource) -> str:
        reference = source.reference or "HEAD"
        if reference.startswith("-"):
            raise BuildError(f"invalid git reference {reference!r}")
        url = _url(source)
        async with self._directory_of_work() as work:
            printed = await self._run(session, source, work, [["ls-remote", "--", url, reference, f"{reference}^{{}}"]])
        found: dict[str, str] = {}
        for line in printed.splitlines():
            commit, _, name = line.partition("\t")
            found[name] = commit
        names = [f"refs/tags/{reference}^{{}}", f"{reference}^{{}}", reference]
        names += [f"refs/tags/{reference}", f"refs/heads/{reference}"]
        for name in names:
            if name in found and _COMMIT.fullmatch(found[name]):
                return found[name]
        raise BuildError(f"repository {source.full_url or source.remote} does not contain ref {reference}")

    async def fetch(self, session: BuildSession, source: GitSource, identity: str) -> Snapshot:
        """The tree of a commit. Raises BuildError."""
        commit = identity.partition("#")[0]
        async with self._directory_of_work() as work:
            active = self._snapshotter.prepare(())
            try:
                await self._check_out(session, source, work, commit)
                await executors.storage.run_to_end(_take, work / "tree", active.upper, source)
                committed = await self._snapshotter.commit(active)
            finally:
                await self._snapshotter.discard(active)
        return Snapshot(committed.id, committed.size)

    async def _check_out(self, session: BuildSession, source: GitSource, work: Path, commit: str) -> None:
        """Fetch a commit into `work`/tree. Raises BuildError."""
        await self._run(
            session, source, work, [["init", "-q", "tree"], ["-C", "tree", "remote", "add", "origin", _url(source)]]
        )
        fetch = ["-C", "tree", "fetch", "-q"]
        try:
            await self._run(session, source, work, [[*fetch, "--depth=1", "--no-tags", "--", "origin", commit]])
        except BuildError:
            # Not every server gives a commit by its name.
            everything = "+refs/heads/*:refs/remotes/origin/*"
            await self._run(session, source, work, [[*fetch, "--tags", "--", "origin", everything]])
        commands = [["-C", "tree", "checkout", "-q", "-f", commit]]
        if not source.skip_submodules:
            commands.append(["-C", "tree", "submodule", "-q", "update", "--init", "--recursive", "--depth=1"])
        await self._run(session, source, work, commands)

    @asynccontextmanager
    async def _directory_of_work(self) -> AsyncIterator[Path]:
        """A directory of git's for the block. What a checkout leaves in it takes a while to remove."""
        work = self._new_directory()
        try:
            yield work
        finally:
            await executors.storage.run_to_end(remove_tree, work)

    def _new_directory(self) -> Path:
        if shutil.which("git") is None:
            raise BuildError("git sources need the program git: install the package git on the engine's host")
        self._directory.mkdir(mode=0o700, exist_ok=True)
        work = self._directory / secrets.token_hex(8)
        work.mkdir(mode=0o700)
        os.chown(work, _NOBODY, _NOBODY)
        return work

    async def _run(
        self, session: BuildSession, source: GitSource, work: Path, commands: Sequence[Sequence[str]]
    ) -> str:
        """Run git's commands one after another; return what the last one prints. Raises BuildError."""
        async with AsyncExitStack() as stack:
            binds = {}
            if source.ssh_socket and session.agents.has(source.ssh_socket):
                mount_ = SecretMount(source.ssh_socket, _NOBODY, _NOBODY, 0o600)
                binds["agent"] = await stack.enter_async_context(forwarded(session.agents, mount_, self._sockets))
            if source.known_ssh_hosts:
                (work / "known_hosts").write_text(source.known_ssh_hosts)
            environment = _environment(session, source, has_agent=bool(binds))
            run = _GitRun(self._threads, work, environment, binds)
            return await self._threads.begin(functools.partial(run.all, commands), run.kill)


def _url(source: GitSource) -> str:
    url = source.full_url or f"https://{source.remote}"
    if url.startswith("-"):
        raise BuildError(f"invalid git repository {url!r}")
    return url


def _environment(session: BuildSession, source: GitSource, *, has_agent: bool) -> dict[str, str]:
    found = {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
    }
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        if name in os.environ:
            found[name] = os.environ[name]
    header = b""
    if source.auth_token_secret and (token := session.secrets.get(source.auth_token_secret)) is not None:
        header = b"basic " + base64.b64encode(b"x-access-token:" + token.strip())
    if source.auth_header_secret and (given := session.secrets.get(source.auth_header_secret)) is not None:
        header = given.strip()
    if header:
        # Not in the arguments, which everybody on the host can read.
        value = f"Authorization: {header.decode(errors='surrogateescape')}"
        found |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": value}
    checked = "yes" if source.known_ssh_hosts else "no"
    hosts = f"{_PLACE}/known_hosts" if source.known_ssh_hosts else os.devnull
    found["GIT_SSH_COMMAND"] = f"ssh -F none -o StrictHostKeyChecking={checked} -o UserKnownHostsFile={hosts}"
    if has_agent:
        found["SSH_AUTH_SOCK"] = f"{_PLACE}/agent"
    return found


class _GitRun:
    """Commands of one fetch, in a thread that may leave the host's mount namespace."""

    def __init__(
        self, threads: NamespaceThreads, work: Path, environment: Mapping[str, str], binds: Mapping[str, Path]
    ) -> None:
        self._threads = threads
        self._work = work
        self._environment = environment
        self._binds = binds
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def kill(self) -> None:
        """End git with all that it has started. From any thread."""
        self._killed = True
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def all(self, commands: Sequence[Sequence[str]]) -> str:
        """Run them; return what the last one prints. Blocks."""
        printed = ""
        with self._threads.private_mounts():
            mount("", "/", "", MS_SLAVE | MS_REC)
            for name, path in self._binds.items():
                (self._work / name).touch()
                mount(str(path), str(self._work / name), "", MS_BIND)
            mount(str(self._work), _PLACE, "", MS_BIND | MS_REC)
            for command in commands:
                printed = self._one(command)
        return printed

    def _one(self, command: Sequence[str]) -> str:
        self._process = subprocess.Popen(
            ["git", *_OPTIONS, *command],
            cwd=_PLACE,
            env=dict(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            user=_NOBODY,
            group=_NOBODY,
            extra_groups=(),
            umask=0o022,
            start_new_session=True,
        )
        with self._process as process:
            if self._killed:
                self.kill()
            output, errors = process.communicate()
        if process.returncode:
            verb = next(word for word in command if word not in ("-C", "tree"))
            text = errors.decode(errors="replace").strip()[-_LAST:]
            raise BuildError(f"git {verb} failed: {text or f'exit status {process.returncode}'}")
        return output.decode(errors="surrogateescape")


def _take(tree: Path, target: Path, source: GitSource) -> None:
    """Move what is taken of a work tree to a layer, whose owner is root. Blocks."""
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not source.keep_git_dir:
            remove_entry(root, ".git")
        try:
            path = source.subdirectory.strip("/") or "."
            taken = open_without_links(root, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise BuildError(f"invalid subdirectory {source.subdirectory!r} of the repository: {reason}") from error
        try:
            _own(taken)
            made = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for name in os.listdir(taken):
                    os.rename(name, name, src_dir_fd=taken, dst_dir_fd=made)
            finally:
                os.close(made)
        finally:
            os.close(taken)
    finally:
        os.close(root)


def _own(top: int) -> None:
    """Make everything below a directory root's."""
    for kind, directory, name, _ in Walk(top):
        if kind == ENTER:
            os.fchown(directory, 0, 0)
        elif kind == ENTRY:
            os.chown(name, 0, 0, dir_fd=directory, follow_symlinks=False)
