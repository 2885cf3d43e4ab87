"""The project's metadata is complete, its version has one source, and every package has a tested version."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from tests.support.engine import REPOSITORY

import darse

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    Requirement(text)
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in texts
]
LINES = (REPOSITORY / "constraints.txt").read_text().splitlines()
CONSTRAINTS: dict[str, str] = dict(line.split("==") for line in LINES if not line.startswith("#"))


def canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_version_is_written_once() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert importlib.metadata.version("darse") == darse.__version__


def test_the_metadata_is_complete() -> None:
    assert {"authors", "keywords", "classifiers", "description", "readme"} <= PROJECT.keys()
    assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert (REPOSITORY / "LICENSE").exists()


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_every_requirement_has_a_tested_version(requirement: Requirement) -> None:
    tested = {canonical(name): version for name, version in CONSTRAINTS.items()}
    assert tested[canonical(requirement.name)] in requirement.specifier, "run `make constraints`"


@pytest.mark.parametrize("name", sorted(CONSTRAINTS))
def test_the_installed_version_is_the_tested_one(name: str) -> None:
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed: this Python does not need it")
    assert installed == CONSTRAINTS[name]
