"""A volume driver that does what files in /state say: it is run as a managed plugin, and by no test itself.

/state/calls      a line of JSON for each call, when it comes: [method, body]
/state/hang.M     a fifo: method M is not answered before somebody has opened it for writing
/state/die.M      the file is removed, and the plugin ends, within method M
/state/answer.M   what is answered to method M instead
/state/within.M   paths of the engine's API, one a line, that are asked for within method M; the answers' statuses are
                  written to /state/seen
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import socket
import socketserver
import threading
from pathlib import Path

SOCKET = Path("/run/docker/plugins/obedient.sock")
STATE, MOUNTED = Path("/state"), Path("/mnt/volumes")
LOCK = threading.Lock()


class Engine(http.client.HTTPConnection):
    """The engine, asked by its plugin."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect("/engine/darse.sock")


def obey(method: str) -> None:
    """Do what is asked for within a method."""
    if (STATE / f"hang.{method}").is_fifo():
        (STATE / f"hang.{method}").read_bytes()
    if (STATE / f"die.{method}").exists():
        (STATE / f"die.{method}").unlink()
        os._exit(1)
    if (STATE / f"within.{method}").exists():
        seen = []
        for line in (STATE / f"within.{method}").read_text().splitlines():
            engine = Engine("engine")
            engine.request("GET", line)
            seen.append(engine.getresponse().status)
        (STATE / "seen").write_text(json.dumps(seen))


def answer(method: str, body: dict) -> dict:
    """What a driver of directories answers."""
    name = body.get("Name", "")
    place = MOUNTED / name
    if method == "Create":
        place.mkdir(exist_ok=True)
    elif method == "Remove":
        place.rename(MOUNTED / f".removed-{name}")
    elif method == "Mount":
        return {"Mountpoint": str(place)}
    elif method == "Get":
        return {"Volume": {"Name": name, "Mountpoint": str(place)}} if place.is_dir() else {"Err": "no such volume"}
    elif method == "List":
        return {"Volumes": [{"Name": one.name} for one in MOUNTED.iterdir() if not one.name.startswith(".")]}
    elif method == "Capabilities":
        return {"Capabilities": {"Scope": "local"}}
    return {}


class Handler(http.server.BaseHTTPRequestHandler):
    """One call."""

    def do_POST(self) -> None:
        kind, _, method = self.path.lstrip("/").partition(".")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with LOCK, (STATE / "calls").open("a") as calls:
            calls.write(json.dumps([method, body]) + "\n")
        obey(method)
        instead = STATE / f"answer.{method}"
        if instead.exists():
            data = instead.read_bytes()
        else:
            data = json.dumps({"Implements": ["VolumeDriver"]} if kind == "Plugin" else answer(method, body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "engine"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    SOCKET.unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(str(SOCKET), Handler)
    server.daemon_threads = True
    server.serve_forever()
