"""A Docker course's chapter on containers: its commands as they stand there, with `docker` and with `darse`."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pexpect
import pytest
from tests.support.engine import Client
from tests.support.hub import Hub
from tests.support.waiting import wait_until

# The course's advanced example, word for word.
NGINX = """run -ti -d --name nginx-container --restart unless-stopped
 --health-cmd="curl -f http://localhost/ || exit 1" --health-interval=30s --health-timeout=10s --health-retries=3
 --health-start-period=5s --log-driver=json-file --log-opt max-size=10m --log-opt max-file=3 nginx"""
DETACH = "\x10\x11"
PROMPT = re.compile(r"root@[0-9a-f]{12}:/# ")
MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def images(hub: Hub) -> None:
    """The chapter's images are here already; the chapter on images is where they come from."""
    hub.have("hello-world:latest", "ubuntu:latest", "nginx:latest")


def words(command: str) -> list[str]:
    """A command of the course as arguments."""
    return shlex.split(command)


def state(cli: Client, container: str) -> dict:
    return json.loads(cli("inspect", "-f", "{{json .State}}", container).ok().out)


def serves(cli: Client, container: str) -> None:
    """Wait until a container's nginx answers."""
    wait_until(lambda: cli("exec", container, "curl", "-fs", "http://localhost/").status == 0, 30, "nginx")


def column(cli: Client, placeholder: str, *options: str) -> list[str]:
    return cli("ps", *options, "--format", f"{{{{{placeholder}}}}}").ok().out.splitlines()


def test_hello_world_twice(hub_cli: Client) -> None:
    for _ in range(2):
        assert "Hello from Docker!" in hub_cli("run", "hello-world").ok().out
    assert "hello-world" in hub_cli("images").ok().out
    assert hub_cli("ps").ok().out.splitlines()[1:] == []
    rows = hub_cli("ps", "-a").ok().out.splitlines()[1:]
    assert len(rows) == 2
    assert all("hello-world" in row and "Exited (0)" in row for row in rows)


def test_the_life_of_a_container(hub_cli: Client) -> None:
    hub_cli("create", "--name", "mon_conteneur", "nginx").ok()
    assert state(hub_cli, "mon_conteneur")["Status"] == "created"
    hub_cli("start", "mon_conteneur").ok()
    hub_cli("pause", "mon_conteneur").ok()
    assert state(hub_cli, "mon_conteneur")["Status"] == "paused"
    assert "(Paused)" in column(hub_cli, ".Status")[0]
    hub_cli("unpause", "mon_conteneur").ok()
    began = state(hub_cli, "mon_conteneur")["StartedAt"]
    hub_cli("restart", "mon_conteneur").ok()
    assert state(hub_cli, "mon_conteneur")["StartedAt"] > began
    serves(hub_cli, "mon_conteneur")
    hub_cli("stop", "mon_conteneur").ok()
    # nginx ends in order when it is stopped: its image asks for SIGQUIT.
    assert state(hub_cli, "mon_conteneur")["ExitCode"] == 0
    assert hub_cli("wait", "mon_conteneur").ok().line == "0"
    hub_cli("start", "mon_conteneur").ok()
    hub_cli("kill", "mon_conteneur").ok()
    wait_until(lambda: state(hub_cli, "mon_conteneur")["Status"] == "exited", what="the end of the container")
    assert state(hub_cli, "mon_conteneur")["ExitCode"] == 137
    hub_cli("rm", "mon_conteneur").ok()
    assert "No such container: mon_conteneur" in hub_cli("rm", "mon_conteneur").err


def test_stop_waits_and_kills(hub_cli: Client) -> None:
    hub_cli(
        "run", "-d", "--name", "deaf", "ubuntu:latest", "bash", "-c", "trap '' TERM; echo up; sleep 1000 & wait"
    ).ok()
    wait_until(lambda: "up" in hub_cli("logs", "deaf").out, what="the trap")
    began = time.monotonic()
    hub_cli("stop", "-t", "1", "deaf").ok()
    assert time.monotonic() - began >= 1
    assert state(hub_cli, "deaf")["ExitCode"] == 137


def test_ubuntu_with_and_without_a_terminal(hub_cli: Client) -> None:
    assert hub_cli("run", "ubuntu:latest").ok().out == ""
    terminal = hub_cli.terminal("run", "-ti", "ubuntu:latest", "bash")
    terminal.expect(PROMPT)
    terminal.sendline("echo $((6 * 7)); exit 7")
    terminal.expect_exact("42")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 7


