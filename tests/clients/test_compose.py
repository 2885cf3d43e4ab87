"""docker compose v2 and the newest, unmodified: an application of two services, from `up` to `down`.

`make clients` builds it, where Go is installed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.support.clients import found
from tests.support.hub import Hub
from tests.support.waiting import wait_until

PROGRAMS = {"v2": found("docker-compose"), "newest": found("docker-compose-newest")}

# A web server that starts when what it depends on is healthy, and a store that keeps what it is given in a volume.
FILE = """
services:
  web:
    image: nginx:alpine
    depends_on:
      store: {condition: service_healthy}
      once: {condition: service_completed_successfully}
    environment: {COLOUR: blue}
    ports: ["127.0.0.1::80"]
    volumes: ["./page:/usr/share/nginx/html:ro"]
    networks: [front, back]
    restart: unless-stopped
  store:
    image: busybox
    command: sh -c 'echo store is up; echo kept >> /data/file; touch /tmp/ready; exec tail -f /dev/null'
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 200ms, start_period: 5s}
    volumes: [kept:/data]
    networks:
      back: {aliases: [keeper]}
    stop_grace_period: 1s
    labels: {team: storage}
  once:
    image: busybox
    command: ["true"]
    networks: [back]
networks:
  front:
  back: {internal: true}
volumes:
  kept:
configs:
  motd: {content: hello}
"""


class Project:
    """A directory with a compose file, and the command in it."""

    def __init__(self, hub: Hub, directory: Path, program: str) -> None:
        self.program = program
        self._directory = directory
        self._environment = {
            **os.environ,
            "DOCKER_HOST": hub.engine.host,
            "DOCKER_CONFIG": str(directory / "config"),
            "COMPOSE_ANSI": "never",
        }

    def write(self, text: str) -> None:
        (self._directory / "compose.yaml").write_text(text)

    def run(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"compose {' '.join(arguments)}: {done.returncode}\n{done.stderr}{done.stdout}"
        return done.stdout

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*arguments, "--format", "json").splitlines()]


@pytest.fixture(params=list(PROGRAMS))
def project(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path) -> Project:
    program = PROGRAMS[request.param]
    if program is None:
        pytest.skip(f"docker compose ({request.param}) is not installed (make clients)")
    hub.have("nginx:alpine", "busybox:latest")
    directory = tmp_path / "shop"
    (directory / "page").mkdir(parents=True)
    (directory / "page" / "index.html").write_text("a page of the host's\n")
    (directory / "page").chmod(0o755)
    made = Project(hub, directory, program)
    made.write(FILE)
    return made


def get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def test_up_ps_logs_exec_down(project: Project, hub: Hub) -> None:
    project("up", "-d")
    states = {one["Service"]: (one["State"], one["Health"]) for one in project.rows("ps", "-a")}
    assert states == {"web": ("running", ""), "store": ("running", "healthy"), "once": ("exited", "")}
    published = project("port", "web", "80").strip()
    assert get(f"http://{published}/") == "a page of the host's\n"
    assert "store-1  | store is up\n" in project("logs", "store")
    assert project("exec", "-T", "web", "sh", "-c", "echo $COLOUR") == "blue\n"
    assert project.run("exec", "-T", "store", "sh", "-c", "exit 7").returncode == 7
    address = '{{(index .NetworkSettings.Networks "shop_back").IPAddress}}'
    keeper = hub.engine.docker("inspect", "-f", address, "shop-store-1").ok().line
    assert project("exec", "-T", "web", "ping", "-c", "1", keeper)
    labels = "shop-store-1", "--format", "{{json .Config.Labels}}"
    seen = json.loads(hub.engine.docker("inspect", *labels).ok().out)
    assert (seen["team"], seen["com.docker.compose.service"]) == ("storage", "store")
    assert {one["Name"] for one in json.loads(project("ls", "--format", "json"))} == {"shop"}
    assert "tail -f /dev/null" in project("top", "store")
    project("down")
    assert project.rows("ps", "-a") == []
    networks = hub.engine.docker("network", "ls", "--format", "{{.Name}}").ok().out.split()
    assert sorted(networks) == ["bridge", "host", "none"]
    # Volumes are kept, and found again.
    assert hub.engine.docker("volume", "ls", "-q").ok().out == "shop_kept\n"
    project("up", "-d", "store")
    assert project("exec", "-T", "store", "cat", "/data/file") == "kept\nkept\n"
    project("down", "--volumes")
    assert hub.engine.docker("volume", "ls", "-q").ok().out == ""


def test_services_find_each_other_by_name_and_by_alias(project: Project) -> None:
    project("up", "-d")
    try:
        for name in ("store", "keeper"):
            assert project("exec", "-T", "web", "ping", "-c", "1", name)
    finally:
        project("down", "-v", "-t", "1")


def test_a_second_up_changes_what_has_changed(project: Project, hub: Hub) -> None:
    def ids() -> dict[str, str]:
        return {one["Service"]: one["ID"] for one in project.rows("ps", "-a")}

    project("up", "-d")
    before = ids()
    project("up", "-d")
    assert ids() == before
    project.write(FILE.replace("COLOUR: blue", "COLOUR: green"))
    project("up", "-d")
    after = ids()
    assert (after["store"], after["web"] == before["web"]) == (before["store"], False)
    assert project("exec", "-T", "web", "sh", "-c", "echo $COLOUR") == "green\n"
    project("up", "-d", "--scale", "store=3", "--no-recreate")
    assert len(project("ps", "-q", "store").split()) == 3
    project("down", "-v", "-t", "1")


def test_stop_start_restart_kill_pause_rm(project: Project) -> None:
    def state(service: str) -> str:
        (one,) = project.rows("ps", "-a", service)
        return str(one["State"])

    project("up", "-d", "store")
    for command, expected in (
        ("pause", "paused"),
        ("unpause", "running"),
        ("stop", "exited"),
        ("start", "running"),
        ("restart", "running"),
        ("kill", "exited"),
    ):
        project(command, "store")
        assert state("store") == expected, command
    project("rm", "-f", "store")
    assert project.rows("ps", "-a", "store") == []
    project("down", "-v")


def test_run_cp_and_images(project: Project, tmp_path: Path) -> None:
    assert project("run", "--rm", "-T", "--no-deps", "store", "echo", "once") == "once\n"
    assert project.run("run", "--rm", "-T", "--no-deps", "store", "sh", "-c", "exit 9").returncode == 9
    project("up", "-d", "store")
    (tmp_path / "note").write_text("from here\n")
    project("cp", str(tmp_path / "note"), "store:/tmp/note")
    assert project("exec", "-T", "store", "cat", "/tmp/note") == "from here\n"
    (image,) = json.loads(project("images", "--format", "json"))
    assert (image["Repository"], image["Tag"]) == ("busybox", "latest")
    project("down", "-v")


def test_in_the_foreground_until_a_service_ends(project: Project) -> None:
    """`up` without -d follows logs and events; with --exit-code-from its status is the service's."""
    # Compose stops what runs when the service ends; what it is about to start then would run on.
    ends = "command: sh -c 'echo going; exit 4'\n    depends_on: {store: {condition: service_healthy}}"
    project.write(FILE.replace('command: ["true"]', ends))
    done = project.run("up", "--exit-code-from", "once", "store", "once")
    assert done.returncode == 4, done.stderr
    # As wide as the longest name that compose knew of when it began to print.
    assert re.search(r"^once-1 +\| going$", done.stdout, re.MULTILINE), (done.stdout, done.stderr)
    assert re.search(r"^store-1 +\| store is up$", done.stdout, re.MULTILINE), (done.stdout, done.stderr)
    project("down", "-v")


