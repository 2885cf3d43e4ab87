"""The Dockerfile chapter of the course, verbatim, with packages that pip and npm really install.

Bases are the catalogue's, with what the clients of this host need to reach their registries.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.support.files import write_files
from tests.support.hub import Hub
from tests.support.package_clients import CLASSIC, check_answer, need, provide_base

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

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


def test_the_flask_server(hub: Hub, tmp_path: Path) -> None:
    need("pip", sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path / "d"), "flask==2.2.2")
    docker = hub.engine.docker
    provide_base(docker, "python:3.8-slim-buster", "python:slim", tmp_path / "base")
    files = {"Dockerfile": _FLASK, "app.py": _APP, "requirements.txt": "flask==2.2.2\nwerkzeug==2.2.2\n"}
    project = write_files(tmp_path / "project", files)
    for client in (docker, hub.engine.darse):
        name = f"flask-{client.name}"
        client("build", "--network", "host", "-t", name, str(project), env=CLASSIC, timeout=900).ok()
        check_answer(client, name, 5000, "<h1>Hello from Flask and Docker</h1>")


def test_node_then_nginx(hub: Hub, tmp_path: Path) -> None:
    need("npm", "npm", "view", "esbuild@0.21.5", "version")
    hub.provide("node")
    docker = hub.engine.docker
    provide_base(docker, "node:18", "node:latest", tmp_path / "base")
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
        client("build", "--network", "host", "-t", name, str(project), env=CLASSIC, timeout=900).ok()
        check_answer(client, name, 80, "Hello from the bundle")
        bundle = client("run", "--rm", name, "cat", "/usr/share/nginx/html/main.js", timeout=120).ok().out
        assert "bundled" in bundle
        assert "leftPad" in bundle
