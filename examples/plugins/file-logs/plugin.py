"""A log driver: it writes lines of containers as JSON, a file `ID.jsonl` for each container, and gives them back.

The protocol is https://docs.docker.com/engine/extend/plugins_logging/: for each container a fifo with entries, each a
length of four bytes and a protobuf message (source = 1, time_nano = 2, line = 3, partial = 4).
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socketserver
import struct
import threading
from pathlib import Path

SOCKET = "/run/docker/plugins/logs.sock"
LOGS = Path("/logs")


def number(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and where the next field begins."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def entry(data: bytes) -> dict:
    """The fields of an entry."""
    found: dict[int, object] = {}
    at = 0
    while at < len(data):
        key, at = number(data, at)
        value, at = number(data, at)
        if key & 7 == 2:
            found[key >> 3], at = data[at : at + value], at + value
        else:
            found[key >> 3] = value
    line = bytes(found.get(3, b"")).decode(errors="replace")
    return {"stream": bytes(found.get(1, b"")).decode(), "time": found.get(2, 0), "log": line, "partial": 4 in found}


def varint(value: int) -> bytes:
    """The other way."""
    out = b""
    while value > 127:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


def encoded(one: dict) -> bytes:
    """An entry with its length."""
    stream, line = one["stream"].encode(), one["log"].encode()
    data = b"\x0a" + varint(len(stream)) + stream + b"\x10" + varint(one["time"]) + b"\x1a" + varint(len(line)) + line
    data += b"\x20\x01" if one["partial"] else b""
    return struct.pack(">I", len(data)) + data


def exactly(file: object, size: int) -> bytes:
    """So many bytes; fewer at the end."""
    data = b""
    while len(data) < size and (more := file.read(size - len(data))):  # type: ignore[attr-defined]
        data += more
    return data


def follow(fifo: str, container: str) -> None:
    """Write down what comes, until the engine closes the fifo."""
    with open(fifo, "rb", buffering=0) as source, open(LOGS / f"{container}.jsonl", "a") as target:
        while head := exactly(source, 4):
            target.write(json.dumps(entry(exactly(source, *struct.unpack(">I", head)))) + "\n")
            target.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    """A call: POST with JSON."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        method = self.path.rpartition(".")[2]
        answer: dict = {"Implements": ["LogDriver"]} if method == "Activate" else {}
        if method == "StartLogging":
            arguments = (body["File"], body["Info"]["ContainerID"])
            threading.Thread(target=follow, args=arguments, daemon=True).start()
        elif method == "Capabilities":
            answer = {"Cap": {"ReadLogs": True}}
        data = json.dumps(answer).encode()
        if method == "ReadLogs":
            data = self.lines(body["Info"]["ContainerID"], body.get("Config", {}).get("Tail", -1))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @staticmethod
    def lines(container: str, tail: int) -> bytes:
        """What was written of a container."""
        file = LOGS / f"{container}.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        chosen = lines if tail < 0 else lines[len(lines) - tail :] if tail else []
        return b"".join(encoded(json.loads(line)) for line in chosen)

    def address_string(self) -> str:
        return "engine"


# The first process of a container is not ended by signals that it does not know.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Path(SOCKET).unlink(missing_ok=True)
socketserver.ThreadingUnixStreamServer(SOCKET, Handler).serve_forever()