def test_an_unhealthy_dependency_fails_up(project: Project) -> None:
    broken = "test: [CMD, 'false'], interval: 100ms, retries: 1, start_period: 0s"
    project.write(FILE.replace("test: [CMD, test, -e, /tmp/ready], interval: 200ms, start_period: 5s", broken))
    done = project.run("up", "-d")
    assert done.returncode == 1
    assert "dependency failed to start: container shop-store-1 is unhealthy" in done.stderr
    project("down", "-v")


def test_pull_and_events(project: Project, hub: Hub) -> None:
    hub.engine.docker("rmi", "-f", "busybox").ok()
    project("pull", "-q")
    assert hub.engine.docker("images", "-q", "busybox").ok().out

    def listeners() -> int:
        return int(hub.engine.api("GET", "/info").json()["NEventsListener"])

    before = listeners()
    watching = subprocess.Popen(
        [project.program, "events", "--json"],
        cwd=project._directory,
        env=project._environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: listeners() > before, what="compose's subscription")
        project("up", "-d", "store")
        assert watching.stdout is not None
        seen: set[str] = set()

        def started() -> bool:
            assert watching.stdout is not None
            seen.add(json.loads(watching.stdout.readline())["action"])
            return "start" in seen

        wait_until(started, 20, "the event of the start")
        assert "create" in seen
    finally:
        watching.terminate()
        watching.wait()
        if watching.stdout is not None:
            watching.stdout.close()
    project("down", "-v")
