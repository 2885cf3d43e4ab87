"""ps, inspect, events, info, df, version: what the engine tells about itself and its containers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until


@pytest.fixture
def fleet(cli: Client) -> Client:
    """Three containers: up (labelled, running), done (ended with 0), broken (ended with 3)."""
    cli("run", "-d", "--name", "up", "-l", "tier=front", "--expose", "80", BUSYBOX, "sleep", "1000").ok()
    cli("run", "--name", "done", "-v", "data:/data", BUSYBOX, "true").ok()
    cli("run", "--name", "broken", "-l", "tier=back", BUSYBOX, "sh", "-c", "exit 3")
    return cli


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["status=running"], {"up"}),
        (["status=exited"], {"done", "broken"}),
        (["exited=3"], {"broken"}),
        (["exited=0"], {"done"}),
        (["name=ro"], {"broken"}),
        (["name=^/?done$"], {"done"}),
        (["label=tier"], {"up", "broken"}),
        (["label=tier=back"], {"broken"}),
        (["ancestor=builtin/busybox"], {"up", "done", "broken"}),
        (["ancestor=builtin/hello-world"], set()),
        (["volume=data"], {"done"}),
        (["volume=/data"], {"done"}),
        (["network=bridge"], {"up", "done", "broken"}),
        (["since=up"], {"done", "broken"}),
        (["before=broken"], {"up", "done"}),
        (["expose=80"], {"up"}),
        (["status=exited", "label=tier"], {"broken"}),
        (["status=running", "status=exited"], {"up", "done", "broken"}),
        (["health=none"], {"up", "done", "broken"}),
        (["is-task=false"], {"up", "done", "broken"}),
    ],
)
def test_ps_filters(fleet: Client, filters: list[str], names: set[str]) -> None:
    flags = [word for value in filters for word in ("--filter", value)]
    assert set(fleet("ps", "-a", "--format", "{{.Names}}", *flags).ok().out.split()) == names


def test_ps_refuses_an_unknown_filter(cli: Client) -> None:
    done = cli("ps", "--filter", "nonsense=1")
    assert done.status == 1
    assert "invalid filter 'nonsense'" in done.err


def test_ps_shapes(fleet: Client) -> None:
    assert fleet("ps", "--format", "{{.Names}}").ok().line == "up"
    assert fleet("ps", "-l", "--format", "{{.Names}}").ok().line == "broken"
    assert len(fleet("ps", "-n", "2", "-q").ok().out.split()) == 2
    header, *rows = fleet("ps", "-a").ok().out.splitlines()
    assert header.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert len(rows) == 3
    assert "Exited (3)" in fleet("ps", "-a", "--filter", "name=broken", "--format", "{{.Status}}").ok().out


def test_ps_as_json(fleet: Client) -> None:
    fleet.needs(23, "--format json")
    document = json.loads(fleet("ps", "--format", "json").ok().line)
    assert (document["Names"], document["State"], document["Image"]) == ("up", "running", BUSYBOX)


def test_ps_size(cli: Client) -> None:
    cli("run", "--name", "sized", BUSYBOX, "sh", "-c", "head -c 1000000 /dev/zero > /file").ok()
    size = cli("ps", "-as", "--format", "{{.Size}}").ok().line
    assert size.startswith(("1MB", "1e+06B", "1.00"))
    assert "virtual" in size
    assert int(cli("inspect", "-s", "-f", "{{.SizeRw}}", "sized").ok().line) >= 1000000


def test_inspect(fleet: Client) -> None:
    (container,) = json.loads(fleet("inspect", "up").ok().out)
    assert container["Name"] == "/up"
    assert container["State"]["Status"] == "running"
    assert container["State"]["Pid"] > 0
    assert container["Config"]["Cmd"] == ["sleep", "1000"]
    assert container["Path"] == "sleep"
    assert container["Args"] == ["1000"]
    assert container["HostConfig"]["NetworkMode"] in ("bridge", "default")
    assert container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert container["Image"].startswith("sha256:")


def test_inspect_templates(fleet: Client) -> None:
    def shown(template: str) -> str:
        return fleet("inspect", "-f", template, "up").ok().line

    assert shown("{{.State.Running}}") == "true"
    assert shown("{{json .Config.Labels}}").startswith("{")
    assert shown('{{index .Config.Labels "tier"}}') == "front"
    assert shown('{{join .Config.Cmd ","}}') == "sleep,1000"
    assert shown("{{range .Config.Cmd}}<{{.}}>{{end}}") == "<sleep><1000>"
    assert shown("{{if eq .State.ExitCode 0}}zero{{else}}other{{end}}") == "zero"
    assert shown("{{upper .Name}}") == "/UP"
    assert shown("{{len .Config.Cmd}}") == "2"
    assert shown("{{with .State}}{{.Status}}{{end}}") == "running"
    assert shown('{{printf "%s-%d" .State.Status .State.ExitCode}}') == "running-0"
    done = fleet("inspect", "-f", "{{.NoSuchField}}", "up")
    assert done.status == 1
    assert "NoSuchField" in done.err


def test_inspect_of_what_is_unknown(cli: Client) -> None:
    done = cli("inspect", "nobody")
    assert done.status == 1
    assert "no such object: nobody" in done.err.lower()
    assert done.line == "[]"


def test_events_tell_the_story(cli: Client, engine: Engine) -> None:
    since = engine.api("GET", "/info").json()["SystemTime"]
    cli("run", "--rm", "--name", "story", BUSYBOX, "true").ok()
    wait_until(lambda: cli("ps", "-aq").out == "", what="the removal")
    until = engine.api("GET", "/info").json()["SystemTime"]
    out = cli("events", "--since", since, "--until", until, "--format", "{{.Type}} {{.Action}}").ok().out
    actions = [line for line in out.splitlines() if line.startswith("container")]
    assert actions == [f"container {action}" for action in ("create", "attach", "start", "die", "destroy")] or sorted(
        actions
    ) == sorted(f"container {action}" for action in ("create", "attach", "start", "die", "destroy"))
    assert {"network connect", "network disconnect"} <= set(out.splitlines())
    died = cli(
        *(
            "events",
            "--since",
            since,
            "--until",
            until,
            "--filter",
            "event=die",
            "--format",
            "{{json .Actor.Attributes}}",
        )
    ).ok()
    attributes = json.loads(died.line)
    assert (attributes["name"], attributes["exitCode"], attributes["image"]) == ("story", "0", BUSYBOX)


def test_events_live(cli: Client) -> None:
    process = cli.popen("events", "--filter", "container=live", "--filter", "event=start", "--format", "{{.Action}}")
    try:
        assert process.stdout is not None
        # The stream begins with the next event: containers are started until one of them is seen.
        import select

        for _ in range(50):
            cli("run", "--rm", "--name", "live", BUSYBOX, "true").ok()
            if select.select([process.stdout], [], [], 0.2)[0]:
                break
        assert process.stdout.readline() == b"start\n"
    finally:
        process.kill()
        process.communicate()


def test_info_and_version(cli: Client, engine: Engine) -> None:
    cli("run", "-d", BUSYBOX, "sleep", "100").ok()
    info = json.loads(cli("info", "--format", "{{json .}}").ok().out)
    assert (info["Containers"], info["ContainersRunning"]) == (1, 1)
    assert info["DockerRootDir"] == str(engine.data_root)
    assert info["NCPU"] > 0
    assert info["MemTotal"] > 0
    assert info["CgroupVersion"] in ("1", "2")
    assert info["DefaultRuntime"] == "crun"
    assert any("seccomp" in option for option in info["SecurityOptions"])
    assert "Server" in cli("version").ok().out
    assert "Client" in cli("version", "--format", "{{json .}}").ok().out


def test_system_df(cli: Client) -> None:
    cli("run", "--name", "used", "-v", "vol:/v", BUSYBOX, "sh", "-c", "echo x > /v/f; echo y > /f").ok()
    out = cli("system", "df").ok().out
    for word in ("Images", "Containers", "Local Volumes", "Build Cache"):
        assert word in out
    assert "vol" in cli("system", "df", "-v").ok().out


def test_explain(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "told", "-m", "64m", "-p", "80", BUSYBOX, "sleep", "100").ok()
    answer = engine.api("GET", "/darse/explain/told?last=start")
    rules = [step["command"] for step in answer.json()["steps"] if step["kind"] == "rule"]
    for command in (one for one in rules if one[0] == "nft"):
        # nft(8) examines it without doing it.
        *words, text = command
        typed = [*words[:1], "--check", *words[1:], *([] if "-f" in words else [text])]
        subprocess.run(typed, input=text, text=True, check=True, capture_output=True)
    assert answer.status == 200
    kinds = {step["kind"] for step in answer.json()["steps"]}
    assert {"mount", "rule"} <= kinds, answer.json()
    told = "\n".join(step["summary"] for step in answer.json()["steps"])
    asked = ("new namespaces: mount, pid, ipc, uts", "control group /", "memory: limit 67108864", "proc at /proc")
    for what in (*asked, "capabilities: 14 are kept", "seccomp: SCMP_ACT_ERRNO"):
        assert what in told, told
    assert {"cgroup", "namespace", "process"} <= {step["kind"] for step in answer.json()["steps"]}


def test_explain_gives_commands_that_can_be_repeated(engine: Engine) -> None:
    container = engine.docker("run", "-d", "--name", "told", BUSYBOX, "sleep", "100").ok().line
    steps = engine.api("GET", "/darse/explain/told?last=start").json()["steps"]
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}/{{.IPPrefixLen}}{{end}}"
    address = engine.docker("inspect", "-f", address, "told").ok().line
    words = [word for step in steps for word in step["command"]]
    assert not {"CONTAINER", "PROGRAM"} & set(words), words
    assert [step for step in steps if step["summary"] == "conmon gets ready, and the runtime reads the spec"], steps
    (creates,) = (step for step in steps if step["summary"] == "the runtime creates the process")
    assert "create" in creates["command"]
    engine.docker("rm", "-f", "told").ok()
    kinds = [step["kind"] for step in steps]
    try:
        for step in steps[: kinds.index("file")]:
            assert step["kind"] in ("namespace", "link", "address", "route")
            typed = shlex.join(step["command"]).replace("';'", "\n")
            done = subprocess.run(["sh", "-ec", typed], capture_output=True, text=True, check=False)
            assert done.returncode == 0, (typed, done.stderr)
        shown = subprocess.run(["ip", "-n", container[:12], "address"], capture_output=True, text=True, check=True)
        assert f"inet {address} " in shown.stdout
    finally:
        subprocess.run(["ip", "netns", "delete", container[:12]], check=False, capture_output=True)


def test_explain_lists_what_is_on_record(engine: Engine) -> None:
    engine.darse("run", "--name", "told", BUSYBOX, "true").ok()
    engine.darse("run", "--rm", "--name", "gone", BUSYBOX, "true").ok()
    rows = [line.split() for line in engine.darse("explain").ok().out.splitlines()]
    assert rows[0][:3] == ["CONTAINER", "ID", "NAMES"]
    assert {("told", "start"), ("told", "create"), ("gone", "start")} <= {(row[1], row[2]) for row in rows[1:]}
    # Without --last it is not how the container ended that is told.
    assert engine.darse("explain", "told").ok().out.startswith("start told (")
    assert engine.darse("explain", "gone").ok().out.startswith("start gone (")


def test_doctor(engine: Engine) -> None:
    assert engine.api("GET", "/darse/doctor").status == 200


def test_darse_explain_and_doctor(cli: Client) -> None:
    if cli.name != "darse":
        pytest.skip("docker has no such commands")
    cli("run", "-d", "--name", "told", BUSYBOX, "sleep", "100").ok()
    assert "mount" in cli("explain", "told", "--last", "start").ok().out
    json.loads(cli("explain", "told", "--format", "json").ok().out)
    assert cli("doctor").out


def test_engine_keeps_containers_while_it_is_away(cli: Client, engine: Engine) -> None:
    script = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done"
    container = cli("run", "-d", "--name", "steady", BUSYBOX, "sh", "-c", script).ok().line
    pid = int(cli("inspect", "-f", "{{.State.Pid}}", "steady").ok().line)
    engine.kill9()
    os.kill(pid, 0)
    engine.up()
    assert int(cli("inspect", "-f", "{{.State.Pid}}", "steady").ok().line) == pid
    assert cli("exec", "steady", "echo", "hi").ok().line == "hi"
    lines = cli("logs", "steady").ok().out.splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))]
    assert container[:12] in cli("ps", "-q").ok().out
