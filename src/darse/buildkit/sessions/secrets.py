"""What a client shows to nobody else: secrets, credentials of registries, SSH agents. Asked for when it is needed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from grpclib.client import Stream
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from darse.build.errors import BuildError
from darse.build.graph import Definition, ExecOperation, GitSource, HTTPSource, MountKind
from darse.build.graph.operations import Operation
from darse.buildkit.sessions.pool import ClientSession
from darse.buildkit.wire.auth_grpc import AuthStub
from darse.buildkit.wire.auth_pb2 import CredentialsRequest
from darse.buildkit.wire.secrets_grpc import SecretsStub
from darse.buildkit.wire.secrets_pb2 import GetSecretRequest
from darse.buildkit.wire.sshforward_grpc import SSHStub
from darse.buildkit.wire.sshforward_pb2 import BytesMessage, CheckAgentRequest
from darse.buildkit.wire.upload_grpc import UploadStub
from darse.distribution import Credentials
from darse.images.references import DEFAULT_DOMAIN

_PIECE = 32 * 1024
# How clients know docker's registry.
_DEFAULT_HOST = "registry-1.docker.io"
_SECRETS, _CREDENTIALS = "/moby.buildkit.secrets.v1.Secrets/GetSecret", "/moby.filesync.v1.Auth/Credentials"
_AGENTS, _UPLOADS = "/moby.sshforward.v1.SSH/CheckAgent", "/moby.upload.v1.Upload/Pull"
# What clients answer that have none.
_NONE = (Status.NOT_FOUND, Status.UNIMPLEMENTED)


class SessionSecrets:
    """Of one build's client. `secrets` and `credentials` have what was asked for so far."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self.secrets: dict[str, bytes] = {}
        self.credentials: dict[str, Credentials] = {}
        self.agents = SessionAgents(session)
        self._asked: set[str] = set()

    async def for_graph(self, definition: Definition) -> None:
        """Ask for what a graph's operations may need. What the client has not got is an error of the step's."""
        await self.for_operations([vertex.operation for vertex in definition.vertices.values()])

    async def for_operations(self, operations: Iterable[Operation]) -> None:
        """See for_graph."""
        secrets: dict[str, None] = {}
        agents: dict[str, None] = {}
        for operation in operations:
            match operation:
                case ExecOperation(mounts=mounts, secrets=variables):
                    secrets.update((one.id, None) for one in variables)
                    for mount in mounts:
                        if mount.secret is not None:
                            (agents if mount.kind is MountKind.SSH else secrets)[mount.secret.id] = None
                case GitSource() as git:
                    names = (git.auth_token_secret, git.auth_header_secret)
                    secrets.update((one, None) for one in names if one)
                    if git.ssh_socket:
                        agents[git.ssh_socket] = None
                case HTTPSource(auth_header_secret=name) if name:
                    secrets[name] = None
        await self._load(secrets)
        await self.agents.load(agents)

    async def _load(self, names: Iterable[str]) -> None:
        for name in names if self._session.has(_SECRETS) else ():
            if name in self._asked:
                continue
            self._asked.add(name)
            try:
                answer = await SecretsStub(self._session.channel).GetSecret(GetSecretRequest(ID=name))
            except GRPCError as error:
                if error.status not in _NONE:
                    raise BuildError(f"failed to load secret {name}: {error.message}") from error
            else:
                self.secrets[name] = answer.data

    async def log_in(self, domain: str) -> Credentials | None:
        """Ask for the credentials of a registry, by its domain; `credentials` has them then. None is nobody."""
        if f"registry {domain}" not in self._asked and self._session.has(_CREDENTIALS):
            self._asked.add(f"registry {domain}")
            host = _DEFAULT_HOST if domain == DEFAULT_DOMAIN else domain
            try:
                answer = await AuthStub(self._session.channel).Credentials(CredentialsRequest(Host=host))
            except GRPCError as error:
                if error.status not in _NONE:
                    raise BuildError(f"failed to load the credentials of {domain}: {error.message}") from error
            else:
                if answer.Username:
                    self.credentials[domain] = Credentials(answer.Username, answer.Secret)
                elif answer.Secret:
                    self.credentials[domain] = Credentials(identity_token=answer.Secret)
        return self.credentials.get(domain)

    async def upload(self, path: str) -> AsyncGenerator[bytes]:
        """Yield what the client uploads at a path: an archive, or a Dockerfile. Raises BuildError."""
        self._session.require(_UPLOADS, "a context that it uploads")
        try:
            async with UploadStub(self._session.channel).Pull.open(metadata={"urlpath": path}) as stream:
                await stream.send_request(end=True)
                while (message := await stream.recv_message()) is not None:
                    yield message.data
        except GRPCError as error:
            raise BuildError(f"failed to load the context: {error.message}") from error


class SessionAgents:
    """SSH agents of a client (`darse.build.executor.session.AgentConnections`)."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._there: dict[str, bool] = {}
        self._carrying: set[asyncio.Task[None]] = set()

    async def load(self, agents: Iterable[str]) -> None:
        """Ask which of these there are."""
        for agent in agents if self._session.has(_AGENTS) else ():
            if agent not in self._there:
                try:
                    await SSHStub(self._session.channel).CheckAgent(CheckAgentRequest(ID=agent))
                    self._there[agent] = True
                except GRPCError:
                    self._there[agent] = False

    def has(self, agent: str) -> bool:
        """See AgentConnections."""
        return self._there.get(agent, False)

    async def connect(self, agent: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See AgentConnections."""
        if not self.has(agent):
            raise BuildError(f"unset ssh forward key {agent}")
        one, other = socket.socketpair()
        ours, theirs = await asyncio.open_connection(sock=one), await asyncio.open_connection(sock=other)
        task = asyncio.create_task(self._carry(agent, *theirs))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        return ours

    async def _carry(self, agent: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            metadata = {"buildkit.ssh.id": agent}
            async with SSHStub(self._session.channel).ForwardAgent.open(metadata=metadata) as stream:
                back = asyncio.create_task(_answers(stream, writer))
                try:
                    await stream.send_request()
                    while piece := await reader.read(_PIECE):
                        await stream.send_message(BytesMessage(data=piece))
                    await stream.end()
                    await back
                finally:
                    back.cancel()
                    await asyncio.gather(back, return_exceptions=True)
        except (GRPCError, OSError):
            pass  # the process sees its connection end
        finally:
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


async def _answers(stream: Stream[Any, Any], writer: asyncio.StreamWriter) -> None:
    while (message := await stream.recv_message()) is not None:
        writer.write(message.data)
        await writer.drain()
