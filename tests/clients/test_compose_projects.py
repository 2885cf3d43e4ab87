"""Ten projects, each driven by docker compose v2, by the newest, and by `darse compose`, with the same outcome.

The newest runs in every run of the tests; the two others, which other modules drive every day, in heavy ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.clients import found
from tests.support.compose import NEWEST, OURS, THEIRS, Shop, needs_compose
from tests.support.engine import BUSYBOX, Engine
from tests.support.files import write_files
from tests.support.waiting import wait_until

BUILDX = found("docker-buildx-newest")
Tool = Callable[..., str]
_BASE = "{file: base.yaml, service: base}"
_SLEEP = "command: sleep 1000\n    stop_grace_period: 0s"


class Driven(Shop):
    """A project's directory, and one tool in it."""

    def __init__(self, engine: Engine, directory: Path, tool: list[str]) -> None:
        super().__init__(engine, directory)
        self.tool = tool

    def do(self, *arguments: str) -> str:
        return self(self.tool, *arguments)

    def status(self, *arguments: str) -> int:
        return self.run(self.tool, *arguments).returncode

    def inside(self, service: str, command: str) -> str:
        return self.do("exec", "-T", service, "sh", "-c", command)


@pytest.fixture(
    params=[
        pytest.param(THEIRS, id="v2", marks=[needs_compose, pytest.mark.heavy]),
        pytest.param(
            NEWEST,
            id="newest",
            marks=pytest.mark.skipif(not NEWEST[0], reason="the newest docker compose is not installed (make clients)"),
        ),
        pytest.param(OURS, id="ours", marks=pytest.mark.heavy),
    ]
)
def project(request: pytest.FixtureRequest, one_engine: Engine, tmp_path: Path) -> Iterator[Driven]:
    if BUILDX is not None:
        plugins = tmp_path / "config" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-buildx").symlink_to(BUILDX)
    yield Driven(one_engine, tmp_path, request.param)
    one_engine.remove_all()


def test_secrets_and_configs(project: Driven) -> None:
    """Of a file, of a variable, and written down."""
    write_files(project.directory, {"token": "of a file\n", ".env": "WORD=of a variable\n"})
    project.write(f"""
        name: shop
        services:
          web:
            image: {BUSYBOX}
            command: sleep 1000
            stop_grace_period: 0s
            secrets: [token, {{source: word, target: /etc/word, mode: 0400}}]
            configs: [{{source: motd, target: /etc/motd, mode: 0440}}]
        secrets: {{token: {{file: ./token}}, word: {{environment: WORD}}}}
        configs: {{motd: {{content: "hello $$WORD ${{WORD}}"}}}}
    """)
    project.do("up", "-d")
    assert project.inside("web", "cat /run/secrets/token /etc/word /etc/motd") == (
        "of a file\nof a variablehello $WORD of a variable"
    )
    assert project.inside("web", "stat -c %a /etc/word /etc/motd").split() == ["400", "440"]
    assert project.do("run", "--rm", "-T", "web", "cat", "/etc/word") == "of a variable"
    project.do("down")


def test_profiles(project: Driven) -> None:
    project.write(f"""
        name: shop
        services:
          web: {{image: {BUSYBOX}, command: sleep 1000, stop_grace_period: 0s}}
          debug: {{image: {BUSYBOX}, command: sleep 1000, stop_grace_period: 0s, profiles: [tools]}}
          job: {{image: {BUSYBOX}, command: "true", profiles: [jobs]}}
    """)
    project.do("up", "-d")
    assert list(project.ids()) == ["/shop-web-1"]
    project.do("--profile", "tools", "up", "-d")
    assert sorted(project.ids()) == ["/shop-debug-1", "/shop-web-1"]
    project.do("run", "--rm", "-T", "job")
    assert set(project.do("--profile", "*", "config", "--services").split()) == {"debug", "job", "web"}
    project.do("--profile", "*", "down")
    assert project.ids() == {}


