"""`darse` prints what docker's own client prints of the same engine, and ends with the same status."""

from __future__ import annotations

import re

import pytest
from tests.support.engine import BUSYBOX, Done, Engine, docker_program

pytestmark = pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")

_TEMPLATE = (
    '{{.Id}} {{.ID}} {{.State}} {{.NetworkSettings.Ports}} {{join .Config.Cmd "+"}} {{json .Config}} '
    "{{.Config.Labels}} {{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}} {{json .State}} {{json .}}"
    ' {{.Created}} {{range .Mounts}}{{.}}{{end}} {{printf "%T %v %+v" .State .State .State}} {{.State.Health}}'
    " {{range $p, $c := .NetworkSettings.Ports}}{{$p.Port}} {{(index $c 0).HostPort}} {{end}}"
)
_AGE = re.compile(r"(Up )?(About |Less than )?(an? |\d+ )(second|minute|hour)s?( ago)? *")
_LOOKING = [
    ["ps"],
    ["ps", "-a"],
    ["ps", "-as"],
    ["ps", "-aq", "--no-trunc"],
    ["ps", "-n", "1"],
    ["ps", "-l", "--no-trunc"],
    ["ps", "--format", "json"],
    ["ps", "--format", "raw"],
    [
        "ps",
        "--format",
        'table {{.Names}}\\t{{.Label "x.y-z"}}\\t{{.Mounts}}\\t{{.Networks}}\\t{{.Size}}\\t{{.Platform}}',
    ],
    ["ps", "--format", "{{.Foo}}"],
    ["ps", "--format", "{{.ID"],
    ["ps", "-q", "--format", "{{.ID}}"],
    ["ps", "--filter", "foo=bar"],
    ["ps", "--filter", "status=exited"],
    ["container", "ls", "--format", "table {{upper .Names}}\\t{{json .Image}}\\t{{truncate .ID 3}}"],
    ["images"],
    ["images", "--digests", "--no-trunc"],
    ["images", "-q"],
    ["images", "--format", "json"],
    ["images", "nothing"],
    ["history", BUSYBOX],
    ["history", "--no-trunc", "--human=false", BUSYBOX],
    ["history", "nothing"],
    ["inspect", "web"],
    ["inspect", "-s", "web"],
    ["inspect", "web", "nothing", BUSYBOX],
    ["inspect", "nothing"],
    ["inspect", "-f", _TEMPLATE, "web"],
    ["inspect", "-f", "{{.Foo}}", "web"],
    ["inspect", "-f", "{{.Id.Foo}}", "web"],
    ["inspect", "-f", "{{.", "web"],
    ["inspect", "--type", "image", "web"],
    ["inspect", "--type", "pod", "web"],
    ["image", "inspect", "-f", "{{.Config}} {{.RootFS}} {{.Metadata.LastTagTime}} {{json .}}", BUSYBOX],
    ["volume", "ls"],
    ["volume", "ls", "--format", "json"],
    ["volume", "inspect", "vol"],
    ["volume", "inspect", "-f", "{{json .}} {{.}}", "vol"],
    ["volume", "rm", "vol"],
    ["volume", "rm", "nothing"],
    ["network", "ls"],
    ["network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}} {{.IPv6}} {{.Internal}} {{.CreatedAt}}"],
    ["network", "inspect", "-f", "{{json .}} {{.Created}} {{.IPAM}} {{.Containers}}", "bridge"],
    ["network", "rm", "bridge"],
    ["network", "rm", "nothing"],
    ["network", "create", "--gateway", "10.0.0.1", "n"],
    ["rmi", "nothing"],
    ["rmi", "-f", "nothing"],
    ["tag", "nothing", "x"],
    ["tag", BUSYBOX, "UPPER"],
    ["pull", BUSYBOX],
    ["load", "-i", "/nonexistent"],
    ["save", "nothing"],
    [
        "info",
        "-f",
        "{{.ServerVersion}} {{json .Plugins}} {{.Swarm.LocalNodeState}} {{.Runtimes}} {{.ClientInfo.Context}}",
    ],
    ["version", "-f", "{{.Server.Version}} {{json .Server.Components}} {{json .Server}}"],
    ["version", "-f", "{{"],
    ["system", "df"],
    ["system", "df", "-v"],
    ["system", "df", "--format", "json"],
    ["system", "df", "-v", "--format", "json"],
    ["events", "--since", "1h", "--until", "0s"],
    ["events", "--since", "1h", "--until", "0s", "--format", "json"],
    ["events", "--since", "1h", "--until", "0s", "--filter", "type=volume", "--format", "{{.Action}} {{.ID}}"],
    ["events", "--format", "{{.Foo}}"],
    ["inspect"],
    ["network", "create"],
    ["ps", "what"],
]

_ID = "0123456789abcdef" * 4
_REFUSED = [
    # Nothing where something must be, as of an unset variable of a shell.
    *(["run", "-d", "-a", stream, BUSYBOX, "true"] for stream in ("stdin", "stdout")),
    ["run", ""],
    ["create", ""],
    ["tag", "", "x"],
    ["tag", BUSYBOX, ""],
    ["tag", "", ""],
    ["pull", ""],
    ["push", ""],
    ["commit", ""],
    ["cp", "", "."],
    ["cp", "web:/etc/hosts", ""],
    ["rename", "web", ""],
    ["rename", "", "x"],
    ["port", "web", ""],
    ["network", "connect", "bridge", ""],
    ["network", "connect", "", "web"],
    ["network", "disconnect", "bridge", ""],
    ["network", "create", ""],
    ["volume", "rm", ""],
    ["context", "use", ""],
    ["context", "create", ""],
    ["context", "update", ""],
    ["context", "export", ""],
    # Names are checked before anything is looked for, the source first.
    ["tag", "missing", "UPPER"],
    ["tag", "UPPER", "x"],
    ["tag", "UPPER", "LOWER"],
    ["tag", BUSYBOX, "a:b:c"],
    ["tag", BUSYBOX, f"x@sha256:{_ID}"],
    ["tag", BUSYBOX, _ID],
    ["tag", BUSYBOX, "sha256:x"],
    ["tag", _ID, "x"],
    ["tag", f"sha256:{_ID}", "x"],
]


