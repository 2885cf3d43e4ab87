"""`inspect`: templates on docker's types, then on the JSON; errors and statuses as docker's."""

from __future__ import annotations

from typing import Any

import pytest

from darse.cli.errors import CliError
from tests.unit.cli.fake import run

_CONTAINER: dict[str, Any] = {
    "Id": "ab" * 32,
    "Created": "2026-01-02T03:04:05Z",
    "State": {"Status": "running", "Running": True, "Pid": 7, "StartedAt": "x", "FinishedAt": "y"},
    "Name": "/web",
    "HostConfig": {
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "Memory": 1048576,
        "OomKillDisable": None,
    },
    "Config": {
        "Cmd": ["sleep", "1"],
        "Env": ["A=1"],
        "Labels": {"b": "2", "a": "1"},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000},
    },
    "Mounts": [{"Type": "volume", "Name": "v", "Source": "/s", "Destination": "/d", "RW": True}],
    "NetworkSettings": {"Networks": {"my-net": {"IPAddress": "10.0.0.2"}}, "Ports": {"80/tcp": None}},
    "OfDarse": {"Extra": 5},
}
_ANSWERS = {
    ("GET", "/containers/web/json"): _CONTAINER,
    ("GET", "/images/busybox/json"): {"Id": "sha256:" + "cd" * 32, "Size": 5, "Config": {"Cmd": ["sh"]}},
    ("GET", "/networks/bridge"): {"Name": "bridge", "Id": "ef" * 32, "Created": "2026-01-02T03:04:05.5Z"},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Id}} {{.Name}}", "ab" * 32 + " /web"),
        ("{{.ID}}", "ab" * 32),
        ("{{.State.Status}} {{.State.ExitCode}}", "running 0"),
        ("{{.State}}", "{running true false false false false 7 0  x y <nil>}"),
        ("{{.HostConfig.RestartPolicy}}", "{on-failure 3}"),
        ("{{.HostConfig.PortBindings}}", "map[80/tcp:[{ 8080}]]"),
        ("{{.HostConfig.NetworkMode}}|{{.HostConfig.OomKillDisable}}|{{.HostConfig.Privileged}}", "|<nil>|false"),
        ('{{join .Config.Cmd " "}} {{len .Config.Env}} {{index .Config.Env 0}}', "sleep 1 1 A=1"),
        ("{{json .Config.Labels}} {{.Config.Labels}}", '{"a":"1","b":"2"} map[a:1 b:2]'),
        ('{{index .Config.Labels "a"}}', "1"),
        ("{{.Config.Healthcheck.Interval}}", "30s"),
        ('{{(index .NetworkSettings.Networks "my-net").IPAddress}}', "10.0.0.2"),
        ("{{range .Mounts}}{{.Source}}:{{.Destination}}{{end}}", "/s:/d"),
        ("{{range $p, $_ := .NetworkSettings.Ports}}{{$p.Port}} {{$p.Proto}}{{end}}", "80 tcp"),
        ("{{.OfDarse.Extra}}", "5"),
        ("{{json .State}}", None),
    ],
)
def test_templates(template: str, text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    run(["inspect", "-f", template, "web"], _ANSWERS)
    out = capsys.readouterr().out
    if text is None:
        text = (
            '{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,'
            '"Pid":7,"ExitCode":0,"Error":"","StartedAt":"x","FinishedAt":"y"}'
        )
    assert out == text + "\n"


def test_unknown_fields() -> None:
    with pytest.raises(CliError) as caught:
        run(["inspect", "-f", "{{.Foo}}", "web"], _ANSWERS)
    assert str(caught.value) == (
        'template parsing error: template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'
    )
    assert caught.value.status == 1


def test_bad_template() -> None:
    with pytest.raises(CliError) as caught:
        run(["inspect", "-f", "{{.Foo", "web"], _ANSWERS)
    assert caught.value.status == 64


def test_kinds_are_tried_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    client = run(["inspect", "-f", "{{.ID}}", "busybox"], _ANSWERS)
    assert [path for _, path, _, _ in client.asked] == ["/containers/busybox/json", "/images/busybox/json"]
    assert capsys.readouterr().out == "sha256:" + "cd" * 32 + "\n"


def test_what_is_there_is_shown_before_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CliError, match=r"^Error: No such object: nope$"):
        run(["inspect", "nope", "bridge"], _ANSWERS)
    out = capsys.readouterr().out
    assert out.startswith('[\n    {\n        "Name": "bridge"')


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CliError, match=r"^Error: No such object: nope$"):
        run(["inspect", "nope"], _ANSWERS)
    assert capsys.readouterr().out == "[]\n"


def test_times_are_gos(capsys: pytest.CaptureFixture[str]) -> None:
    run(["network", "inspect", "-f", "{{.Created}}", "bridge"], _ANSWERS)
    assert capsys.readouterr().out == "2026-01-02 03:04:05.5 +0000 UTC\n"


def test_types() -> None:
    with pytest.raises(CliError, match="unknown type"):
        run(["inspect", "--type", "pod", "x"], _ANSWERS)
    with pytest.raises(CliError, match="type is empty"):
        run(["inspect", "--type", "", "x"], _ANSWERS)


def test_size_is_for_containers(capsys: pytest.CaptureFixture[str]) -> None:
    run(["inspect", "-s", "bridge"], _ANSWERS)
    assert capsys.readouterr().err == "WARNING: --size ignored for network\n"
    assert run(["inspect", "-s", "web"], _ANSWERS).asked[0][2] == {"size": True}
