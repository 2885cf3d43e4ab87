"""Docker Hub in miniature: a registry with the catalogue's images, and an engine that has it as its mirror.

def test_something(hub_cli):                       # each of the two commands, on that engine
    hub_cli("run", "-d", "--name", "web", "nginx").ok()

Names are the Hub's (`nginx`, `python:3.9-slim`), and no request leaves the machine for those that are in the catalogue.
The small images are always there; the others are built when they are asked for: `hub.provide("postgres")`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.catalog.catalogue import Catalogue
from tests.support.engine import Engine
from tests.support.registry import PROGRAM, Registry


class Hub:
    """The registry, its images, and the engine that they are pulled by."""

    def __init__(self) -> None:
        """Have the small images, building those that are not in the cache; nothing runs yet."""
        if PROGRAM is None:
            pytest.skip("docker-registry is not installed (Debian package)")
        if shutil.which("mmdebstrap") is None:
            pytest.skip("mmdebstrap is not installed (Debian package)")
        self.catalogue = Catalogue()
        self.catalogue.provide()
        self.registry = Registry(self.catalogue.storage, read_only=True)
        self.engine = Engine()

    def start(self) -> None:
        """Start the registry and the engine."""
        self.registry.start()
        self.engine.flags = ("--registry-mirror", self.registry.url)
        self.engine.up()

    def close(self) -> None:
        """Stop both; asserts that nothing is left of the engine."""
        try:
            self.engine.close()
        finally:
            self.registry.close()

    def provide(self, *images: str) -> None:
        """Have images of the catalogue that are not small (`postgres`); minutes when they are not in the cache."""
        self.catalogue.provide(*images)

    def archive(self, name: str, directory: Path) -> Path:
        """An image (`nginx:alpine`) as an archive of an OCI layout, to be loaded, in a directory."""
        path = directory / f"{name.replace(':', '-')}.tar"
        self.catalogue.layout.archive(name, path)
        return path

    def have(self, *names: str) -> None:
        """Have images in the engine, without pulling them: for tests whose subject is another."""
        with tempfile.TemporaryDirectory() as directory:
            for name in names:
                if self.engine.api("GET", f"/images/{name}/json").status != 200:
                    self.engine.docker("load", "-q", "-i", str(self.archive(name, Path(directory)))).ok()

    def remove_images(self) -> None:
        """Remove all images from the engine, so that what is run next is pulled."""
        for image in self.engine.api("GET", "/images/json?all=1").json():
            gone = self.engine.api("DELETE", f"/images/{image['Id']}?force=1")
            assert gone.status in (200, 404), (image["RepoTags"], gone.status, gone.body)
