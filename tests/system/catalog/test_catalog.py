"""The catalogue itself: what its images are, and that they are what real ones are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.catalog.catalogue import Catalogue
from tests.support.hub import Hub
from tests.support.waiting import wait_until


def test_the_hub_has_the_names_of_the_course(hub: Hub) -> None:
    assert {"library/nginx", "library/python", "library/ubuntu", "library/hello-world"} <= set(
        hub.registry.repositories()
    )
    assert {"latest", "1.23.4", "alpine"} <= set(hub.registry.tags("library/nginx"))
    assert "3.9-slim" in hub.registry.tags("library/python")


def test_images_share_their_layers(hub: Hub) -> None:
    layout = hub.catalogue.layout

    def stack(name: str) -> list[str]:
        target = layout.document(layout.names()[name]["digest"])
        manifest = layout.document(target["manifests"][-1]["digest"]) if "manifests" in target else target
        return [layer["digest"] for layer in manifest["layers"]]

    assert stack("nginx:latest")[0] == stack("ubuntu:latest")[0] == stack("debian:latest")[0]
    assert stack("nginx:latest")[:2] == stack("python:slim")[:2]
    assert len(stack("nginx:latest")) > 3


def test_an_image_loads_and_runs(hub: Hub, tmp_path: Path) -> None:
    archive = hub.archive("nginx:latest", tmp_path)
    hub.engine.docker("load", "-i", str(archive)).ok()
    hub.engine.docker("run", "-d", "--name", "web", "nginx").ok()
    wait_until(lambda: hub.engine.docker("exec", "web", "curl", "-fs", "http://localhost/").status == 0, 20, "nginx")
    page = hub.engine.docker("exec", "web", "curl", "-fs", "http://localhost/").ok().out
    assert "Welcome to nginx!" in page
    assert "GET / HTTP/1.1" in hub.engine.docker("logs", "web").ok().out


def test_what_is_there_is_not_built_again() -> None:
    said: list[str] = []
    catalogue = Catalogue(tell=said.append)
    catalogue.provide()
    said.clear()
    catalogue.provide()
    assert said == []


@pytest.mark.heavy
@pytest.mark.timeout(1200)
def test_the_same_input_gives_the_same_digests(tmp_path: Path) -> None:
    """Two builds from nothing; the packages may not change between them, of course."""
    found = []
    for name in ("first", "second"):
        catalogue = Catalogue(tmp_path / name)
        catalogue.provide()
        index = json.loads((catalogue.layout.directory / "index.json").read_bytes())
        found.append(
            {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index["manifests"]}
        )
    assert found[0] == found[1]
