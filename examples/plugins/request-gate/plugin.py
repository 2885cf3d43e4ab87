"""An authorization plugin: it refuses requests whose `METHOD:/path`, without the version, match one of REFUSE.

The protocol is https://docs.docker.com/engine/extend/plugins_authorization/.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socketserver
from pathlib import Path

SOCKET = "/run/docker/plugins/gate.sock"
REFUSED = [re.compile(pattern) for pattern in os.environ.get("REFUSE", "").split()]
VERSION = re.compile(r"^/v[0-9.]+(?=/)")


def verdict(asked: dict) -> dict:
    """Whether a request is let through."""
    path = VERSION.sub("", asked["RequestUri"].partition("?")[0])
    request = f"{asked['RequestMethod']}:{path}"
    for pattern in REFUSED:
        if pattern.fullmatch(request):
            return {"Allow": False, "Msg": f"{request} is refused by {pattern.pattern}"}
    return {"Allow": True, "Msg": ""}


class Handler(http.server.BaseHTTPRequestHandler):
    """A call: POST with JSON."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        answers = {
            "/Plugin.Activate": lambda: {"Implements": ["authz"]},
            "/AuthZPlugin.AuthZReq": lambda: verdict(body),
            # What was let through is answered.
            "/AuthZPlugin.AuthZRes": lambda: {"Allow": True, "Msg": ""},
        }
        data = json.dumps(answers.get(self.path, lambda: {"Err": f"unknown: {self.path}"})()).encode()
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
