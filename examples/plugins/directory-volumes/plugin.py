"""A volume driver: each volume is a directory below /state, mounted below /mnt/volumes while somebody needs it.

The protocol is https://docs.docker.com/engine/extend/plugins_volume/. What is mounted below the propagated directory
appears on the host. Who has mounted what is kept in a file, for a plugin may end at any time: a bind that is there
is not made again, and goes with its last user. A volume may be in a pool: `pool/volume` is the directory `pool%volume`.
"""

from __future__ import annotations

import ctypes
import http.server
import json
import os
import re
import shutil
import signal
import socketserver
import threading
from pathlib import Path

SOCKET = "/run/docker/plugins/directory.sock"
STATE, MOUNTED = Path("/state"), Path("/mnt/volumes")
NAME = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9_.-]*/)?[a-zA-Z0-9][a-zA-Z0-9_.-]*")
MS_BIND, MNT_DETACH = 4096, 2
LIBC = ctypes.CDLL(None, use_errno=True)
LOCK = threading.Lock()


class Refused(Exception):
    """The text is for the engine."""


def call(name: str, *arguments: object) -> None:
    """A function of the C library."""
    if getattr(LIBC, name)(*arguments) != 0:
        raise Refused(f"{name}: {os.strerror(ctypes.get_errno())}")


def is_mounted(target: Path) -> bool:
    """Whether something is mounted at a directory; a bind is on the same device as what it hides."""
    return str(target) in (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())


def below(place: Path, name: str) -> Path:
    """A volume's directory in a place."""
    return place / name.replace("/", "%")


class Volumes:
    """The volumes, and who has them mounted: ids by names."""

    def __init__(self) -> None:
        self.file = STATE / ".users.json"
        self.users = json.loads(self.file.read_text()) if self.file.exists() else {}

    def directory(self, name: str) -> Path:
        """Where a volume's files are. Raises Refused for one that is not there."""
        if not NAME.fullmatch(name) or not below(STATE, name).is_dir():
            raise Refused(f"no such volume: {name}")
        return below(STATE, name)

    def save(self) -> None:
        """Keep who has mounted what."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.users))
        new.rename(self.file)

    def create(self, body: dict) -> dict:
        """Make a volume; one that is there is fine."""
        if not NAME.fullmatch(body["Name"]):
            raise Refused(f"invalid name: {body['Name']}")
        below(STATE, body["Name"]).mkdir(mode=int(os.environ.get("MODE", "0755"), 8), exist_ok=True)
        return {}

    def remove(self, body: dict) -> dict:
        """Remove a volume that nobody has mounted."""
        if self.users.get(body["Name"]):
            raise Refused(f"volume {body['Name']} is mounted")
        shutil.rmtree(self.directory(body["Name"]))
        return {}

    def mount(self, body: dict) -> dict:
        """Bind a volume's directory, and count the user."""
        source, target = self.directory(body["Name"]), below(MOUNTED, body["Name"])
        target.mkdir(exist_ok=True)
        if not is_mounted(target):
            call("mount", bytes(source), bytes(target), b"none", MS_BIND, None)
        self.users[body["Name"]] = sorted({*self.users.get(body["Name"], ()), body["ID"]})
        self.save()
        return {"Mountpoint": str(target)}

    def unmount(self, body: dict) -> dict:
        """Drop a user, and the bind with the last one."""
        left = self.users[body["Name"]] = [one for one in self.users.get(body["Name"], ()) if one != body["ID"]]
        target = below(MOUNTED, body["Name"])
        if not left and is_mounted(target):
            call("umount2", bytes(target), MNT_DETACH)
        self.save()
        return {}

    def path(self, body: dict) -> dict:
        """Where a volume is mounted."""
        self.directory(body["Name"])
        return {"Mountpoint": str(below(MOUNTED, body["Name"])) if self.users.get(body["Name"]) else ""}

    def get(self, body: dict) -> dict:
        """One volume."""
        status = {"users": len(self.users.get(body["Name"], ()))}
        return {"Volume": {"Name": body["Name"], "Status": status, **self.path(body)}}

    def list(self, _: dict) -> dict:
        """All volumes."""
        names = sorted(one.name.replace("%", "/") for one in STATE.iterdir() if one.is_dir())
        return {"Volumes": [self.get({"Name": name})["Volume"] for name in names if NAME.fullmatch(name)]}

    def capabilities(self, _: dict) -> dict:
        """The directory is this host's."""
        return {"Capabilities": {"Scope": "local"}}


VOLUMES = Volumes()


class Handler(http.server.BaseHTTPRequestHandler):
    """A call: POST /VolumeDriver.METHOD with JSON."""

    def do_POST(self) -> None:
        kind, _, method = self.path.lstrip("/").partition(".")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        try:
            with LOCK:
                found = getattr(VOLUMES, method.lower(), None) if kind == "VolumeDriver" else None
                answer = found(body) if found else {"Implements": ["VolumeDriver"]}
        except (Refused, OSError) as error:
            answer = {"Err": str(error)}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "engine"


# The first process of a container is not ended by signals that it does not know.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Path(SOCKET).unlink(missing_ok=True)
socketserver.ThreadingUnixStreamServer(SOCKET, Handler).serve_forever()
