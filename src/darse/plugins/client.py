"""Calls of plugins: JSON over HTTP (docker's plugin API 1.2)."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from darse.core import executors
from darse.core.errors import NotFound, SystemFault
from darse.plugins.discovery import FOLDERS, SOCKETS, PluginAddress, find_plugin, plugin_names
from darse.plugins.managed import ManagedPluginFinder, NoManagedPlugins

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
#: Seconds for a call, and for a plugin that is found but does not listen yet.
CALL_SECONDS, LISTEN_SECONDS = 60.0, 10.0
_BIGGEST_ANSWER = 1 << 20
_MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"


class PluginError(SystemFault):
    """A plugin did not do what was asked: it says so, does not answer, or answers nonsense."""


class PluginRefused(PluginError):
    """A plugin answers that it does not do what was asked."""


class PluginSilent(PluginError):
    """What a plugin is found by is there, and nobody listens."""


class _Activated(msgspec.Struct):
    Implements: list[str] = []


class _Failure(msgspec.Struct):
    Err: str = ""


class PluginClient:
    """The plugins of this host, each found when it is first needed."""

    def __init__(
        self,
        sockets: tuple[Path, ...] = (SOCKETS,),
        folders: tuple[Path, ...] = FOLDERS,
        managed: ManagedPluginFinder | None = None,
    ) -> None:
        """`sockets` are the run folders, `folders` those with files that say where plugins listen.

        `managed` finds the plugins that the engine itself runs.
        """
        self._sockets = sockets
        self._folders = folders
        self._implements: dict[str, list[str]] = {}
        self._sessions: dict[PluginAddress, aiohttp.ClientSession] = {}
        self._managed: ManagedPluginFinder = managed or NoManagedPlugins()

    def full_name(self, name: str) -> str:
        """The name of a plugin with its tag, where the engine runs it. Raises NotFound for one that is disabled."""
        managed = self._managed.find_enabled(name)
        return managed.name if managed is not None else name

    async def names(self, kind: str) -> list[str]:
        """The plugins that implement `kind`, and those of the host that nobody has asked yet."""
        managed = self._managed.all_enabled()
        found = [one.name for one in managed if kind in one.implements]
        # A name means the plugin that the engine runs before one of the host.
        taken = {name for one in managed for name in (one.name, one.name.removesuffix(":latest"))}
        for name in await executors.storage.run(plugin_names, self._sockets, self._folders):
            if name not in taken and kind in self._implements.get(name, [kind]):
                found.append(name)
        return sorted(found)

    async def loaded(self) -> None:
        """Have what calls need; an engine without plugins has not, and the event loop does not wait for its import."""
        await executors.storage.run(importlib.import_module, "aiohttp.client")

    async def activate(self, name: str, kind: str, listen_seconds: float | None = None) -> None:
        """Have a plugin that implements `kind`. Raises NotFound when there is none, and PluginError."""
        if (managed := self._managed.find_enabled(name)) is not None:
            self._refuse_other(name, kind, managed.implements)
            return
        if name not in self._implements:
            answer = await self._call(name, "Plugin.Activate", None, _Activated, CALL_SECONDS, listen_seconds)
            self._implements[name] = answer.Implements
        self._refuse_other(name, kind, self._implements[name])

    @staticmethod
    def _refuse_other(name: str, kind: str, implemented: list[str]) -> None:
        if kind not in implemented:
            raise NotFound(f'plugin "{name}" does not implement "{kind}", but {", ".join(implemented)}')

    def host_path(self, name: str, path: str) -> str:
        """Where on the host a directory is that a plugin names. Raises PluginError when the host does not see it."""
        managed = self._managed.find_enabled(name)
        if managed is None:
            return path
        found = managed.host_path(path)
        if found is None:
            raise PluginError(f"plugin {name} names {path!r}, which is not in its propagated mount")
        return found

    async def _find(self, name: str) -> PluginAddress:
        managed = self._managed.find_enabled(name)
        if managed is not None:
            return managed.address
        address = await executors.storage.run(find_plugin, name, self._sockets, self._folders)
        if address is None:
            raise NotFound(f'plugin "{name}" not found')
        return address

    async def call(
        self,
        name: str,
        kind: str,
        method: str,
        arguments: dict[str, Any],
        answer: type[T],
        seconds: float = CALL_SECONDS,
        listen_seconds: float | None = None,
    ) -> T:
        """Call a method of a plugin; `method` names its interface where that is not called like what is implemented.

        listen_seconds: how long one that does not listen is tried again; LISTEN_SECONDS when it is not given.

        Raises NotFound when the plugin is not there, and PluginError.
        """
        await self.activate(name, kind, listen_seconds)
        path = method if "." in method else f"{kind}.{method}"
        return await self._call(name, path, arguments, answer, seconds, listen_seconds)

    @asynccontextmanager
    async def stream(
        self, name: str, kind: str, method: str, arguments: dict[str, Any]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Call a method whose answer is a stream, for the duration of the block; nothing bounds its length or time.

        Raises NotFound when the plugin is not there, and PluginError, also while the stream is read.
        """
        import aiohttp  # noqa: PLC0415 - `activate` has it imported in a thread

        await self.activate(name, kind)
        address = await self._find(name)
        data, headers = msgspec.json.encode(arguments), {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
        url = self._url(address, f"{kind}.{method}")
        try:
            async with self._session(address).post(url, data=data, headers=headers) as got:
                if got.status != 200:
                    raise PluginRefused(f"{method}: plugin {name} answers with status {got.status}")
                yield got.content.iter_any()
        except (aiohttp.ClientError, OSError) as error:
            raise PluginError(f"plugin {name} did not answer {method}: {error or type(error).__name__}") from error

    async def _call(
        self,
        name: str,
        method: str,
        arguments: dict[str, Any] | None,
        answer: type[T],
        seconds: float,
        listen_seconds: float | None = None,
    ) -> T:
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._post(name, method, arguments, listen_seconds)
        except TimeoutError as error:
            raise PluginError(f"plugin {name} did not answer {method} within {seconds:g} s") from error
        try:
            failure = msgspec.json.decode(body, type=_Failure).Err if body.strip() else ""
        except (msgspec.MsgspecError, RecursionError):
            failure = "" if status == 200 else body[:200].decode(errors="replace").strip()
        if failure or status != 200:
            raise PluginRefused(f"{method}: {failure or f'plugin {name} answers with status {status}'}")
        try:
            return msgspec.json.decode(body.strip() or b"{}", type=answer)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise PluginError(f"plugin {name} answers {method} with what it cannot be: {error}") from error

    async def _post(
        self, name: str, method: str, arguments: dict[str, Any] | None, listen_seconds: float | None
    ) -> tuple[int, bytes]:
        await self.loaded()
        import aiohttp  # noqa: PLC0415

        listening = LISTEN_SECONDS if listen_seconds is None else listen_seconds
        deadline = asyncio.get_running_loop().time() + listening
        data = b"" if arguments is None else msgspec.json.encode(arguments)
        pause = 0.05
        while True:
            address = await self._find(name)
            try:
                return await self._exchange(address, method, data)
            except aiohttp.ClientConnectorError as error:
                # It may be about to listen; or listens elsewhere, now.
                if asyncio.get_running_loop().time() + pause > deadline:
                    raise PluginSilent(f"plugin {name} does not listen: {error}") from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise PluginError(f"plugin {name} did not answer {method}: {error or type(error).__name__}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _exchange(self, address: PluginAddress, method: str, data: bytes) -> tuple[int, bytes]:
        session, url = self._session(address), self._url(address, method)
        async with session.post(url, data=data, headers={"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}) as got:
            body = await got.content.read(_BIGGEST_ANSWER + 1)
            while len(body) <= _BIGGEST_ANSWER and (more := await got.content.read(_BIGGEST_ANSWER)):
                body += more
            if len(body) > _BIGGEST_ANSWER:
                raise ValueError(f"its answer is longer than {_BIGGEST_ANSWER} bytes")
            return got.status, body

    @staticmethod
    def _url(address: PluginAddress, method: str) -> str:
        scheme = "https" if address.tls is not None else "http"
        return f"{scheme}://{address.url}/{method}" if address.url else f"http://plugin/{method}"

    def _session(self, address: PluginAddress) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415 - see _post

        session = self._sessions.get(address)
        if session is None:
            connector: aiohttp.BaseConnector
            # Each call has a connection of its own: one that hangs keeps no other waiting.
            if address.socket:
                connector = aiohttp.UnixConnector(address.socket, limit=0, force_close=True)
            else:
                context = address.context()
                connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=context if context else True)
            session = self._sessions[address] = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
            )
        return session

    async def close(self) -> None:
        """Close what is open."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
