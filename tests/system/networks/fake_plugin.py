"""A network and IPAM plugin with bridges of its own, that can be made to hang, to lie and to fail."""

from __future__ import annotations

import contextlib
import http.server
import ipaddress
import json
import os
import re
import secrets
import socketserver
import subprocess
import threading
from pathlib import Path
from typing import Any


class FakePlugin:
    """Listens on a socket until `close`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.tag = secrets.token_hex(3)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        #: What it answers instead, by method.
        self.answers: dict[str, dict[str, Any]] = {}
        #: Methods that are not answered before `released`.
        self.hanging: set[str] = set()
        self.released = threading.Event()
        #: Of interfaces inside.
        self.prefix = "eth"
        self._next = 2
        self._last = ""
        self.leases: set[str] = set()
        self.endpoints: set[str] = set()
        self._links: set[str] = set()
        plugin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = json.dumps(plugin.answer(self.path.lstrip("/"), json.loads(body or b"{}"))).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def get_request(self) -> tuple[Any, Any]:
                request, _ = super().get_request()
                return request, ("plugin", 0)

        self._path = path
        self._server = Server(str(path), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def methods(self) -> list[str]:
        """The methods that were called, in order."""
        return [method for method, _ in self.calls]

    def answer(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call."""
        self.calls.append((method, body))
        if method in self.hanging:
            self.released.wait(20)
        if method in self.answers:
            return self.answers[method]
        kind, _, name = method.partition(".")
        if kind == "Plugin":
            return {"Implements": ["NetworkDriver", "IpamDriver"]}
        found = getattr(self, re.sub(r"(?=[A-Z])", "_", name).lower(), None)
        return found(body) if found is not None else {}

    def _bridge(self, network: str) -> str:
        return f"fp{self.tag}{network[:6]}"

    def _create_network(self, body: dict[str, Any]) -> dict[str, Any]:
        bridge = self._bridge(body["NetworkID"])
        _ip("link", "add", bridge, "type", "bridge")
        _ip("link", "set", bridge, "up")
        for pool in body["IPv4Data"]:
            _ip("address", "add", pool["Gateway"], "dev", bridge)
        return {}

    def _delete_network(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._bridge(body["NetworkID"]) not in os.listdir("/sys/class/net"):
            return {"Err": f"network {body['NetworkID']} not found"}
        _ip("link", "delete", self._bridge(body["NetworkID"]))
        return {}

    def _create_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        self.endpoints.add(body["EndpointID"])
        return {}

    def _delete_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        self.endpoints.discard(body["EndpointID"])
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "delete", f"fo{body['EndpointID'][:10]}")
        return {}

    def _join(self, body: dict[str, Any]) -> dict[str, Any]:
        outer, inner = f"fo{body['EndpointID'][:10]}", f"fi{body['EndpointID'][:10]}"
        self._links.add(outer)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _ip("link", "set", outer, "master", self._bridge(body["NetworkID"]), "up")
        routes = [{"Destination": "203.0.113.0/24", "RouteType": 1}]
        return {"InterfaceName": {"SrcName": inner, "DstPrefix": self.prefix}, "Gateway": "", "StaticRoutes": routes}

    def _get_default_address_spaces(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"LocalDefaultAddressSpace": "here", "GlobalDefaultAddressSpace": "everywhere"}

    def _request_pool(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"PoolID": f"pool-{self.tag}", "Pool": body["Pool"] or "10.251.7.0/24", "Data": {}}

    def _request_address(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("Options", {}).get("RequestAddressType"):
            address = "10.251.7.1"
        else:
            address = body["Address"] or str(ipaddress.IPv4Address("10.251.7.0") + self._next)
            self._next += 1
        self.leases.add(address)
        self._last = address
        return {"Address": f"{address}/24"}

    def _release_address(self, body: dict[str, Any]) -> dict[str, Any]:
        self.leases.discard(body["Address"])
        return {}

    def left(self) -> set[str]:
        """The endpoints, networks, links and leases that it has, but for leases whose answer nobody has heard."""
        links = set(os.listdir("/sys/class/net"))
        there = {name for name in links if name.startswith(f"fp{self.tag}") or name in self._links}
        return self.endpoints | (self.leases - self.unclaimed()) | there

    def unclaimed(self) -> set[str]:
        """The last address that was given: an engine that was killed then may not have it on record."""
        return {self._last} & self.leases

    def drop_unclaimed(self) -> None:
        """Have that lease no more."""
        self.leases -= self.unclaimed()

    def close(self) -> None:
        """Stop, and remove what is left of its bridges and links."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
        for name in os.listdir("/sys/class/net"):
            if name.startswith(f"fp{self.tag}") or name in self._links:
                _ip("link", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)
