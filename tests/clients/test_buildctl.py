"""`buildctl`, BuildKit's own client, unmodified, straight on the engine's socket: HTTP/2 from the first byte on.

`make clients` builds it, where Go is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.clients.test_buildx_build import BASE
from tests.support.clients import found
from tests.support.engine import Engine
from tests.support.registry import Registry, needs_registry
from tests.support.ssh import key, needs_ssh, with_ssh_add

__all__ = ["key"]

BUILDCTL = found("buildctl")
pytestmark = pytest.mark.skipif(BUILDCTL is None, reason="buildctl is not there (make clients)")
Done = subprocess.CompletedProcess[str]


class Project:
    """A directory with a Dockerfile."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine = engine
        self.root = root
        self.context = root / "context"
        self.context.mkdir()

    def write(self, dockerfile: str, **files: str) -> None:
        (self.context / "Dockerfile").write_text(dockerfile)
        for name, content in files.items():
            (self.context / name).write_text(content)

    def buildctl(self, *arguments: str, status: int = 0) -> Done:
        command = [str(BUILDCTL), "--addr", self.engine.host, *arguments]
        environment = {**os.environ, "HOME": str(self.root), "DOCKER_CONFIG": str(self.root)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert done.returncode == status, done.stderr
        return done

    def build(self, *arguments: str, status: int = 0) -> Done:
        locals_ = ("--local", f"context={self.context}", "--local", f"dockerfile={self.context}")
        words = ("--progress", "plain", "--frontend", "dockerfile.v0", *locals_, *arguments)
        return self.buildctl("build", *words, status=status)

    def run(self, image: str, *command: str) -> str:
        return self.engine.docker("run", "--rm", image, *command).ok().out


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Project:
    return Project(engine, tmp_path)


def test_an_image_is_built_and_named(project: Project) -> None:
    project.write(
        f"FROM {BASE} AS one\nARG WHO\nRUN --mount=type=secret,id=key cat /run/secrets/key > /key; echo $WHO > /who\n"
        "FROM one\nRUN false\n",
        secret="confidential",
    )
    metadata = project.root / "metadata"
    secret = ("--secret", f"id=key,src={project.context / 'secret'}")
    options = ("--opt", "target=one", "--opt", "build-arg:WHO=me", "--metadata-file", str(metadata))
    built = project.build(*options, *secret, "--output", "type=image,name=ctl:1")
    assert "DONE" in built.stderr
    assert project.run("ctl:1", "cat", "/key", "/who") == "confidentialme\n"
    told = json.loads(metadata.read_text())
    assert told["image.name"] == "docker.io/library/ctl:1"
    assert told["containerimage.digest"].startswith("sha256:")


def test_results_come_to_the_client(project: Project) -> None:
    project.write("FROM scratch\nCOPY file /d/file\n", file="1")
    out, archive = project.root / "out", project.root / "out.tar"
    project.build("--output", f"type=local,dest={out}", "--output", f"type=tar,dest={archive}")
    assert (out / "d" / "file").read_text() == "1"
    with tarfile.open(archive) as opened:
        assert opened.getnames() == ["d", "d/file"]
    for kind in ("oci", "docker"):
        image = project.root / f"{kind}.tar"
        project.build("--output", f"type={kind},name=ctl:{kind},dest={image}")
        assert f"ctl:{kind}" in project.engine.docker("load", "-i", str(image)).ok().out
        project.engine.docker("rmi", f"ctl:{kind}").ok()


def test_a_step_that_fails_shows_its_lines(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN exit 7\n")
    failed = project.build(status=1)
    assert "Dockerfile:2" in failed.stderr
    assert "   2 | >>> RUN exit 7" in failed.stderr
    assert "exit code: 7" in failed.stderr


def test_progress_as_json(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN echo said by a step\n")
    told = project.build("--no-cache", "--progress", "rawjson").stderr
    lines = [json.loads(line) for line in told.splitlines()]
    assert any("RUN echo said" in vertex["name"] for line in lines for vertex in line.get("vertexes") or ())


def test_a_cache_in_a_directory(project: Project) -> None:
    cache = project.root / "cache"
    project.write(f"FROM {BASE}\nRUN cat /proc/sys/kernel/random/uuid > /now\n")
    output = ("--output", "type=image,name=ctl:cached")
    project.build(*output, "--export-cache", f"type=local,dest={cache},mode=max")
    now = project.run("ctl:cached", "cat", "/now")
    project.engine.docker("rmi", "ctl:cached").ok()
    pruned = project.buildctl("prune", "--all").stdout
    assert "Total:" in pruned
    project.build(*output, "--import-cache", f"type=local,src={cache}")
    assert project.run("ctl:cached", "cat", "/now") == now


@needs_registry
def test_images_and_caches_in_a_registry(project: Project) -> None:
    with Registry() as registry:
        name, cache = f"{registry.address}/ctl/app:1", f"type=registry,ref={registry.address}/ctl/cache"
        project.write(f"FROM {BASE}\nRUN cat /proc/sys/kernel/random/uuid > /now\n")
        platforms = ("--opt", "platform=linux/amd64")
        project.build(
            *platforms, "--output", f"type=image,name={name},push=true", "--export-cache", f"{cache},mode=max"
        )
        now = project.run(name, "cat", "/now")
        project.engine.docker("rmi", name).ok()
        assert project.run(name, "cat", "/now") == now
        project.engine.docker("rmi", name).ok()
        project.buildctl("prune", "--all")
        project.build("--output", "type=image,name=ctl:2", "--import-cache", cache)
        assert project.run("ctl:2", "cat", "/now") == now


@needs_ssh
def test_agents_are_forwarded(project: Project, key: Path) -> None:
    with_ssh_add(project.context, f"FROM {BASE}\nCOPY ssh /\nRUN --mount=type=ssh ssh-add -L\n")
    assert "ssh-ed25519 AAAA" in project.build("--no-cache", "--ssh", f"default={key}").stderr


def test_the_cache_and_the_workers_are_listed(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN echo listed\n")
    project.build()
    assert "RUN echo listed" in project.buildctl("du", "--verbose").stdout
    workers = project.buildctl("debug", "workers", "--verbose").stdout
    assert "linux/amd64" in workers or "linux/arm64" in workers
    assert "org.mobyproject.buildkit.worker.executor" in workers
    assert "darse" in project.buildctl("debug", "info").stdout


def test_the_history_has_logs_and_attachments(project: Project) -> None:
    project.write(f"FROM {BASE}\nRUN echo said by a step\n")
    reference = project.root / "reference"
    project.build("--no-cache", "--ref-file", str(reference))
    build = reference.read_text()
    assert build in project.buildctl("debug", "histories").stdout
    logs = project.buildctl("debug", "logs", build)
    assert "said by a step" in logs.stdout + logs.stderr
    # Pinned builds stay where others go.
    project.build("--no-cache", "--ref-file", str(reference))
    pinned = reference.read_text()
    project.buildctl("debug", "ctl", "--pin", pinned)
    project.buildctl("prune-histories")
    listed = project.buildctl("debug", "histories").stdout
    assert build not in listed
    assert "*" in next(line for line in listed.splitlines() if pinned in line)
    project.buildctl("debug", "ctl", "--unpin", pinned)
    project.buildctl("prune-histories")
    assert pinned not in project.buildctl("debug", "histories").stdout
