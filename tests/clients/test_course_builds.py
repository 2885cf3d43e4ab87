"""The Dockerfile chapter of the course, verbatim, with packages that pip and npm really install.

Bases are the catalogue's. What the clients of this host need to reach their registries (variables, certificates) is put
into a base of the same name, so that the Dockerfiles stay as they are; steps run on the host's network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.engine import Client
from tests.support.files import write_files
from tests.support.hub import Hub
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_CLASSIC = {"DOCKER_BUILDKIT": "0"}
_PREFIXES = ("PIP_", "NPM_CONFIG_", "npm_config_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_FLASK = """\
#Dockerfile file
FROM python:3.8-slim-buster
LABEL description="My simple server"

WORKDIR /python-docker
COPY . .
RUN pip3 install -r requirements.txt
EXPOSE 5000
CMD ["python3", "-m", "flask", "run", "--host=0.0.0.0", "--port=5000"]
"""
_APP = """\
#app.py file
from flask import Flask

app = Flask(__name__)

@app.route('/')
def hello():
    return '<h1>Hello from Flask and Docker</h1>'

if __name__ == "__main__":
    app.run(debug=True)
"""
_NODE = """\
# Étape de build
FROM node:18 AS builder
WORKDIR /app
COPY package*.json ./
RUN npm install
COPY . .
RUN npm run build
# Étape de production
FROM nginx:alpine
COPY --from=builder /app/dist /usr/share/nginx/html
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]
"""
_PACKAGE = """\
{"name": "page", "version": "1.0.0", "private": true,
 "scripts": {"build": "esbuild src/main.js --bundle --outfile=dist/main.js && cp src/index.html dist/"},
 "dependencies": {"left-pad": "1.3.0"}, "devDependencies": {"esbuild": "0.21.5"}}
"""


def _base(client: Client, name: str, of: str, directory: Path) -> None:
    """Make a base with what this host's clients need; `of` is the catalogue's name for it."""
    directory.mkdir()
    lines = [f"FROM {of}"]
    if _CERTIFICATES.exists():
        shutil.copy(_CERTIFICATES, directory / "certificates")
        lines.append("COPY certificates /etc/ssl/certs/ca-certificates.crt")
        lines.append(f"ENV NODE_EXTRA_CA_CERTS={_CERTIFICATES} SSL_CERT_FILE={_CERTIFICATES}")
    for variable, value in sorted(os.environ.items()):
        if variable.startswith(_PREFIXES) and variable != "PIP_FIND_LINKS":
            lines.append(f'ENV {variable}="{value}"')
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    client("build", "-t", name, str(directory), env=_CLASSIC, timeout=600).ok()


def _needs(what: str, *command: str) -> None:
    """Skip where a package client of this host is missing, or reaches no registry."""
    if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{what} reaches no registry on this host")


def _answers(client: Client, image: str, port: int, words: str) -> None:
    """Run an image, and wait until it answers a request."""
    client("run", "-d", "--name", "course", image, timeout=300).ok()
    try:
        address = client("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "course").ok().line

        def answered() -> bool:
            command = ["curl", "-s", "--noproxy", "*", "--max-time", "5", f"http://{address}:{port}/"]
            return words in subprocess.run(command, capture_output=True, text=True, check=False).stdout

        wait_until(answered, 60, f"an answer of {image}")
    finally:
        client("rm", "-f", "course")


def test_the_flask_server(hub: Hub, tmp_path: Path) -> None:
    _needs("pip", sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path / "d"), "flask==2.2.2")
    docker = hub.engine.docker
    _base(docker, "python:3.8-slim-buster", "python:slim", tmp_path / "base")
    files = {"Dockerfile": _FLASK, "app.py": _APP, "requirements.txt": "flask==2.2.2\nwerkzeug==2.2.2\n"}
    project = write_files(tmp_path / "project", files)
    for client in (docker, hub.engine.darse):
        name = f"flask-{client.name}"
        client("build", "--network", "host", "-t", name, str(project), env=_CLASSIC, timeout=900).ok()
        _answers(client, name, 5000, "<h1>Hello from Flask and Docker</h1>")


def test_node_then_nginx(hub: Hub, tmp_path: Path) -> None:
    _needs("npm", "npm", "view", "esbuild@0.21.5", "version")
    hub.provide("node")
    docker = hub.engine.docker
    _base(docker, "node:18", "node:latest", tmp_path / "base")
    files = {
        "Dockerfile": _NODE,
        ".dockerignore": "node_modules\n",
        "package.json": _PACKAGE,
        "src/main.js": 'import pad from "left-pad";\ndocument.title = pad("bundled", 10);\n',
        "src/index.html": "<h1>Hello from the bundle</h1><script src=main.js></script>\n",
    }
    project = write_files(tmp_path / "project", files)
    for client in (docker, hub.engine.darse):
        name = f"page-{client.name}"
        client("build", "--network", "host", "-t", name, str(project), env=_CLASSIC, timeout=900).ok()
        _answers(client, name, 80, "Hello from the bundle")
        bundle = client("run", "--rm", name, "cat", "/usr/share/nginx/html/main.js", timeout=120).ok().out
        assert "bundled" in bundle
        assert "leftPad" in bundle
