"""`--ssh`: agents of this machine that the steps of a build may ask, and keys, for which an agent is started.

The engine asks for each connection when a step opens one; keys stay here.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import stat
import tempfile

from darse.cli.errors import CliError
from darse.client.errors import ClientError
from darse.client.requests import builds
from darse.client.stdlib import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    from darse.client.blocking import Client

_PIECE = 64 * 1024
# Runs beside an agent, and ends it when this process is gone, however it ended: then its standard input ends.
_GUARD = 'echo ready; read -r _; kill "$SSH_AGENT_PID"; rm -rf -- "$1"'


class Agents:
    """The agents of one build; those that were started for its keys end with the block."""

    def __init__(self, entries: list[str]) -> None:
        """entries: `ID`, `ID=SOCKET` or `ID=KEY[,KEY]…`. Raises CliError."""
        self._sockets: dict[str, str] = {}
        self._started = contextlib.ExitStack()
        try:
            for entry in entries:
                self._add(entry)
        except BaseException:
            self._started.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def names(self) -> list[str]:
        """Their ids."""
        return list(self._sockets)

    def _add(self, entry: str) -> None:
        name, equals, value = entry.partition("=")
        paths = [path for path in value.split(",") if path] if equals else []
        if not name:
            raise CliError(f"invalid ssh {entry}: must be default or id=path")
        if name in self._sockets:
            raise CliError(f"invalid duplicate ssh id {name}")
        if not paths:
            paths = [os.environ.get("SSH_AUTH_SOCK", "")]
            if not paths[0]:
                raise CliError(
                    f"invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set, or name a key: {name}=PATH"
                )
        modes = [self._mode(path) for path in paths]
        if stat.S_ISSOCK(modes[0]):
            if len(paths) > 1:
                raise CliError(f"invalid ssh {entry}: only a single socket is allowed")
            self._sockets[name] = paths[0]
        else:
            self._sockets[name] = self._of_keys(paths)

    @staticmethod
    def _mode(path: str) -> int:
        try:
            return os.stat(path).st_mode
        except OSError as error:
            raise CliError(f"failed to parse ssh: stat {path}: {(error.strerror or '').lower()}") from error

    def _of_keys(self, paths: list[str]) -> str:
        """The socket of an agent that has these keys alone."""
        import subprocess

        for program in ("ssh-agent", "ssh-add"):
            if shutil.which(program) is None:
                raise CliError(
                    f"--ssh with a key needs {program} (Debian's package openssh-client), or name an agent's socket"
                )
        directory = self._started.enter_context(tempfile.TemporaryDirectory(prefix="darse-ssh-"))
        path = os.path.join(directory, "agent")
        agent = subprocess.Popen(
            ["ssh-agent", "-a", path, "sh", "-c", _GUARD, "sh", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # an interrupt of the terminal is for this process
        )
        self._started.callback(agent.communicate)
        # The agent listens before its command runs.
        if agent.stdout is None or not agent.stdout.readline():
            raise CliError("ssh-agent did not start")
        for key in paths:
            environment = {**os.environ, "SSH_AUTH_SOCK": path}
            added = subprocess.run(["ssh-add", "-q", key], env=environment, stderr=subprocess.PIPE, check=False)
            if added.returncode:
                raise CliError(f"failed to add the key {key}: {added.stderr.decode(errors='replace').strip()}")
        return path

    def served(self, client: Client, documents: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the documents of a build, but for those that ask for a connection: these are answered."""
        import threading

        for document in documents:
            asked = document.get("agent")
            if asked is None:
                yield document
                continue
            path = self._sockets.get(asked["id"])
            if path is not None:
                threading.Thread(target=_carry, args=(client, path, asked["connection"]), daemon=True).start()


def _carry(client: Client, path: str, token: str) -> None:
    """Carry bytes between an agent and the engine until one of them has ended."""
    try:
        connection, _ = client.attach(builds.agent_connection(token))
    except ClientError:
        return  # the build has ended meanwhile, and says why
    agent = socket.socket(socket.AF_UNIX)
    with contextlib.closing(connection), contextlib.closing(agent):
        try:
            agent.connect(path)
            agent.sendall(connection.early())
            _relay(connection.socket, agent)
        except OSError:
            return  # the process sees that its connection ends


def _relay(engine: Any, agent: Any) -> None:
    peers = {engine: agent, agent: engine}
    while True:
        for source in select.select(list(peers), [], [])[0]:
            data = source.recv(_PIECE)
            if not data:
                return
            peers[source].sendall(data)
