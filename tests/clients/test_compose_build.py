"""`darse compose` builds: what services are made of, in the order in which they need each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.compose import OURS, THEIRS, Shop, needs_compose
from tests.support.engine import BUSYBOX, Engine
from tests.support.files import write_files

FILE = """
name: shop
services:
  web:
    build:
      context: .
      dockerfile: web.Dockerfile
      args: {GREETING: hello}
      additional_contexts: {base: "service:base"}
      secrets: [token]
    command: sleep 1000
    stop_grace_period: 0s
  base:
    build: {context: ., dockerfile_inline: "FROM BUSYBOX\\nRUN echo of base >/of-base\\n"}
    command: "true"
secrets:
  token: {environment: TOKEN}
""".replace("BUSYBOX", BUSYBOX)
DOCKERFILE = """\
FROM base
ARG GREETING
COPY page .
RUN --mount=type=secret,id=token echo $GREETING $(cat page /of-base /run/secrets/token) >/said
"""


@pytest.fixture
def shop(one_engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    write_files(tmp_path, {"web.Dockerfile": DOCKERFILE, "page": "a page\n", ".env": "TOKEN=secret\n"})
    shop = Shop(one_engine, tmp_path)
    shop.write(FILE)
    yield shop
    one_engine.remove_all()
    for image in images(one_engine):
        one_engine.api("DELETE", f"/images/{image}?force=1")


def images(engine: Engine) -> dict[str, dict[str, Any]]:
    found = engine.api("GET", "/images/json").json()
    return {name: one for one in found for name in one["RepoTags"] or () if name.startswith("shop-")}


def test_up_builds_what_is_missing_and_what_is_asked_for(shop: Shop) -> None:
    done = shop.run(OURS, "up", "-d", "web")
    assert done.returncode == 0, done.stderr
    assert "[web 3/3] RUN" in done.stderr.replace("[web stage-0 ", "[web "), done.stderr
    assert " web Built\n" in done.stderr
    assert shop(OURS, "exec", "-T", "web", "cat", "/said") == "hello a page of base secret\n"
    made = images(shop.engine)
    assert sorted(made) == ["shop-base:latest", "shop-web:latest"]
    labels = made["shop-web:latest"]["Labels"]
    assert (labels["com.docker.compose.project"], labels["com.docker.compose.service"]) == ("shop", "web")
    before = shop.ids()
    shop(OURS, "up", "-d", "--build", "web")
    assert shop.ids() == before
    (shop.directory / "page").write_text("another\n")
    shop(OURS, "up", "-d", "web")
    assert shop.ids() == before
    shop(OURS, "up", "-d", "--build", "web")
    assert shop.ids() != before
    assert shop(OURS, "exec", "-T", "web", "cat", "/said") == "hello another of base secret\n"


def test_run_and_create_build_what_is_missing(shop: Shop) -> None:
    assert shop(OURS, "run", "--rm", "-T", "web", "cat", "/said") == "hello a page of base secret\n"
    shop(OURS, "create", "base")
    failed = shop.run(OURS, "up", "-d", "--no-build")
    assert failed.returncode == 0, failed.stderr


def test_no_build(shop: Shop) -> None:
    failed = shop.run(OURS, "up", "-d", "--no-build", "web")
    assert (failed.returncode, "services.web: its image is not there" in failed.stderr) == (1, True), failed.stderr
    failed = shop.run(OURS, "--dry-run", "build")
    assert (failed.returncode, images(shop.engine)) == (0, {})


def test_a_failed_build_names_the_line_and_begins_nothing(shop: Shop) -> None:
    (shop.directory / "web.Dockerfile").write_text("FROM base\nRUN exit 7\n")
    failed = shop.run(OURS, "up", "-d")
    assert failed.returncode == 1
    assert "exit code: 7" in failed.stderr, failed.stderr
    assert "2 | >>> RUN exit 7" in failed.stderr, failed.stderr
    assert shop.ids() == {}


def test_policy_build_and_flags_of_build(shop: Shop) -> None:
    shop.write(FILE.replace("    command: sleep 1000", "    pull_policy: build\n    command: sleep 1000"))
    shop(OURS, "up", "-d", "web")
    (shop.directory / "page").write_text("another\n")
    shop(OURS, "up", "-d", "web")
    assert shop(OURS, "exec", "-T", "web", "cat", "/said") == "hello another of base secret\n"
    shop(OURS, "--parallel", "1", "build", "--build-arg", "GREETING=bye", "--no-cache", "-q", "web")
    assert shop(OURS, "run", "--rm", "-T", "--no-deps", "base", "cat", "/of-base") == "of base\n"
    printed = json.loads(shop(OURS, "build", "--print", "web"))
    assert list(printed) == ["web", "base"]
    assert printed["web"][:2] == ["darse", "build"]


@needs_compose
def test_what_one_has_built_the_other_keeps(shop: Shop) -> None:
    shop.write(FILE.replace("      secrets: [token]\n", ""))
    (shop.directory / "web.Dockerfile").write_text(DOCKERFILE.replace(" /run/secrets/token", ""))
    shop(OURS, "up", "-d")
    before = shop.ids()
    shop(THEIRS, "up", "-d")
    assert shop.ids() == before
    shop(THEIRS, "down", "--rmi", "local")
    assert images(shop.engine) == {}


def test_names_of_version_1(shop: Shop) -> None:
    shop(OURS, "--compatibility", "up", "-d", "web")
    assert "/shop_web_1" in shop.ids()
    shop(OURS, "--compatibility", "down", "--rmi", "local")
    assert shop.ids() == {}
