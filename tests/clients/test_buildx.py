"""docker buildx, unmodified, for what needs no build: builders, and indexes in registries.

`make clients` builds it, where Go is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.clients import found
from tests.support.engine import Engine
from tests.support.registry import Registry, needs_registry
from tests.support.small_images import HOST, OTHER, Made, push_index, tar

BUILDX = found("docker-buildx")
pytestmark = [
    needs_registry,
    pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)"),
]


@pytest.fixture
def buildx(engine: Engine, tmp_path: Path) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        environment = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(tmp_path / "config")}
        done = subprocess.run(
            [str(BUILDX), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"buildx {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


def test_version(buildx: Callable[..., str]) -> None:
    assert buildx("version").startswith("github.com/docker/buildx")


def test_builders_are_listed(buildx: Callable[..., str]) -> None:
    """The engine is the builder."""
    (default,) = (one for one in map(json.loads, buildx("ls", "--format", "json").splitlines()) if one["Current"])
    assert (default["Name"], default["Driver"]) == ("default", "docker")
    assert [one["Status"] for one in default["Nodes"]] == ["running"]


def test_it_is_a_command_of_darse(engine: Engine, tmp_path: Path) -> None:
    directory = tmp_path / "config" / "cli-plugins"
    directory.mkdir(parents=True)
    (directory / "docker-buildx").symlink_to(str(BUILDX))
    darse = engine.darse
    darse.environment["DOCKER_CONFIG"] = str(tmp_path / "config")
    assert darse("buildx", "version").ok().out.startswith("github.com/docker/buildx")
    darse("buildx", "create", "--name", "made", "--driver", "docker-container").ok()
    assert "docker-container" in darse("buildx", "ls").ok().out
    darse("buildx", "rm", "made").ok()


def test_what_was_pushed_is_inspected(buildx: Callable[..., str], engine: Engine, registry: Registry) -> None:
    here, there = Made(tar({"here": b"1"})), Made(tar({"there": b"1"}), architecture=OTHER)
    index = push_index(registry.address, "from/both", "1", there, here)
    name, copy = f"{registry.address}/from/both:1", f"{registry.address}/to/both:1"
    for platform in (HOST, OTHER):
        engine.docker("pull", "-q", "--platform", f"linux/{platform}", name).ok()
    engine.docker("tag", name, copy).ok()
    engine.docker("push", "-q", copy).ok()
    assert json.loads(buildx("imagetools", "inspect", "--raw", copy)) == json.loads(index.content)
    seen = json.loads(buildx("imagetools", "inspect", "--format", "{{json .Manifest}}", copy))
    assert seen["digest"] == index.digest
    engine.docker("rmi", name, copy).ok()


def test_an_index_that_it_made_is_pulled(buildx: Callable[..., str], engine: Engine, registry: Registry) -> None:
    made = {architecture: Made(tar({architecture: b"1"}), architecture=architecture) for architecture in (HOST, OTHER)}
    for architecture, image in made.items():
        image.push(registry.address, "made/app", architecture)
    name = f"{registry.address}/made/app"
    buildx("imagetools", "create", "-t", f"{name}:all", *(f"{name}:{architecture}" for architecture in made))
    for architecture, image in made.items():
        engine.docker("pull", "-q", "--platform", f"linux/{architecture}", f"{name}:all").ok()
        which = ("--platform", f"linux/{architecture}", "--format", "{{.Id}}", f"{name}:all")
        assert engine.docker("image", "inspect", *which).ok().line == image.id
    engine.docker("rmi", f"{name}:all").ok()
