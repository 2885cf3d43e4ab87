"""Services that a program provides, and services that speak to the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.compose import OURS, Shop
from tests.support.engine import BUSYBOX, Engine

FILE = """
name: shop
services:
  web:
    image: BUSYBOX
    command: sleep 1000
    stop_grace_period: 0s
    use_api_socket: true
    depends_on: [cloud-db]
  cloud-db:
    provider:
      type: PROGRAM
      options: {size: small, region: [north, south]}
"""
PROGRAM = """#!/bin/sh
echo "$@" >>LOG
echo '{"type": "info", "message": "at work"}'
if [ -e FAIL ]; then echo '{"type": "error", "message": "no such region"}'; exit 1; fi
echo '{"type": "setenv", "message": "URL=db://far?a=b"}'
echo 'no document'
"""


@pytest.fixture
def shop(one_engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(one_engine, tmp_path)
    program = tmp_path / "provide"
    program.write_text(PROGRAM.replace("LOG", str(tmp_path / "log")).replace("FAIL", str(tmp_path / "fail")))
    program.chmod(0o755)
    shop.write(FILE.replace("BUSYBOX", BUSYBOX).replace("PROGRAM", str(program)))
    yield shop
    one_engine.remove_all()


def test_a_provider_gives_its_dependents_variables(shop: Shop) -> None:
    config = shop.directory / "config"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"auths": {"registry.example": {"auth": "dTpw"}}}))
    shop(OURS, "up", "-d")
    assert list(shop.ids()) == ["/shop-web-1"]
    assert shop(OURS, "exec", "-T", "web", "sh", "-c", "echo $CLOUD_DB_URL") == "db://far?a=b\n"
    before = shop.ids()
    shop(OURS, "up", "-d")
    assert shop.ids() == before
    shop(OURS, "down")
    log = (shop.directory / "log").read_text().splitlines()
    options = "--size=small --region=north --region=south cloud-db"
    assert log == [f"compose --project-name=shop {word} {options}" for word in ("up", "up", "down")]


def test_a_service_speaks_to_the_engine(shop: Shop) -> None:
    config = shop.directory / "config"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"auths": {"registry.example": {"auth": "dTpw"}}}))
    shop(OURS, "up", "-d")
    shown = shop(
        OURS, "exec", "-T", "web", "sh", "-c", "test -S /var/run/docker.sock && cat $DOCKER_CONFIG/config.json"
    )
    assert json.loads(shown)["auths"]["registry.example"]["auth"] == "dTpw"
    assert shop(OURS, "run", "--rm", "-T", "web", "sh", "-c", "cat $DOCKER_CONFIG/config.json") == shown


def test_a_provider_that_fails_or_is_not_there(shop: Shop) -> None:
    (shop.directory / "fail").touch()
    failed = shop.run(OURS, "up", "-d")
    assert (failed.returncode, shop.ids()) == (1, {})
    assert "services.cloud-db: provider" in failed.stderr
    assert "no such region" in failed.stderr
    (shop.directory / "provide").unlink()
    failed = shop.run(OURS, "up", "-d")
    assert (failed.returncode, "there is no provider" in failed.stderr) == (1, True)
