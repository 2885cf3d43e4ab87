"""The course's exercise on volumes: a React application is built over a shared folder, packaged, published, watched.

The project is small, and React, its bundler and all that they need come from npm by a lock file, as in the course's.
"""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from tests.support.engine import Client
from tests.support.files import write_files
from tests.support.hub import Hub
from tests.support.package_clients import CLASSIC, need, provide_base
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

_DOCKERFILE = "FROM nginx:alpine\nCOPY build /usr/share/nginx/html\nEXPOSE 80\n"
_FILES = {
    "Dockerfile": _DOCKERFILE,
    "package.json": json.dumps(
        {
            "name": "react-2048",
            "version": "1.0.0",
            "private": True,
            "scripts": {
                "build": "esbuild src/index.jsx --bundle --minify --outfile=build/index.js && cp src/index.html build/"
            },
            "dependencies": {"react": "18.3.1", "react-dom": "18.3.1"},
            "devDependencies": {"esbuild": "0.21.5"},
        }
    ),
    "src/index.jsx": """import React from "react";
import { createRoot } from "react-dom/client";
createRoot(document.getElementById("root")).render(<h1>Join the numbers to 2048</h1>);
""",
    "src/index.html": "<title>React 2048</title><div id=root></div><script src=index.js></script>\n",
}


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def test_the_react_exercise(hub: Hub, tmp_path: Path) -> None:
    need("npm", "npm", "view", "esbuild@0.21.5", "version")
    hub.provide("node")
    docker = hub.engine.docker
    provide_base(docker, "node:20-alpine", "node:latest", tmp_path / "base")
    port = 80 if _free(80) else 8080
    for client in (docker, hub.engine.darse):
        _build(client, write_files(tmp_path / client.name, _FILES))
        _publish(client, port)


def _build(client: Client, project: Path) -> None:
    node = ("run", "--rm", "--network", "host", "-v", f"{project}:/app", "-w", "/app", "node:20-alpine", "npm")
    # The course's project comes with a lock file, which `npm ci` insists on.
    client(*node, "install", "--package-lock-only", timeout=300).ok()
    client(*node, "ci", timeout=600).ok()
    client(*node, "run", "build", timeout=300).ok()
    assert "2048" in (project / "build/index.js").read_text()
    client("build", "-t", "react-2048", str(project), env=CLASSIC, timeout=300).ok()


def _publish(client: Client, port: int) -> None:
    health = ("--health-cmd", "wget -q -O /dev/null http://127.0.0.1/ || exit 1", "--health-interval", "1s")
    client("run", "-d", "--name", "game", "-p", f"{port}:80", *health, "react-2048").ok()
    try:
        wait_until(lambda: "React 2048" in _page(port), 60, "the page")
        assert "2048" in _page(port, "index.js")
        assert "GET /index.js" in client("logs", "game").ok().out
        status = ("inspect", "-f", "{{.State.Health.Status}}", "game")
        wait_until(lambda: client(*status).ok().line == "healthy", 60, "its health")
    finally:
        client("rm", "-f", "game")


def _page(port: int, path: str = "") -> str:
    command = ["curl", "-s", "--noproxy", "*", "--max-time", "5", f"http://127.0.0.1:{port}/{path}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
