"""Projects as people publish them, with the Dockerfiles that they usually have: they build, run and answer.

projects/<name>/ has each of them. Packages come from their registries (PyPI, npm, Go's proxy, Maven Central, Debian),
bases from the catalogue. docker's client builds a project from nothing; then our own command finds all of it in the
cache, and makes the same image.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.engine import Client
from tests.support.hub import Hub
from tests.support.package_clients import CLASSIC, check_answer, need, provide_base

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(2400)]

_PROJECTS = Path(__file__).parent / "projects"


@dataclass(frozen=True)
class Project:
    """One of them: the images of the catalogue that it needs, its bases, and what its server says."""

    name: str
    catalogue: tuple[str, ...]
    bases: tuple[str, ...]
    port: int
    words: str
    arguments: tuple[str, ...] = ()

    def build(self, client: Client, *arguments: str) -> str:
        """Build it as that client's image; return what was said."""
        done = client(
            *("build", "--network", "host", *self.arguments, *arguments),
            *("-t", f"{self.name}-{client.name}", str(_PROJECTS / self.name)),
            env=CLASSIC,
            timeout=1800,
        ).ok()
        return done.out + done.err


_PYTHON = Project(
    *("python-wheels", ("python",), ("python:3.11", "python:3.11-slim"), 8000),
    "<h1>wheels &amp; shop</h1><p>escaped by markupsafe._speedups, user 1500</p>",
)
_NODE = Project("node-bundle", ("node",), ("node:20",), 3000, "<h1>----node</h1> modules are bundled, user 1000")
_GO = Project(
    *("go-static", ("golang",), ("golang:1.19",), 8080),
    "static 2.1.0 1f241aa9-321d-5e30-9a30-b0b5d6efd0b1, user 65534",
    ("--build-arg", "VERSION=2.1.0"),
)
_JAVA = Project(
    *("java-maven", ("maven", "eclipse-temurin"), ("maven:3-eclipse-temurin-17", "eclipse-temurin:17-jre"), 8080),
    '{"made by":"maven"}',
)
_DEBIAN = Project("debian-package", (), ("debian:bookworm-slim",), 8080, "<h1>installed by dpkg</h1>")


def _works(hub: Hub, project: Project, directory: Path) -> None:
    """Build it with each client, run it, and ask its server."""
    if project.catalogue:
        hub.provide(*project.catalogue)
    docker, darse = hub.engine.docker, hub.engine.darse
    for number, base in enumerate(project.bases):
        provide_base(docker, base, base, directory / f"base{number}")
    project.build(docker, "--no-cache")
    check_answer(docker, f"{project.name}-docker", project.port, project.words)
    project.build(darse)
    identifiers = {
        client("image", "inspect", "-f", "{{.Id}}", f"{project.name}-{client.name}").ok().line
        for client in (docker, darse)
    }
    assert len(identifiers) == 1, identifiers


def test_python_with_wheels_that_are_built(hub: Hub, tmp_path: Path) -> None:
    directory = str(tmp_path / "d")
    need("pip", sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory, "markupsafe==2.1.5")
    _works(hub, _PYTHON, tmp_path)
    files = hub.engine.docker("run", "--rm", "--entrypoint", "ls", "python-wheels-docker", "/").ok().out.split()
    assert "wheels" not in files
    compiler = hub.engine.docker("run", "--rm", "--entrypoint", "sh", "python-wheels-docker", "-c", "command -v gcc")
    assert compiler.status == 127


def test_node_with_a_bundler(hub: Hub, tmp_path: Path) -> None:
    need("npm", "npm", "view", "esbuild@0.21.5", "version")
    _works(hub, _NODE, tmp_path)


def test_go_static(hub: Hub, tmp_path: Path) -> None:
    need("Go", "go", "list", "-m", "-versions", "github.com/google/uuid@latest")
    _works(hub, _GO, tmp_path)
    inspected = hub.engine.docker("image", "inspect", "-f", "{{len .RootFS.Layers}}", "go-static-docker").ok().line
    assert inspected == "1"


def test_java_with_maven(hub: Hub, tmp_path: Path) -> None:
    asked = ("dependency:get", "-Dtransitive=false", "-Dartifact=com.google.code.gson:gson:2.10.1:pom")
    need("Maven", "mvn", "-B", "-q", f"-Dmaven.repo.local={tmp_path / 'm2'}", *asked)
    _works(hub, _JAVA, tmp_path)


def test_a_debian_package(hub: Hub, tmp_path: Path) -> None:
    need("apt", "apt-get", "--print-uris", "--download-only", "-y", "install", "hello")
    _works(hub, _DEBIAN, tmp_path)
    docker = hub.engine.docker
    listed = docker("run", "--rm", "debian-package-docker", "dpkg-query", "-W", "-f", "${Package} ${Status}", "shop")
    assert listed.ok().line == "shop install ok installed"
    stat = docker("run", "--rm", "debian-package-docker", "stat", "-c", "%U %a", "/etc/shop/lighttpd.conf")
    assert stat.ok().line == "root 644"