def test_hooks(project: Driven) -> None:
    """Commands after the start and before the stop; one that fails stops the start."""
    text = f"""
        name: shop
        services:
          web:
            image: {BUSYBOX}
            command: sleep 1000
            stop_grace_period: 0s
            volumes: [kept:/kept]
            post_start:
              - {{command: [sh, -c, 'echo started $$WORD $$(id -u) $$PWD >>/kept/log'], user: "7", working_dir: /tmp,
                 environment: [WORD=now]}}
            pre_stop:
              - {{command: [sh, -c, 'echo stopping >>/kept/log']}}
        volumes: {{kept: }}
    """
    project.write(text.replace('user: "7"', 'user: "0"'))
    project.do("up", "-d")
    assert project.inside("web", "cat /kept/log") == "started now 0 /tmp\n"
    project.do("down")
    printed = project.engine.docker("run", "--rm", "-v", "shop_kept:/kept", BUSYBOX, "cat", "/kept/log").ok().out
    assert printed == "started now 0 /tmp\nstopping\n"
    project.write(text.replace("echo started", "exit 3; echo"))
    failed = project.run(project.tool, "up", "-d")
    assert (failed.returncode, "web hook exited with status 3" in failed.stderr) == (1, True), failed.stderr
    project.do("down", "-v")


def test_scale(project: Driven) -> None:
    project.write(f"""
        name: shop
        services:
          web: {{image: {BUSYBOX}, command: sleep 1000, stop_grace_period: 0s, deploy: {{replicas: 2}}}}
          one: {{image: {BUSYBOX}, command: sleep 1000, stop_grace_period: 0s, depends_on: [web]}}
    """)
    project.do("up", "-d")
    first = project.ids()
    assert sorted(first) == ["/shop-one-1", "/shop-web-1", "/shop-web-2"]
    project.do("scale", "web=4")
    grown = project.ids()
    assert {name: grown[name] for name in first} == first
    assert len(grown) == 5
    # Each is found by the name of the service.
    assert len(set(project.inside("one", "nslookup web | grep '^Address' | tail -n 4").split("\n"))) >= 4
    project.do("up", "-d", "--scale", "web=1")
    assert sorted(project.ids()) == ["/shop-one-1", "/shop-web-1"]
    assert project.ids()["/shop-web-1"] == first["/shop-web-1"]
    project.do("down")


def test_jobs(project: Driven) -> None:
    """What ends: `run`, `wait`, `up --exit-code-from`, and a dependency that has to have ended well."""
    project.write(f"""
        name: shop
        services:
          migrate: {{image: {BUSYBOX}, command: sh -c 'echo migrated >/data/done', volumes: [data:/data]}}
          web:
            image: {BUSYBOX}
            command: sh -c 'cat /data/done; exec sleep 1000'
            stop_grace_period: 0s
            volumes: [data:/data]
            depends_on: {{migrate: {{condition: service_completed_successfully}}}}
          fails: {{image: {BUSYBOX}, command: sh -c 'exit 6', profiles: [never]}}
          needs:
            image: {BUSYBOX}
            profiles: [never]
            depends_on: {{fails: {{condition: service_completed_successfully}}}}
        volumes: {{data: }}
    """)
    project.do("up", "-d")
    wait_until(lambda: "migrated" in project.do("logs", "web"), 60, "the output")
    assert project.status("run", "--rm", "-T", "fails") == 6
    assert project.status("up", "--exit-code-from", "fails", "fails") == 6
    failed = project.run(project.tool, "up", "-d", "needs")
    assert (failed.returncode, "didn't complete successfully: exit 6" in failed.stderr) == (1, True), failed.stderr
    assert _waited(project) == 137
    project.do("--profile", "never", "down", "-v")


