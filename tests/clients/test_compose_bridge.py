"""`darse compose bridge`: images that make something else of a project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.compose import DARSE, OURS, Shop
from tests.support.engine import BUSYBOX, Engine
from tests.support.files import write_files

FILE = f"""
name: shop
services:
  web:
    image: {BUSYBOX}
    ports: ["8080:80"]
    secrets: [token]
secrets:
  token: {{file: ./token}}
"""
# What a transformation is: it reads /in, takes /templates, writes /out as the user who asked.
_TRANSFORMATION = f"""\
FROM {BUSYBOX}
LABEL com.docker.compose.bridge=transformation
COPY templates /templates
CMD ["sh", "-c", "cat /templates/head /in/compose.yaml >/out/made.yaml; id -u >/out/user; env >/out/env"]
"""


@pytest.fixture
def shop(one_engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    write_files(
        tmp_path, {"token": "a secret\n", "image/Dockerfile": _TRANSFORMATION, "image/templates/head": "# of it\n"}
    )
    shop = Shop(one_engine, tmp_path)
    shop.write(FILE)
    shop([DARSE], "build", "-q", "-t", "team/transformation", "image")
    yield shop
    one_engine.remove_all()
    one_engine.api("DELETE", "/images/team/transformation?force=1")


def test_a_project_is_converted(shop: Shop) -> None:
    shop(OURS, "bridge", "convert", "-t", "team/transformation", "-o", "made")
    made = shop.directory / "made"
    text = (made / "made.yaml").read_text()
    assert text.startswith("# of it\nname: shop\n")
    # What the file leaves to others is in it: the ports, and what the secret is.
    assert 'expose:\n      - "80"\n' in text
    assert "content: |\n      a secret\n" in text
    assert (made / "user").read_text() == "0\n"
    assert "LICENSE_AGREEMENT=true\n" in (made / "env").read_text()
    assert shop.containers() == []
    # What is there already is not removed unasked.
    failed = shop.run(OURS, "bridge", "convert", "-t", "team/transformation", "-o", "made")
    assert (failed.returncode, "was not confirmed" in failed.stderr) == (1, True)
    assert (made / "made.yaml").exists()
    (made / "old").touch()
    write_files(shop.directory, {"own/head": "# of mine\n"})
    shop(OURS, "bridge", "convert", "-t", "team/transformation", "-o", "made", "-y", "--templates", "own")
    assert (made / "made.yaml").read_text().startswith("# of mine\n")
    assert not (made / "old").exists()


def test_a_transformation_that_fails(shop: Shop) -> None:
    text = _TRANSFORMATION.replace("cat /templates", "exit 4; cat /templates")
    (shop.directory / "image/Dockerfile").write_text(text)
    shop([DARSE], "build", "-q", "-t", "team/transformation", "image")
    failed = shop.run(OURS, "bridge", "convert", "-t", "team/transformation", "-o", "made")
    assert (failed.returncode, "the transformation ended with 4" in failed.stderr) == (1, True), failed.stderr


def test_transformations(shop: Shop) -> None:
    assert shop(OURS, "bridge", "transformations", "list", "-q") == "team/transformation:latest\n"
    assert "team/transformation" in shop(OURS, "bridge", "transformations", "ls")
    (found,) = json.loads(shop(OURS, "bridge", "transformations", "ls", "--format", "json"))
    assert found["RepoTags"] == ["team/transformation:latest"]
    shop(OURS, "bridge", "transformations", "create", "--from", "team/transformation", "mine")
    assert (shop.directory / "mine/templates/head").read_text() == "# of it\n"
    assert "COPY templates /templates" in (shop.directory / "mine/Dockerfile").read_text()
    assert shop.containers() == []
    failed = shop.run(OURS, "bridge", "transformations", "create", "--from", "team/transformation", "mine")
    assert (failed.returncode, "already exists" in failed.stderr) == (1, True)
