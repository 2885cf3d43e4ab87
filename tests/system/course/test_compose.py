"""A Docker course's chapter on Compose: its file, completed as its exercise asks, with both names of the command.

The two images of the course that no public registry has are built by stand-ins: a directory server that answers on its
port, and an identity provider that needs its database.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.files import write_files
from tests.support.hub import Hub
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1200)]
DARSE = Path(sys.executable).with_name("darse")
# The course's file as it stands there; `nginx` and `flask` are what its exercise asks for.
COURSE = """\
version: "3"

volumes:
  authdata:

services:
  ldap-server:
    image: rg.fr-par.scw.cloud/ecollab/ldap:latest
    build: ./images/ldap
    container_name: ldap-server
    restart: unless-stopped
    environment:
      - LDAP_ORGANISATION=cenotelie
      - LDAP_DOMAIN=cenotelie.org
      - LDAP_ADMIN_PASSWORD=eCollab

  keycloak-postgres:
    image: postgres:alpine
    container_name: keycloak-postgres
    restart: unless-stopped
    environment:
      - POSTGRES_USER=keycloak
      - POSTGRES_PASSWORD=keycloak
      - POSTGRES_DB=keycloak
    volumes:
      - authdata:/var/lib/postgresql/data

  keycloak:
    image: rg.fr-par.scw.cloud/ecollab/keycloak:latest
    build: ./images/keycloak
    container_name: keycloak
    environment:
      - DB_VENDOR=POSTGRES
      - DB_ADDR=keycloak-postgres
      - DB_DATABASE=keycloak
      - DB_USER=keycloak
      - DB_SCHEMA=public
      - DB_PASSWORD=keycloak
      - PROXY_ADDRESS_FORWARDING=true
    restart: unless-stopped
    depends_on:
      - nginx
      - keycloak-postgres
      - ldap-server

  nginx:
    build: ./images/nginx
    restart: unless-stopped
    ports:
      - "127.0.0.1::80"
    depends_on:
      - flask

  flask:
    build: ./images/flask
    restart: unless-stopped
"""
_SERVER = """\
import http.server
import os
import socket

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = answer().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        print("GET", self.path, flush=True)

"""
_FLASK = _SERVER + 'def answer():\n    return "<h1>Hello from Flask and Docker</h1>"\n\n'
_KEYCLOAK = (
    _SERVER
    + """\
def answer():
    with socket.create_connection((os.environ["DB_ADDR"], 5432), 5):
        pass
    with socket.create_connection(("ldap-server", 389), 5):
        return f"{os.environ['DB_VENDOR']} {os.environ['DB_DATABASE']}"

"""
)
_LDAP = _SERVER + 'def answer():\n    return os.environ["LDAP_DOMAIN"]\n\n'
_PROXY = "server { listen 80; location / { proxy_pass http://flask:5000; } }\n"


def _python(port: int) -> str:
    return f'FROM python:3.9-slim\nCOPY server.py /\nEXPOSE {port}\nSTOPSIGNAL SIGKILL\nCMD ["python3", "/server.py"]\n'


def _serves(text: str, port: int) -> str:
    return f'{text}http.server.ThreadingHTTPServer(("", {port}), Handler).serve_forever()\n'


PROJECT = {
    "docker-compose.yml": COURSE,
    "images/ldap/Dockerfile": _python(389),
    "images/ldap/server.py": _serves(_LDAP, 389),
    "images/keycloak/Dockerfile": _python(8080),
    "images/keycloak/server.py": _serves(_KEYCLOAK, 8080),
    "images/flask/Dockerfile": _python(5000),
    "images/flask/server.py": _serves(_FLASK, 5000),
    "images/nginx/Dockerfile": "FROM nginx:latest\nCOPY default.conf /etc/nginx/conf.d/default.conf\n",
    "images/nginx/default.conf": _PROXY,
}
WORDPRESS = """\
version: "3"
services:
  db:
    image: mysql:5.7
    restart: always
    environment:
      MYSQL_ROOT_PASSWORD: somewordpress
      MYSQL_DATABASE: wordpress
      MYSQL_USER: wordpress
      MYSQL_PASSWORD: wordpress
    volumes:
      - db-data:/var/lib/mysql
  wordpress:
    image: wordpress:latest
    depends_on:
      - db
    restart: always
    ports:
      - "127.0.0.1::80"
    environment:
      WORDPRESS_DB_HOST: db:3306
      WORDPRESS_DB_USER: wordpress
      WORDPRESS_DB_PASSWORD: wordpress
volumes:
  db-data:
"""
SERVICES = ["flask", "keycloak", "keycloak-postgres", "ldap-server", "nginx"]
Run = Callable[..., str]


@pytest.fixture(params=["docker-compose", "darse compose"])
def compose(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path) -> Iterator[Run]:
    """The command in the project's directory, which is named as the course's."""
    project = tmp_path / "ecollab"
    project.mkdir()
    (tmp_path / "docker-compose").symlink_to(DARSE)
    environment = {**os.environ, "DARSE_HOST": hub.engine.host, "DOCKER_CONFIG": str(tmp_path / "config")}
    command = [str(tmp_path / "docker-compose")] if request.param == "docker-compose" else [str(DARSE), "compose"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*command, *words],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stderr}{done.stdout}"
        return done.stdout

    yield run
    hub.engine.remove_all()
    for image in hub.engine.api("GET", "/images/json").json():
        for name in image["RepoTags"] or ():
            if name.startswith(("ecollab-", "rg.fr-par.scw.cloud/")):
                hub.engine.api("DELETE", f"/images/{name}?force=1")


def get(url: str) -> str:
    """A page, or "" while nobody answers with one."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError):
        return ""


def test_the_file_of_the_course(hub: Hub, compose: Run, tmp_path: Path) -> None:
    hub.provide("postgres")
    hub.have("postgres:latest", "python:3.9-slim", "nginx:latest")
    assert hub.engine.api("POST", "/images/postgres:latest/tag?repo=postgres&tag=alpine").status == 201
    write_files(tmp_path / "ecollab", PROJECT)
    compose("up", "-d")
    assert sorted(compose("ps", "--services").split()) == SERVICES
    table = compose("ps")
    assert all(name in table for name in ("ldap-server", "keycloak-postgres", "ecollab-nginx-1", "0/tcp", "->80/tcp"))
    ask = ("exec", "-T", "keycloak", "python3", "-c")
    wait_until(
        lambda: "POSTGRES keycloak" in compose(*ask, f"{_TRY}print(get('http://localhost:8080/'))"), 120, "keycloak"
    )
    address = compose("port", "nginx", "80").strip()
    wait_until(lambda: "Hello from Flask and Docker" in get(f"http://{address}/"), 60, "flask behind nginx")
    assert "GET /" in compose("logs", "flask")
    psql = ("exec", "-T", "keycloak-postgres", "psql", "-U", "keycloak", "-c")
    compose(*psql, "CREATE TABLE realm (name text)")
    # The contents of the volume, the list of services, and one that is stopped.
    listing = hub.engine.docker("run", "--rm", "-v", "ecollab_authdata:/data", "builtin/busybox", "ls", "/data").ok()
    assert "PG_VERSION" in listing.out
    assert compose("volumes", "-q") == "ecollab_authdata\n"
    compose("stop", "nginx")
    assert sorted(compose("ps", "--services").split()) == [name for name in SERVICES if name != "nginx"]
    assert get(f"http://{address}/") == ""
    assert compose("ps", "-a", "--status", "exited", "--services") == "nginx\n"
    before = compose("ps", "-a", "-q")
    compose("up", "-d")
    assert compose("ps", "-a", "-q") == before
    # What is in the volume outlives `down`.
    compose("down")
    assert compose("ps", "-a", "-q") == ""
    compose("up", "-d", "keycloak-postgres")
    wait_until(lambda: "realm" in _tolerant(compose, *psql, r"\dt"), 120, "the table")
    compose("down", "-v")
    assert "ecollab_authdata" not in hub.engine.docker("volume", "ls", "-q").ok().out


# Prints the empty string while nobody answers.
_TRY = """
import urllib.request
def get(url):
    try:
        return urllib.request.urlopen(url, timeout=5).read().decode()
    except OSError:
        return ''
"""


def _tolerant(compose: Run, *words: str) -> str:
    try:
        return compose(*words)
    except AssertionError:
        return ""  # the server has not started yet


def test_wordpress_by_file(hub: Hub, compose: Run, tmp_path: Path) -> None:
    hub.provide("mysql", "wordpress")
    hub.have("mysql:5.7", "wordpress:latest")
    write_files(tmp_path / "ecollab", {"docker-compose.yml": WORDPRESS})
    compose("up", "-d")
    address = compose("port", "wordpress", "80").strip()
    installing = f"http://{address}/wp-admin/install.php"
    wait_until(lambda: "WordPress" in get(installing), 180, "WordPress")
    assert sorted(compose("ps", "--services").split()) == ["db", "wordpress"]
    listing = hub.engine.docker("run", "--rm", "-v", "ecollab_db-data:/data", "builtin/busybox", "ls", "/data").ok()
    assert "wordpress" in listing.out.split()
    compose("restart", "wordpress")
    restarted = f"http://{compose('port', 'wordpress', '80').strip()}/wp-admin/install.php"
    wait_until(lambda: "WordPress" in get(restarted), 180, "WordPress")
    compose("down", "-v")
    assert hub.engine.docker("volume", "ls", "-q").ok().out == ""
