"""Registries as the engine's configuration has them, asked in threads.

A thread of its own for each operation: registries may be slow for ever, and the loop's pool is everybody's. The threads
end with their operation: `Cancellation` shuts the sockets that they wait on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from darse.core.config import EngineConfig

if TYPE_CHECKING:
    from darse.distribution import Cancellation, Credentials, Hosts, Limits, RegistryClient

T = TypeVar("T")


class Registries:
    """Makes clients of registries; nothing is imported for it before the first."""

    def __init__(self, config: EngineConfig, limits: Limits | None = None) -> None:
        """`limits` are the timeouts of registries; the tries of a transfer are the configuration's."""
        self._config = config
        self._limits = limits
        self._hosts: tuple[object, Hosts] | None = None

    def client(
        self, credentials: Credentials | None = None, others: dict[str, Credentials] | None = None
    ) -> RegistryClient:
        """A client for one user; `others` are credentials for mirrors, by `HOST[:PORT]`."""
        from darse.distribution import Limits, RegistryClient  # noqa: PLC0415

        limits = msgspec.structs.replace(self._limits or Limits(), attempts=self._config.max_download_attempts)
        return RegistryClient(self._current_hosts(), credentials, mirror_credentials=others, limits=limits)

    def _current_hosts(self) -> Hosts:
        from darse.distribution.hosts import CERTIFICATES, Hosts, proxies_of  # noqa: PLC0415

        config = self._config
        seen = (config.registry_mirrors, config.insecure_registries)
        if self._hosts is None or self._hosts[0] != seen:
            settings = proxies_of(os.environ, config.http_proxy, config.https_proxy, config.no_proxy)
            settings = msgspec.structs.replace(
                settings,
                mirrors=config.registry_mirrors,
                insecure=config.insecure_registries,
                certificates=(Path(config.certs_dir),) if config.certs_dir else CERTIFICATES,
            )
            self._hosts = (seen, Hosts(settings))
        return self._hosts[1]


async def in_thread(cancellation: Cancellation, action: Callable[[], T], *, to_the_end: bool = False) -> T:
    """Call a function that blocks on a registry in a thread of its own.

    When the caller is cancelled the thread is notified, and ends on its own; `to_the_end` waits for that.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        ended.set_result(None)
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            result, error = action(), None
        except BaseException as raised:
            result, error = None, raised
        # When the loop is closed, nobody waits for it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="registry", daemon=True).start()
    try:
        return await future
    except asyncio.CancelledError:
        cancellation.cancel()
        if to_the_end:
            await asyncio.wait({ended})
        raise