def _waited(project: Driven) -> int:
    """The status of `wait` for a container that is killed meanwhile; it is an error when that is gone before."""
    environment = {**os.environ, "DOCKER_HOST": project.engine.host, "DARSE_HOST": project.engine.host}
    status = 1
    for _ in range(10):
        project.do("up", "-d", "web")
        words = [*project.tool, "wait", "web"]
        with subprocess.Popen(words, cwd=project.directory, env=environment, stdout=subprocess.DEVNULL) as waiting:
            wait_until(lambda one=waiting: _has_socket(one.pid) or one.poll() is not None, 60, "the connection")
            project.do("kill", "-s", "KILL", "web")
            status = waiting.wait(60)
        if status != 1:
            break
    return status


def _has_socket(pid: int) -> bool:
    """Whether a process has begun to speak to somebody."""
    with contextlib.suppress(OSError):
        return any(os.readlink(entry).startswith("socket:") for entry in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_copies(project: Driven) -> None:
    """`cp` both ways and to all containers, `export`, `commit`."""
    project.write(f"""
        name: shop
        services: {{web: {{image: {BUSYBOX}, command: sleep 1000, stop_grace_period: 0s, scale: 2}}}}
    """)
    write_files(project.directory, {"in/deep/file": "from here\n"})
    project.do("up", "-d")
    project.do("cp", "in", "web:/tmp")
    for number in ("1", "2"):
        assert project.do("exec", "-T", "--index", number, "web", "cat", "/tmp/in/deep/file") == "from here\n"
    project.do("exec", "-T", "--index", "2", "web", "sh", "-c", "echo changed >/tmp/out")
    project.do("cp", "--index", "2", "web:/tmp/out", "out")
    assert (project.directory / "out").read_text() == "changed\n"
    project.do("export", "--index", "2", "-o", "web.tar", "web")
    assert (project.directory / "web.tar").stat().st_size > 1 << 20
    project.do("commit", "--index", "2", "web", "web:changed")
    assert project.engine.docker("run", "--rm", "web:changed", "cat", "/tmp/out").ok().out == "changed\n"
    project.engine.docker("rmi", "web:changed").ok()
    project.do("down")


def test_files_of_several_parts(project: Driven) -> None:
    """Two files, `include`, `extends`, variables of three places, `!reset`."""
    write_files(
        project.directory,
        {
            ".env": "TAG=latest\nFROM=dotenv\n",
            "more.env": "FROM=file\nSECOND=two\n",
            "parts/store.yaml": f"services:\n  store: {{image: {BUSYBOX}, extends: {_BASE}}}\n",
            "parts/base.yaml": "services: {base: {command: sleep 1000, stop_grace_period: 0s, labels: {of: base}}}\n",
            "over.yaml": "services: {web: {environment: {OVER: 'yes'}, ports: !reset []}}\n",
        },
    )
    project.write(f"""
        name: shop
        include: [parts/store.yaml]
        services:
          web:
            image: "{BUSYBOX}:${{TAG:?}}"
            extends: {{file: parts/base.yaml, service: base}}
            env_file: [more.env, {{path: none.env, required: false}}]
            environment: {{OWN: "${{FROM}}-${{NONE:-default}}"}}
            ports: ["127.0.0.1::80"]
            depends_on: [store]
    """)
    project.do("-f", "compose.yaml", "-f", "over.yaml", "up", "-d")
    assert project.inside("web", "echo $FROM $SECOND $OWN $OVER") == "file two dotenv-default yes\n"
    (web,) = [one for one in project.containers() if one["Names"] == ["/shop-web-1"]]
    assert (web["Labels"]["of"], web["Ports"]) == ("base", [])
    assert sorted(project.ids()) == ["/shop-store-1", "/shop-web-1"]
    project.do("down")


def test_networks_and_volumes(project: Driven) -> None:
    """Addresses, aliases, a shared namespace, a volume with a part of it, files of the host, tmpfs."""
    write_files(project.directory, {"page/index": "of the host\n"})
    project.write(f"""
        name: shop
        services:
          web:
            image: {BUSYBOX}
            command: sleep 1000
            stop_grace_period: 0s
            networks: {{front: {{ipv4_address: 172.31.77.9, aliases: [www]}}, back: }}
            volumes: ["./page:/page:ro", "data:/data"]
            tmpfs: [/scratch]
            hostname: web.example
            extra_hosts: ["away=10.1.2.3"]
          beside: {{image: {BUSYBOX}, command: sleep 1000, stop_grace_period: 0s, network_mode: "service:web"}}
          store:
            image: {BUSYBOX}
            command: sleep 1000
            stop_grace_period: 0s
            networks: [back]
            volumes: [{{type: volume, source: data, target: /part, volume: {{subpath: part}}}}]
            depends_on: [web]
        networks: {{front: {{ipam: {{config: [{{subnet: 172.31.77.0/24}}]}}}}, back: {{internal: true}}}}
        volumes: {{data: }}
    """)
    project.do("create", "web")
    project.engine.docker("run", "--rm", "-v", "shop_data:/data", BUSYBOX, "mkdir", "/data/part").ok()
    project.do("up", "-d")
    assert "172.31.77.9" in project.inside("beside", "ip addr")
    assert project.inside(
        "web", "cat /page/index; grep away /etc/hosts; hostname; mount | grep -c /scratch"
    ).split() == [*("of", "the", "host", "10.1.2.3", "away", "web.example", "1")]
    assert project.inside("store", "ping -c 1 web >/dev/null; echo $?; echo x >/part/file") == "0\n"
    assert project.inside("web", "cat /data/part/file") == "x\n"
    assert project.status("exec", "-T", "web", "touch", "/page/x") == 1
    project.do("down", "-v")
    assert project.engine.docker("volume", "ls", "-q", "--filter", "name=shop").ok().out == ""


@pytest.mark.skipif(BUILDX is None, reason="docker-buildx is not installed (make clients)")
def test_builds(project: Driven) -> None:
    """Stages, arguments, secrets, a service's image in another's, and `up --build` of what has changed."""
    write_files(
        project.directory,
        {
            "Dockerfile": f"FROM {BUSYBOX} AS first\nARG WORD\nRUN --mount=type=secret,id=token "
            "echo $WORD $(cat /run/secrets/token) >/said\nFROM first AS last\nCOPY page /page\n"
            "FROM last AS never\nRUN false\n",
            "page": "one\n",
            "token": "secret\n",
        },
    )
    project.write(f"""
        name: shop
        services:
          web:
            build: {{context: ., target: last, args: {{WORD: hello}}, secrets: [token], tags: ["shop-web:also"]}}
            {_SLEEP.replace(chr(10), chr(10) + "        ")}
          inline:
            build:
              context: .
              dockerfile_inline: |
                FROM {BUSYBOX}
                RUN echo inline >/said
            {_SLEEP.replace(chr(10), chr(10) + "        ")}
        secrets: {{token: {{file: ./token}}}}
    """)
    project.do("build")
    project.do("up", "-d")
    assert project.inside("web", "cat /said /page") == "hello secret\none\n"
    assert project.inside("inline", "cat /said") == "inline\n"
    before = project.ids()
    (project.directory / "page").write_text("two\n")
    project.do("up", "-d", "--build")
    after = project.ids()
    assert [name for name in after if after[name] != before[name]] == ["/shop-web-1"]
    assert project.inside("web", "cat /page") == "two\n"
    project.do("down", "--rmi", "local")
    images = project.engine.api("GET", "/images/json").json()
    left = [name for one in images for name in one["RepoTags"] or () if name.startswith("shop-")]
    for name in left:
        project.engine.api("DELETE", f"/images/{name}?force=1")
    assert "shop-inline:latest" not in left


def test_watch(project: Driven) -> None:
    """Changed files come into the containers; a configuration's change restarts them."""
    write_files(project.directory, {"src/page": "1", "conf/x": "1"})
    project.write(f"""
        name: shop
        services:
          web:
            image: {BUSYBOX}
            build: {{context: ., dockerfile_inline: "FROM {BUSYBOX}"}}
            command: sh -c 'echo started >>/starts; exec sleep 1000'
            stop_grace_period: 0s
            develop:
              watch:
                - {{path: src, target: /src, action: sync, ignore: ["*.log"]}}
                - {{path: conf, target: /conf, action: sync+restart}}
    """)
    project.do("up", "-d")
    said = project.directory.parent / f"{project.directory.name}.said"
    environment = {
        **os.environ,
        "DOCKER_HOST": project.engine.host,
        "DARSE_HOST": project.engine.host,
        "DOCKER_CONFIG": str(project.directory / "config"),
    }
    with said.open("w") as out:
        watching = subprocess.Popen(
            [*project.tool, "watch", "--no-up"],
            cwd=project.directory,
            env=environment,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_until(lambda: "Watch enabled" in said.read_text(), 120, "the watch")
        (project.directory / "src/page").write_text("2")
        wait_until(lambda: project.run(project.tool, "exec", "-T", "web", "cat", "/src/page").stdout == "2", 60, "sync")
        (project.directory / "conf/x").write_text("2")
        wait_until(
            lambda: project.run(project.tool, "exec", "-T", "web", "cat", "/starts").stdout.count("started") == 2,
            60,
            "the restart",
        )
        assert project.inside("web", "cat /conf/x") == "2"
    finally:
        watching.send_signal(signal.SIGINT)
        watching.wait(60)
    project.do("down")


def test_lists(project: Driven) -> None:
    """What scripts read: `ps`, `ls`, `images`, `port`, `top`, `events`, `logs`, `stats`, as JSON where there is any."""
    project.write(f"""
        name: shop
        services:
          web:
            image: {BUSYBOX}
            command: sh -c 'echo said; exec sleep 1000'
            stop_grace_period: 0s
            ports: ["127.0.0.1::80", "127.0.0.1::53/udp"]
            healthcheck: {{test: "true", interval: 1h, start_period: 1h, start_interval: 100ms}}
    """)
    project.do("up", "-d", "--wait")
    (row,) = [json.loads(line) for line in project.do("ps", "--format", "json").splitlines()]
    assert (row["Service"], row["State"], row["Health"]) == ("web", "running", "healthy")
    (entry,) = json.loads(project.do("ls", "--format", "json"))
    assert (entry["Name"], entry["Status"]) == ("shop", "running(1)")
    assert project.do("port", "web", "80").startswith("127.0.0.1:")
    assert project.do("port", "--protocol", "udp", "web", "53").startswith("127.0.0.1:")
    assert "sleep 1000" in project.do("top", "web")
    wait_until(lambda: project.do("logs", "--no-log-prefix", "web") == "said\n", 60, "the output")
    (image,) = json.loads(project.do("images", "--format", "json"))
    assert image["ContainerName"] == "shop-web-1"
    assert "shop-web-1" in project.do("stats", "--no-stream")
    for command, state in (("pause", "paused"), ("unpause", "running"), ("stop", "exited"), ("restart", "running")):
        project.do(command, "web")
        assert {one["State"] for one in project.containers()} == {state}
    # docker compose takes the end of what it asked for as an error, and asks for whole seconds.
    events = project.run(project.tool, "events", "--json", "--since", "10m", "--until", "0s").stdout
    identifier = project.ids()["/shop-web-1"]
    actions = {found["action"] for line in events.splitlines() if (found := json.loads(line))["id"] == identifier}
    assert {"create", "start"} <= actions
    project.do("rm", "-f", "-s")
    assert project.ids() == {}
    project.do("down")