def test_detach_attach_and_start_again(hub_cli: Client) -> None:
    terminal = hub_cli.terminal("run", "-ti", "--name", "mon_conteneur", "ubuntu:latest")
    terminal.expect(PROMPT)
    terminal.send(DETACH)
    terminal.expect(pexpect.EOF)
    assert "Up" in column(hub_cli, ".Status")[0]
    terminal = hub_cli.terminal("attach", "mon_conteneur")
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    wait_until(lambda: state(hub_cli, "mon_conteneur")["Status"] == "exited", what="the end of the shell")
    assert "Exited (0)" in column(hub_cli, ".Status", "-a")[0]
    assert hub_cli("start", "mon_conteneur").ok().line == "mon_conteneur"
    assert state(hub_cli, "mon_conteneur")["Running"]


def test_a_shell_that_waits_in_the_background(hub_cli: Client) -> None:
    container = hub_cli("run", "-d", "-ti", "ubuntu:latest").ok().line
    assert state(hub_cli, container)["Running"]
    terminal = hub_cli.terminal("exec", "-ti", container, "bash")
    terminal.expect(PROMPT)
    terminal.sendline("ps -e | wc -l; exit")
    terminal.expect(pexpect.EOF)
    shown = hub_cli("top", container).ok().out.splitlines()
    assert shown[0].split()[:2] == ["UID", "PID"]
    assert shown[1].endswith("/bin/bash")
    assert hub_cli("top", container, "-o", "pid,comm").ok().out.splitlines()[1].split()[1] == "bash"


def test_run_rm_leaves_nothing(hub_cli: Client) -> None:
    began = time.monotonic()
    terminal = hub_cli.terminal("run", "--rm", "-ti", "ubuntu:latest", "sleep", "5")
    terminal.expect(pexpect.EOF)
    assert time.monotonic() - began >= 5
    wait_until(lambda: column(hub_cli, ".ID", "-a") == [], what="the removal of the container")


def test_commit_and_tag(hub_cli: Client, hub: Hub) -> None:
    hub_cli("run", "--name", "changed", "ubuntu:latest", "bash", "-c", "echo kept >/note; rm /etc/debian_version").ok()
    identity = hub_cli("commit", "-m", "with a note", "-a", "somebody", "changed").ok().line
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", identity)
    try:
        hub_cli("tag", identity, "mon-image:v1").ok()
        seen = hub_cli("run", "--rm", "mon-image:v1", "bash", "-c", "cat /note; test -e /etc/debian_version").out
        assert seen == "kept\n"
        history = hub_cli("history", "--no-trunc", "mon-image:v1").ok().out.splitlines()
        assert "with a note" in history[1]
        assert len(history) > 3
    finally:
        hub.engine.api("DELETE", f"/images/{identity}?force=1")


