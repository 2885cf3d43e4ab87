"""Nothing that darse prints of its own wraps on a terminal of 80 columns, or of 60."""

from __future__ import annotations

import subprocess

import pytest
from _pytest.capture import CaptureIO

from darse.cli.command_line import flags
from darse.cli.commands.system.explain import story
from darse.cli.output import progress, stats_rows
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


def test_a_table_that_has_room_is_dockers() -> None:
    assert fit(_PS, 400) == align(_PS)


@pytest.fixture(params=[60, 80])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> int:
    from darse.cli.commands.system import doctor, events, explain

    monkeypatch.setattr(CaptureIO, "isatty", lambda _self: True)  # what capsys puts in standard output's place
    for module in (flags, doctor, events, explain):
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
    for line in _lines([found, {**found, "check": "short"}]):
        assert len(line.replace("\x1b[33m", "").replace("\x1b[0m", "")) <= columns


def test_explain(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    step = {
        "kind": "mount",
        "summary": "the layers of the image, and what the container writes above them, become its root",
        "command": ["mount", "-t", "overlay", "overlay", "-o", "lowerdir=" + "l" * 20, "/run/x/" + "r" * 12],
        "begin_ns": 0,
        "duration_ns": 1_000_000,
    }
    operation = {
        "name": "start",
        "subject": "c" * 64,
        "outcome": "done",
        "duration_ns": 2_000_000,
        "started_at_ns": 0,
        "steps": [step],
    }
    lines = list(story(operation, "web"))
    assert max(map(len, lines)) <= columns
    typed = " ".join(line.strip(" $\\") for line in lines if "mount -t" in line or line.startswith(" " * 4))
    assert "-o" in typed


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
