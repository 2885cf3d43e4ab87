"""A project of compose for tests, and the tools in its directory: docker compose v2, the newest, and ours."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import found
from tests.support.engine import BUSYBOX, Engine

COMPOSE = found("docker-compose")
DARSE = str(Path(sys.executable).with_name("darse"))
NEWEST_COMPOSE = found("docker-compose-newest")
THEIRS, OURS = [str(COMPOSE)], [DARSE, "compose"]
NEWEST = [NEWEST_COMPOSE or ""]
needs_compose = pytest.mark.skipif(COMPOSE is None, reason="docker compose is not installed (make clients)")
# Labels whose values are in any order.
_UNORDERED = "com.docker.compose.depends_on"

FILE = f"""
name: shop
services:
  web:
    image: {BUSYBOX}
    command: sh -c 'echo web is up; exec sleep 1000'
    environment: {{COLOUR: blue}}
    ports: ["127.0.0.1::80"]
    depends_on:
      store: {{condition: service_healthy, restart: true}}
      once: {{condition: service_completed_successfully}}
    configs: [{{source: motd, target: /etc/motd}}]
    networks: [front, back]
    labels: {{team: front}}
    stop_grace_period: 0s
  store:
    image: {BUSYBOX}
    command: sh -c 'echo store is up; echo kept >> /data/file; echo x >> /anonymous/file; exec sleep 1000'
    healthcheck: {{test: [CMD, test, -e, /data/file], interval: 100ms}}
    volumes: [kept:/data, /anonymous]
    networks: {{back: {{aliases: [keeper]}}}}
    stop_grace_period: 0s
  once:
    image: {BUSYBOX}
    command: ["true"]
    networks: [back]
  sidecar:
    image: {BUSYBOX}
    command: sleep 1000
    network_mode: service:store
    stop_grace_period: 0s
networks:
  front:
  back: {{internal: true}}
volumes:
  kept:
configs:
  motd: {{content: hello}}
"""


class Shop:
    """A directory with a compose file, and both tools in it."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.write(FILE)

    def write(self, text: str) -> None:
        (self.directory / "compose.yaml").write_text(textwrap.dedent(text))

    def run(self, tool: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            **os.environ,
            "DOCKER_HOST": self.engine.host,
            "DARSE_HOST": self.engine.host,
            "DOCKER_CONFIG": str(self.directory / "config"),
        }
        return subprocess.run(
            [*tool, *arguments],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def __call__(self, tool: list[str], *arguments: str) -> str:
        done = self.run(tool, *arguments)
        assert done.returncode == 0, f"{tool} {arguments}: {done.returncode}\n{done.stderr}{done.stdout}"
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.engine.api("GET", "/containers/json?all=1").json()
        return found

    def ids(self) -> dict[str, str]:
        return {one["Names"][0]: one["Id"] for one in self.containers()}

    def labelled(self) -> dict[str, Any]:
        """All that is there by its name, with the labels; hashes of who shares a namespace are of a container's id."""
        found: dict[str, Any] = {one["Names"][0]: one["Labels"] for one in self.containers()}
        found |= {f"network {one['Name']}": one["Labels"] for one in self.engine.api("GET", "/networks").json()}
        volumes = self.engine.api("GET", "/volumes").json()["Volumes"]
        found |= {f"volume {one['Name']}": one["Labels"] for one in volumes if one["Name"].startswith("shop")}
        for labels in found.values():
            if labels and _UNORDERED in labels:
                labels[_UNORDERED] = sorted(labels[_UNORDERED].split(","))
        found["/shop-sidecar-1"].pop("com.docker.compose.config-hash")
        return found