def test_options(hub_cli: Client, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# settings\nFROM_FILE=yes\nHOME\n")
    options = f"--name limited -it -d --memory 256m --cpus 0.5 --cpu-shares 512 -e A=1 --env B=2 --env-file {file}"
    hub_cli("run", *words(options), "--restart", "on-failure:3", "ubuntu:latest").ok()
    host = json.loads(hub_cli("inspect", "-f", "{{json .HostConfig}}", "limited").ok().out)
    assert (host["Memory"], host["NanoCpus"], host["CpuShares"]) == (256 * MEBIBYTE, 500_000_000, 512)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    seen = hub_cli("exec", "limited", "env").ok().out.splitlines()
    assert {"A=1", "B=2", "FROM_FILE=yes"} <= set(seen)
    limit = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    assert hub_cli("exec", "limited", "bash", "-c", limit).out.split()[0] == str(256 * MEBIBYTE)


@pytest.mark.parametrize("policy", ["no", "on-failure", "always", "unless-stopped"])
def test_restart_policies(hub_cli: Client, policy: str) -> None:
    hub_cli("run", "-d", "--name", "failing", "--restart", policy, "ubuntu:latest", "bash", "-c", "exit 3").ok()
    if policy == "no":
        assert hub_cli("wait", "failing").ok().line == "3"
        return
    count = lambda: int(hub_cli("inspect", "-f", "{{.RestartCount}}", "failing").ok().line)  # noqa: E731
    wait_until(lambda: count() >= 2, what=f"restarts by {policy}")


def test_the_advanced_example(hub_cli: Client, hub: Hub) -> None:
    container = hub_cli(*words(NGINX)).ok().line
    status = lambda: column(hub_cli, ".Status")[0]  # noqa: E731
    assert re.fullmatch(r"Up .+ \(health: starting\)", status())
    wait_until(lambda: re.fullmatch(r"Up .+ \(healthy\)", status()), 60, "the check to pass")
    check = state(hub_cli, container)["Health"]
    assert check["FailingStreak"] == 0
    assert "Welcome to nginx!" in check["Log"][-1]["Output"]
    logs = hub_cli("logs", "nginx-container").ok().out
    assert "Configuration complete; ready for start up" in logs
    assert "GET / HTTP/1.1" in logs


def test_logs_of_the_advanced_example_take_thirty_megabytes_at_most(hub_cli: Client, hub: Hub) -> None:
    container = hub_cli(*words(NGINX)).ok().line
    lines = 450_000
    write = f"yes {'x' * 98} | head -n {lines} >/proc/1/fd/1; echo the last line >/proc/1/fd/1"
    hub_cli("exec", "nginx-container", "bash", "-c", write, timeout=120).ok()
    wait_until(
        lambda: hub_cli("logs", "--tail", "1", "nginx-container").ok().line == "the last line", 30, "the log's end"
    )
    files = sorted((hub.engine.data_root / "containers" / container).glob(f"{container}*log*"))
    sizes = [file.stat().st_size for file in files]
    assert len(sizes) == 3, files
    # A file is rotated soon after it is full; how much comes meanwhile depends on how busy the machine is.
    assert max(sizes) <= 11 * MEBIBYTE
    assert sum(sizes) > 20 * MEBIBYTE
    assert state(hub_cli, container)["Running"]


def test_looking_at_containers(hub_cli: Client) -> None:
    hub_cli("run", "-d", "--name", "web", "nginx").ok()
    hub_cli("exec", "web", "bash", "-c", "head -c 1000000 /dev/zero >/big").ok()
    header, row = hub_cli("container", "ls", "-as").ok().out.splitlines()
    assert header.split()[-1] == "SIZE"
    assert re.search(r"1(\.\d+)?MB \(virtual \d+(\.\d+)?MB\)", row), row
    (seen,) = json.loads(hub_cli("container", "inspect", "web").ok().out)
    assert seen["Config"]["Image"] == "nginx"
    assert seen["Config"]["StopSignal"] == "SIGQUIT"
    assert "80/tcp" in seen["Config"]["ExposedPorts"]
    header, row = hub_cli("container", "stats", "--no-stream").ok().out.splitlines()
    assert header.split()[:2] == ["CONTAINER", "ID"]
    assert re.search(r"web +\d+\.\d+% +[\d.]+MiB / ", row), row
    form = "{{.Name}} {{.PIDs}} {{.MemPerc}}"
    assert re.fullmatch(r"web [2-9] \d+\.\d+%", hub_cli("stats", "--no-stream", "--format", form).ok().line)


def test_rename_and_prune(hub_cli: Client) -> None:
    container = hub_cli("run", "-d", "nginx").ok().line
    hub_cli("container", "rename", container, "renamed").ok()
    assert column(hub_cli, ".Names") == ["renamed"]
    hub_cli("run", "--name", "done", "hello-world").ok()
    gone = hub_cli("container", "prune", "-f").ok().out
    assert "Deleted Containers:" in gone
    assert "Total reclaimed space:" in gone
    assert column(hub_cli, ".Names", "-a") == ["renamed"]


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_postgres_in_the_background(hub_cli: Client, hub: Hub) -> None:
    hub.provide("postgres")
    hub.have("postgres:latest")
    failed = hub_cli("run", "-d", "postgres").ok().line
    assert hub_cli("wait", failed).ok().line == "1"
    assert "superuser password is not specified" in hub_cli("logs", failed).err
    settings = words("-e POSTGRES_USER=training -e POSTGRES_PASSWORD=training -e POSTGRES_DB=training")
    hub_cli("run", "-d", *settings, "--name", "mydb", "postgres").ok()
    query = ("exec", "-e", "PGPASSWORD=training", "mydb", "psql", "-h", "localhost", "-U", "training", "training")
    wait_until(lambda: hub_cli(*query, "-tc", "select 6 * 7").out.strip() == "42", 60, "the database")
    hub_cli("stop", "mydb").ok()
    assert state(hub_cli, "mydb")["ExitCode"] == 0
