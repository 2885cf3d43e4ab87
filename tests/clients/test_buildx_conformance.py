"""The conformance tables of builds through buildx: the same images as by `POST /build`, and the same errors."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.build_cases import Case, build, context_archive
from tests.support.clients import found
from tests.support.engine import Engine
from tests.system.build.conformance import configuration, errors, files, processes, stages, trees

BUILDX = found("docker-buildx")
pytestmark = pytest.mark.skipif(BUILDX is None, reason="docker buildx is not installed (make clients)")
_FLAGS = {"target": "--target", "dockerfile": "--file"}
_LISTS = {"buildargs": "--build-arg", "labels": "--label"}
_CASES = [
    pytest.param(case, id=f"{module.__name__.rpartition('.')[2]}: {case.name}")
    for module in (files, configuration, errors, processes, stages, trees)
    for case in module.CASES
    if case.options.keys() <= _FLAGS.keys() | _LISTS.keys() and not case.error.startswith("error reading ")
]
# What `POST /build` says in the classic builder's words.
_CLASSIC = ("returned a non-zero code", "Cannot locate specified Dockerfile")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine.start()
    made.docker("pull", "-q", "builtin/busybox").ok()
    yield made
    made.close()


def flags_of(case: Case, context: Path) -> list[str]:
    flags = []
    for name, value in case.options.items():
        if name in _LISTS:
            for key, given in json.loads(value).items():
                flags += [_LISTS[name], key if given is None else f"{key}={given}"]
        else:
            flags += [_FLAGS[name], str(context / value) if name == "dockerfile" else value]
    return flags


def facts(engine: Engine, image: str) -> dict[str, Any]:
    """An image but for times: those of images whose instructions change no file are the build's."""
    found = engine.api("GET", f"/images/{image}/json").json()
    lines = engine.api("GET", f"/images/{image}/history").json()
    return {
        **{name: found.get(name) for name in ("Architecture", "Author", "Config", "Os", "RootFS")},
        "history": [(one["CreatedBy"], one["Size"], one["Comment"]) for one in lines],
    }


@pytest.mark.parametrize("case", _CASES)
def test_a_dockerfile_comes_to_the_same(engine: Engine, case: Case, tmp_path: Path) -> None:
    plugins = tmp_path / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(str(BUILDX))
    context = tmp_path / "context"
    context.mkdir()
    with tarfile.open(fileobj=io.BytesIO(context_archive(case.dockerfile, case.context))) as archive:
        archive.extractall(context)
    classic = build(engine.api, case)
    built = engine.docker(
        *("buildx", "build", "--quiet", *flags_of(case, context), str(context)),
        env={"DOCKER_CONFIG": str(tmp_path / "config")},
    )
    if case.error:
        assert built.status != 0
        assert case.error in built.err or any(words in case.error for words in _CLASSIC)
    else:
        assert facts(engine, built.ok().line) == facts(engine, classic.image)