def _prepare(engine: Engine) -> None:
    run = ("run", "-d", "--name", "web", "-l", "a=b", "-l", "x.y-z=1", "-v", "vol:/data", "--restart", "on-failure:3")
    engine.docker(*run, "-p", "127.0.0.1::80", BUSYBOX, "sleep", "600").ok()
    engine.docker("run", "--name", "done", BUSYBOX, "sh", "-c", "exit 3")


def _said(done: Done) -> tuple[int, str, str]:
    """What a client said, without its own name, and without ages, which may have changed in between."""
    out, err = (
        _AGE.sub("AGE  ", text.replace("Docker", "darse").replace("docker", "darse")) for text in (done.out, done.err)
    )
    # A list counts an image's containers since API 1.51, which a docker of before does not speak.
    out = re.sub(r'("Containers":)"(N/A|\d+)"', r"\1COUNT", out) if done.command[1] == "images" else out
    return done.status, re.sub("  +", "  ", out), err


def test_what_is_printed(engine: Engine) -> None:
    _prepare(engine)
    different = []
    for line in _LOOKING:
        theirs, ours = _said(engine.docker(*line)), _said(engine.darse(*line))
        if theirs != ours:
            different.append(f"{line}:\n  docker {theirs}\n  darse  {ours}")
    assert not different, "\n".join(different)


def test_what_is_refused(engine: Engine) -> None:
    engine.docker.needs(28, "these words for it")
    _prepare(engine)
    different = []
    for line in _REFUSED:
        theirs, ours = _said(engine.docker(*line)), _said(engine.darse(*line))
        if theirs != ours or (theirs[0] == 0) != (line == ["port", "web", ""]):
            different.append(f"{line}:\n  docker {theirs}\n  darse  {ours}")
    assert not different, "\n".join(different)


def test_changes(engine: Engine) -> None:
    engine.docker("system", "prune", "-f").ok()  # of what other tests have left
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    for client in (engine.docker, engine.darse):
        network = client("network", "create", "--subnet", "10.201.7.0/24", "--label", "a=b", "n").line
        assert re.fullmatch("[0-9a-f]{64}", network)
        assert client("volume", "create", "--label", "a=b", "vol").ok().line == "vol"
        assert client("tag", BUSYBOX, "other:1").ok().out == ""
        assert client("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}} {{.Labels}}", "n").line == (
            "10.201.7.0/24 map[a:b]"
        )
        engine.docker("create", "--name", "ctr", BUSYBOX, "true").ok()
        assert client("network", "connect", "--alias", "x", "n", "ctr").ok().out == ""
        shown = client("inspect", "-f", '{{(index .NetworkSettings.Networks "n").Aliases}}', "ctr").line
        assert shown == "[x]", shown
        assert client("network", "disconnect", "n", "ctr").ok().out == ""
        assert client("rm", "ctr").line == "ctr"
        assert client("network", "rm", "n").line == "n"
        assert client("volume", "rm", "vol").line == "vol"
        assert client("rmi", "other:1").line == "Untagged: other:1"
    assert engine.darse("system", "prune", "-f").ok().out == "Total reclaimed space: 0B\n"


def test_save_and_load(engine: Engine) -> None:
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    for client in (engine.docker, engine.darse):
        client("tag", BUSYBOX, "saved:1").ok()
        archive = client("save", "saved:1").ok().raw
        client("rmi", "saved:1").ok()
        assert client("load", input=archive).ok().out == "Loaded image: saved:1\n"
        path = engine.root / f"{client.name}.tar"
        client("save", "-o", str(path), "saved:1").ok()
        assert path.stat().st_mode & 0o777 == 0o600
        client("rmi", "saved:1").ok()
        assert client("load", "-q", "-i", str(path)).ok().out == "Loaded image: saved:1\n"
        client("rmi", "saved:1").ok()


def test_explain(engine: Engine) -> None:
    engine.darse("run", "--name", "told", BUSYBOX, "true").ok()
    story = engine.darse("explain", "told", "--last", "start").ok().out
    assert story.startswith("start told (")
    assert "mount -t overlay" in story
    assert "in the engine itself" in story
    assert (
        engine.darse("explain", "--format", "{{.name}} {{.outcome}}", "told", "--last", "create").line == "create done"
    )
    assert "No such container: nothing" in engine.darse("explain", "nothing").err


def test_doctor(engine: Engine) -> None:
    seen = engine.darse("doctor")
    assert "answers at unix://" in seen.out
    assert re.search(r"\d+ checks, \d+ problems?, \d+ notes?", seen.out)
    unseen = engine.darse("doctor", env={"DARSE_HOST": "unix:///nonexistent.sock"})
    assert unseen.status == 1
    assert "none runs" in unseen.out


def test_completion_of_names(engine: Engine) -> None:
    engine.docker("create", "--name", "known", BUSYBOX).ok()
    assert "known" in engine.darse("completion", "--words", "--", "darse rm kn").out.splitlines()
    assert engine.darse("completion", "--words", "--", "darse stop kn").out == ""


def test_ssh_clients_come_through_dial_stdio(engine: Engine) -> None:
    request = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with engine.darse.popen("system", "dial-stdio") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        answer = process.stdout.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"OK")
