"""Where the API is served: unix sockets, tcp with or without TLS, and sockets that systemd passes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darse.api.server import ApiServer
from darse.api.tls import TLSTransport, server_context
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.exhaustion import reason
from darse.engine.configuration.hosts import Host, find_group, parse_host
from darse.linux import service_manager

_log = logging.getLogger("darse.api")
_BACKLOG = 1024
# asyncio takes as many connections in one turn of its loop as its backlog says: others should have theirs in between.
_AT_ONCE = 32
# Python 3.13 removes the path of a unix socket that it closes: the service manager's is to stay.
_KEEPING: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


class Listeners:
    """Open listeners, and the paths of their unix sockets."""

    def __init__(self, config: EngineConfig, server: ApiServer) -> None:
        self._config = config
        self._server = server
        self._open: list[asyncio.Server] = []
        self._paths: list[Path] = []

    async def listen(self) -> None:
        """Open every listener. Raises InvalidParameter for what is no address, and SystemFault."""
        config = self._config
        for text in config.hosts or (config.default_socket,):
            host = parse_host(text, default_socket=config.exec_root / "darse.sock", tls=config.tls is not None)
            if host.scheme == "unix":
                await self._unix(host.path)
            elif host.scheme == "tcp":
                await self._tcp(host)
            else:
                await self._passed()

    async def _unix(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        with contextlib.ExitStack() as undo:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            undo.callback(listener.close)
            # Nobody may connect between the bind and the change of owner.
            mask = os.umask(0o177)
            try:
                listener.bind(str(path))
            except OSError as error:
                raise SystemFault(f"cannot listen on {path}: {reason(error)}") from error
            finally:
                os.umask(mask)
            undo.callback(path.unlink)
            os.chown(path, 0, self._group())
            path.chmod(0o660)
            loop = asyncio.get_running_loop()
            self._open.append(await loop.create_unix_server(self._server, sock=listener, backlog=_AT_ONCE))
            undo.pop_all()
        listener.listen(_BACKLOG)
        self._paths.append(path)
        _log.info("listening on %s", path)

    def _group(self) -> int:
        """The group that may use the socket: the one asked for, `docker` or `darse` where there is one, root."""
        if self._config.group:
            return find_group(self._config.group)
        for name in ("docker", "darse"):
            with contextlib.suppress(KeyError):
                return grp.getgrnam(name).gr_gid
        return 0

    async def _tcp(self, host: Host) -> None:
        tls = self._config.tls
        if tls is None:
            _log.warning("the API is served on tcp port %d without TLS: whoever reaches it is root here", host.port)
        elif not tls.verify:
            _log.warning("tcp port %d asks clients for no certificate: whoever reaches it is root here", host.port)
        try:
            server = await asyncio.get_running_loop().create_server(
                self._secured(), host.name or None, host.port, backlog=_BACKLOG
            )
        except OSError as error:
            raise SystemFault(f"cannot listen on tcp://{host.name}:{host.port}: {reason(error)}") from error
        self._open.append(server)
        for listening in server.sockets:
            _log.info("listening on tcp://%s:%d", *listening.getsockname()[:2])

    def _secured(self) -> Callable[[], asyncio.Protocol]:
        """What serves a tcp connection: the server itself, or the server behind TLS. Raises InvalidParameter."""
        tls = self._config.tls
        if tls is None:
            return self._server
        try:
            context = server_context(tls)
        except OSError as error:
            raise InvalidParameter(f"cannot use the TLS certificates: {error}") from error
        return lambda: TLSTransport(context, self._server)

    async def _passed(self) -> None:
        """Take the sockets that systemd opened (sd_listen_fds(3))."""
        sockets = service_manager.passed_sockets()
        if not sockets:
            raise InvalidParameter("fd:// wants sockets from systemd, and none were passed: is darsed.socket enabled?")
        loop = asyncio.get_running_loop()
        for passed in sockets:
            if passed.family == socket.AF_UNIX:
                self._open.append(await loop.create_unix_server(self._server, sock=passed, **_KEEPING))
            else:
                self._open.append(await loop.create_server(self._secured(), sock=passed))

    def close(self) -> None:
        """Accept no more connections, and remove the sockets."""
        for listener in self._open:
            listener.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._server.pre_shutdown()


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody serves. Raises SystemFault when somebody does, and when it is no socket."""
    if path.exists() and not path.is_socket():
        raise SystemFault(f"cannot listen on {path}: it is there, and is no socket")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(str(path))
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            path.unlink()
            return
        raise SystemFault(f"cannot listen on {path}: {reason(error)}") from error
    else:
        raise SystemFault(f"cannot listen on {path}: another engine serves it")
    finally:
        probe.close()
