"""Plugins as dockerd knows them, in the test's own process: they can be made to hang, to lie and to fail."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socketserver
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar


class PluginServer:
    """Listens on a socket until `close`. A method `VolumeDriver.Create` is answered by `_create`, when there is one."""

    implements: ClassVar[Sequence[str]] = ()

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.calls: list[tuple[str, dict[str, Any]]] = []
        #: What it answers instead, by method.
        self.answers: dict[str, dict[str, Any] | bytes] = {}
        #: Methods that are not answered before `released`.
        self.hanging: set[str] = set()
        self.released = threading.Event()
        #: For how many seconds at most.
        self.patience = 20.0
        #: What is done within a method, before it is answered.
        self.within: dict[str, Callable[[], object]] = {}
        self._server: socketserver.ThreadingUnixStreamServer | None = None
        self.listen()

    @property
    def methods(self) -> list[str]:
        """The methods that were called, in order."""
        return [method for method, _ in self.calls]

    def bodies(self, method: str) -> list[dict[str, Any]]:
        """What a method was called with, in order."""
        return [body for called, body in self.calls if called == method]

    def answer(self, method: str, body: dict[str, Any]) -> dict[str, Any] | bytes:
        """One call."""
        self.calls.append((method, body))
        if method in self.hanging:
            self.released.wait(self.patience)
        if method in self.within:
            self.within[method]()
        if method in self.answers:
            return self.answers[method]
        kind, _, name = method.partition(".")
        if kind == "Plugin":
            return {"Implements": list(self.implements)}
        found = getattr(self, re.sub(r"(?=[A-Z])", "_", name).lower(), None)
        return found(body) if found is not None else {}

    def listen(self) -> None:
        """Begin, or begin again after `stop`."""
        plugin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = plugin.answer(self.path.lstrip("/"), json.loads(body or b"{}"))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def get_request(self) -> tuple[Any, Any]:
                request, _ = super().get_request()
                return request, ("plugin", 0)

        self._server = Server(str(self.path), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """End, as one that is killed: its socket's file stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        """Stop, and let go of who waits."""
        self.released.set()
        self.stop()
        self.path.unlink(missing_ok=True)


class VolumePlugin(PluginServer):
    """Volumes that are directories, each mounted by its mount ids; it has no capabilities to tell of."""

    implements = ("VolumeDriver",)

    def __init__(self, path: Path, root: Path) -> None:
        self.root = root
        self.options: dict[str, dict[str, str]] = {}
        self.mounted: dict[str, str] = {}
        super().__init__(path)

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        (self.root / body["Name"]).mkdir(parents=True)
        self.options[body["Name"]] = body["Opts"]
        return {}

    def _get(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["Name"] not in self.options:
            return {"Err": f"no such volume: {body['Name']}"}
        status = {"mounts": len(self.mounted)}
        return {"Volume": {"Name": body["Name"], "Mountpoint": str(self.root / body["Name"]), "Status": status}}

    def _list(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"Volumes": [self._get({"Name": name})["Volume"] for name in self.options]}

    def _mount(self, body: dict[str, Any]) -> dict[str, Any]:
        self.mounted[body["ID"]] = body["Name"]
        return {"Mountpoint": str(self.root / body["Name"])}

    def _unmount(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["ID"] not in self.mounted:
            return {"Err": f"not mounted: {body['ID']}"}
        del self.mounted[body["ID"]]
        return {}

    def _remove(self, body: dict[str, Any]) -> dict[str, Any]:
        (self.root / body["Name"]).rename(self.root / f"removed-{len(self.calls)}")
        del self.options[body["Name"]]
        return {}


class AuthorizationPlugin(PluginServer):
    """Allows what `refuses` says nothing about: it gets the method and the URI, and the answer's status or None."""

    implements = ("authz",)

    def __init__(self, path: Path, refuses: Callable[[str, str, int | None], str] = lambda *_: "") -> None:
        self.refuses = refuses
        super().__init__(path)

    def _auth_z_req(self, body: dict[str, Any]) -> dict[str, Any]:
        message = self.refuses(body["RequestMethod"], body["RequestUri"], None)
        return {"Allow": not message, "Msg": message}

    def _auth_z_res(self, body: dict[str, Any]) -> dict[str, Any]:
        message = self.refuses(body["RequestMethod"], body["RequestUri"], body["ResponseStatusCode"])
        return {"Allow": not message, "Msg": message}


class LogPlugin(PluginServer):
    """Reads the logs of containers, each in a thread, as long as it is there."""

    implements = ("LogDriver",)

    def __init__(self, path: Path) -> None:
        #: The entries of each container, by field numbers.
        self.entries: dict[str, list[dict[int, Any]]] = {}
        self.told: dict[str, dict[str, Any]] = {}
        self.ended: list[str] = []
        self._open: dict[str, int] = {}
        #: What it reads at most before it pretends to die.
        self.most = 1 << 60
        super().__init__(path)

    def lines(self, container_id: str) -> list[bytes]:
        """The lines of a container."""
        return [entry.get(3, b"") for entry in self.entries.get(container_id, [])]

    def _start_logging(self, body: dict[str, Any]) -> dict[str, Any]:
        self.told[body["File"]] = body["Info"]
        threading.Thread(target=self._read, args=(body["File"], body["Info"]["ContainerID"]), daemon=True).start()
        return {}

    def _stop_logging(self, body: dict[str, Any]) -> dict[str, Any]:
        self.ended.append(body["File"])
        return {}

    def _capabilities(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"Cap": {"ReadLogs": True}}

    def _read_logs(self, body: dict[str, Any]) -> bytes:
        return b"".join(
            struct.pack(">I", len(data)) + data
            for data in (
                b"\x0a\x06stdout\x1a" + bytes((len(line) + 1,)) + line + b"\n"
                for line in self.lines(body["Info"]["ContainerID"])
            )
        )

    def _read(self, file: str, container_id: str) -> None:
        entries = self.entries.setdefault(container_id, [])
        with open(file, "rb", buffering=0) as fifo:
            while head := _exactly(fifo, 4):
                entries.append(_fields(_exactly(fifo, struct.unpack(">I", head)[0])))
                if sum(map(len, self.entries.values())) >= self.most:
                    return  # as one that is killed: the fifo is closed


def _exactly(file: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _fields(data: bytes) -> dict[int, Any]:
    """The fields of a protobuf message of numbers and bytes."""
    found: dict[int, Any] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        value: int | bytes = number()
        if key & 7 == 2:
            assert isinstance(value, int)
            value, at = data[at : at + value], at + value
        found[key >> 3] = value
    return found
