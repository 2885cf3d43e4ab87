"""Nothing that darse prints of its own wraps on a terminal of 80 columns, or of 60."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.capture import CaptureIO

from darse.cli import entry
from darse.cli.command_line import flags, index
from darse.cli.commands.system.explain import story
from darse.cli.output import progress, shell, stats_rows
from darse.cli.output.table import align, fit, width
from tests.unit.cli.fake import run

_PS = (
    "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES\n"
    '0123456789ab\tregistry.example.com/team/application:1.2.3\t"docker-entrypoint.s…"\t2 minutes ago\t'
    "Up About a minute (healthy)\t0.0.0.0:8080->80/tcp, [::]:8080->80/tcp\tclever_hopper\n"
)
_STATS = "\t".join(stats_rows.HEADINGS[name] for name in ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc"))
_STATS += "\tNET I/O\tBLOCK I/O\tPIDS\n"
_STATS += "0123456789ab\tclever_hopper\t100.00%\t512.3MiB / 15.53GiB\t12.34%\t1.23MB / 456kB\t12.3MB / 456MB\t12\n"


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("text", [_PS, _STATS], ids=["ps", "stats"])
def test_tables(text: str, columns: int) -> None:
    lines = fit(text, columns).splitlines()
    assert max(map(width, lines)) <= columns
    assert "clever_hopper" in lines[1]


_LONG = "a-very-long-name-of-a-container-indeed"
_SIZED = (
    f"{_PS.splitlines()[0]}\tSIZE\n"
    f"{_PS.splitlines()[1].replace('clever_hopper', 'wordpress_database_1')}\t1.09kB (virtual 133MB)\n"
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (_PS.replace("clever_hopper", _LONG), _LONG),
        (_STATS.replace("clever_hopper", _LONG), _LONG),
        (_SIZED, "wordpress_database_1"),
    ],
    ids=["ps", "stats", "sizes"],
)
def test_a_long_name_is_not_shortened(text: str, name: str) -> None:
    lines = fit(text, 60).splitlines()
    assert max(map(width, lines)) <= 60
    assert name in lines[1]


def test_a_table_that_has_room_is_dockers() -> None:
    assert fit(_PS, 400) == align(_PS)


@pytest.fixture(params=[60, 80])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> int:
    from darse.cli.command_line import help_pages
    from darse.cli.commands.system import doctor, events, explain

    monkeypatch.setattr(CaptureIO, "isatty", lambda _self: True)  # what capsys puts in standard output's place
    for module in (flags, help_pages, doctor, events, explain):
        monkeypatch.setattr(module, "terminal_width", lambda: request.param)
    return int(request.param)


def test_events(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    actor = {
        "ID": "c" * 64,
        "Attributes": {"image": "registry.example.com/team/application:1", "name": "clever_hopper"},
    }
    event = {"Type": "container", "Action": "start", "Actor": actor, "time": 1, "timeNano": 1_500_000_000}
    run(["events"], {("GET", "/events"): [event]})
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) <= columns
    assert ".500 container start cccccccccccc (image=" in line


def test_doctor(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    from darse.cli.commands.system.doctor import _lines

    name = "/usr/share/containers/seccomp.json"
    found = {"level": "note", "check": name, "found": "words " * 30, "advice": "do " * 40}
    for line in _lines([found, {**found, "check": "short"}, {**found, "check": "n" * 20}]):
        assert len(line.replace("\x1b[33m", "").replace("\x1b[0m", "")) <= columns


_GROUP = "/sys/fs/cgroup/freezer/darse_0123abcd/" + "c" * 64
_COMMANDS = [
    ["mount", "-t", "overlay", "overlay", "-o", "lowerdir=" + "l" * 200, "/run/x/" + "r" * 12],
    ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/d/layers/{'a' * 64}/fs:/d/layers/{'b' * 64}/fs", "/run/x"],
    ["sh", "-c", f"echo FROZEN > {_GROUP}/freezer.state"],
    ["sh", "-c", f"echo 'c *:* rwm' > {_GROUP}/devices.allow"],
    ["mkdir", "-p", _GROUP, ";", "rmdir", _GROUP],
    ["curl", "-H", "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"],
    ["tee", f"/d/containers/{'c' * 64}/hostname", "::1\tlocalhost ip6-localhost ip6-loopback\n"],
]


def _operation(commands: list[list[str]]) -> dict[str, Any]:
    steps = [
        {
            "kind": "mount",
            "summary": "the layers of the image, and what the container writes above them, become its root",
            "command": command,
            "begin_ns": 0,
            "duration_ns": 1_000_000,
            "failed": "it did not work, for a reason that takes more than a line of any terminal to tell of it",
        }
        for command in commands
    ]
    return {
        "name": "start",
        "subject": "c" * 64,
        "outcome": "failed: it did not work, for a reason that takes more than a line of any terminal to tell",
        "duration_ns": 2_000_000,
        "started_at_ns": 0,
        "steps": steps,
    }


def test_explain(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(story(_operation(_COMMANDS), "a-container-with-a-long-name_of_its-own"))
    assert max(len(line.expandtabs()) for line in lines) <= columns


@pytest.mark.parametrize("indent", [4, 37])
@pytest.mark.parametrize("room", [0, *range(30, 100)])
def test_commands_that_are_cut_are_the_same_to_a_shell(room: int, indent: int) -> None:
    columns = room + indent if room else 0
    commands = [command for command in _COMMANDS if not {";", "tee"} & set(command)]
    steps = [{"command": command} for command in commands]
    names = shell.short_names(steps, "c" * 64)
    assert len(names) == 3
    lines = [line for value, name in names.items() for line in shell.folded(f"  $ {name}={value}", columns)]
    for command in commands:
        lines += shell.typed(["printf", "%s|", *command], " " * indent, columns, names)
    if columns:
        assert max(map(len, lines)) <= columns
    script = "\n".join(line.lstrip().removeprefix("$ ") if line.lstrip().startswith("$ ") else line for line in lines)
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "".join(f"{word}|" for command in commands for word in command)


def test_the_list_of_explain(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"id": "c" * 64, "name": "checkpoint", "started_at_ns": 0, "duration_ns": 123_456_789_012, "steps": 100}
    names = ("clever_hopper", "a-container-with-a-long-name_of_its-own", "registry.example.com/team/application:1.2.3")
    rows = [{**one, "container": name, "outcome": "failed: x"} for name in names]
    run(["explain"], {("GET", "/darse/explain"): rows})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert all("checkpoint" in line and "failed" in line for line in lines[1:])
    assert "clever_hopper" in lines[1]


def _helps() -> Iterator[tuple[str, str]]:
    for path, entry_ in index.COMMANDS.items():
        command, _ = importlib.import_module(entry_.module).COMMANDS[path]
        names = [path, *index.aliases_of(path)]
        for typed in names:
            yield typed, flags.help_text(command.typed_as(typed), [one for one in names if one != typed])


def test_help(columns: int) -> None:
    wide = [(name, line) for name, text in _helps() for line in text.splitlines() if len(line) > columns]
    assert wide == []


@pytest.mark.parametrize("line", [["help"], ["--help"], *(["help", name] for name in index.GROUPS)])
def test_overviews(line: list[str], columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(line) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


@pytest.mark.parametrize(("columns", "bar"), [(120, 50), (80, 20), (70, 10), (60, 0)])
def test_bars(columns: int, bar: int) -> None:
    shown = progress._progress({"current": 50, "total": 100}, columns)
    assert shown.count("=") == bar // 2
    line = f"0123456789ab: Downloading {progress._progress({'current': 99_900_000, 'total': 100_000_000}, columns)}"
    assert len(line) < columns


def test_explain_names_what_is_long_once() -> None:
    subject, layers = "5" * 64, [f"/var/lib/darse/images/layers/{digit * 64}" for digit in "abc"]
    lower = ":".join(f"{layer}/fs" for layer in layers)
    command = ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower}", f"/run/darse/bundles/{subject}/rootfs"]
    step = {"kind": "mount", "summary": "overlay", "command": command, "begin_ns": 0, "duration_ns": 1, "failed": ""}
    operation = {"name": "start", "subject": subject, "started_at_ns": 0, "duration_ns": 10, "outcome": "done"}
    lines = [line.strip() for line in story({**operation, "steps": [step]}, "web")]
    assert {f"$ ID={subject}", f"$ LAYER1={layers[0]}", f"$ LAYER3={layers[2]}"} <= set(lines)
    shown = "mount -t overlay overlay -o lowerdir=$LAYER1/fs:$LAYER2/fs:$LAYER3/fs /run/darse/bundles/$ID/rootfs"
    assert f"$ {shown}" in lines
    # A shell gives back what was asked for.
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    done = subprocess.run(
        ["sh", "-c", "\n".join(typed).replace("mount ", "echo ")], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == command[1:]
