"""What a command costs before it does anything is what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_engine import Answer, FakeEngine

_SOURCE = Path(__file__).resolve().parents[3] / "src"
_HEAVY = {"typing", "re", "enum", "json", "socket", "ssl", "subprocess", "msgspec", "tempfile", "darse.distribution"}


def _imported(*line: str) -> set[str]:
    """The modules that a command line has loaded in the end, without those of the site."""
    code = f"import sys; from darse.cli import entry; entry.run({list(line)!r}); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(_SOURCE), "HOME": "/nonexistent"}, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("line", [["version", "--client"], ["--version"], ["--help"], ["context", "--help"]])
def test_what_needs_no_engine_loads_no_client(line: list[str]) -> None:
    loaded = _imported(*line)
    assert not loaded & (_HEAVY - {"re", "enum", "typing"} if "--help" in line else _HEAVY)
    assert not [name for name in loaded if name.startswith(("darse.client.blocking", "darse.cli.templates"))]


def test_help_of_run_loads_no_registry() -> None:
    loaded = _imported("run", "--help")
    assert not loaded & {"msgspec", "ssl", "tempfile", "darse.distribution", "darse.cli.engine.pull"}


@pytest.mark.parametrize("command", ["config", "up", "build", "ps", "alpha viz"])
def test_help_of_compose_loads_neither_yaml_nor_asyncio(command: str) -> None:
    assert not _imported("compose", *command.split(), "--help") & {"msgspec", "yaml", "asyncio", "dataclasses"}


def _imported_with_libraries(*line: str) -> set[str]:
    """The same, where the libraries are found, too."""
    code = f"import sys; from darse.cli import entry; entry.run({list(line)!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_compose_config_loads_no_more_of_the_libraries_than_it_uses(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: builtin/busybox}}")
    loaded = _imported_with_libraries("compose", "-f", str(file), "config", "-q")
    assert {"msgspec", "yaml._yaml"} <= loaded
    assert not loaded & {"typing_extensions", "inspect", "yaml.resolver", "yaml.loader", "asyncio", "urllib.parse"}


def test_a_file_that_libyaml_refuses_is_an_error_as_ever(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    for text, expected in (
        ("services: [", "did not find expected node content"),
        ("services: \x01", "unacceptable character #x0001: control characters are not allowed"),
    ):
        file.write_text(text)
        code = f"from darse.cli import entry; raise SystemExit(entry.run(['compose', '-f', {str(file)!r}, 'config']))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{file}:1:" in done.stderr or f"{file}:2:" in done.stderr
        assert expected in done.stderr


@pytest.mark.parametrize(
    ("line", "loads"),
    [
        (["ps"], False),
        (["ps", "-q"], False),
        (["ps", "--format", r"table {{.ID}}\t{{.Size}}"], False),
        (["ps", "--format", "json"], True),
        (["inspect", "c"], False),
        (["inspect", "-f", "{{.Id}}", "c"], True),
    ],
)
def test_templates_are_loaded_by_formats_that_need_them(line: list[str], loads: bool) -> None:
    answers = {("GET", "/containers/json"): [], ("GET", "/containers/c/json"): {"Id": "c"}}
    code = f"import sys; from tests.unit.cli.fake import run; run({line!r}, {answers!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=_SOURCE.parent, capture_output=True, text=True, check=True)
    assert ("darse.cli.templates" in done.stdout.split()) is loads


# What the shortest commands load beside darse: what Python itself or its C modules bring, and nothing of some weight.
_LIGHT = set("__future__ _collections_abc _json _socket _stat gc genericpath os os.path posixpath stat time".split())
_STREAMS = {"select", "termios", "tty"}
_SHORT = [
    (["ps"], set()),
    (["ps", "-a", "--filter", "name=x", "--no-trunc"], set()),
    (["exec", "c", "true"], _STREAMS),
    (["exec", "-d", "-e", "A=1", "c", "true"], _STREAMS),
    (["run", "--rm", "-e", "A=1", "-v", "/a:/b", "--restart", "no", "image", "true"], _STREAMS),
]


@pytest.mark.parametrize(("line", "more"), _SHORT)
def test_the_shortest_commands_load_nothing_of_weight(tmp_path: Path, line: list[str], more: set[str]) -> None:
    code = f"""
import sys
bare = set(sys.modules)
sys.path.append({str(_SOURCE)!r})
from darse.cli import entry
status = entry.run({line!r})
print(*sorted(set(sys.modules) - bare), file=sys.stderr)
sys.exit(status)
"""
    ended = {"Running": False, "ExitCode": 0}
    stream = Answer(status=101)
    container = {"Id": "c", "Names": ["/c"], "Command": "sh", "Created": 1, "ImageID": "sha256:1", "Image": "image"}
    with FakeEngine(tmp_path) as engine:
        engine.answers |= {
            ("GET", "/containers/json"): [container],
            ("POST", "/containers/create"): Answer({"Id": "c"}, 201),
            ("POST", "/containers/c/attach"): stream,
            ("POST", "/containers/c/wait"): Answer({"StatusCode": 0}),
            ("POST", "/containers/c/start"): Answer(status=204),
            ("POST", "/containers/c/exec"): Answer({"Id": "e"}, 201),
            ("POST", "/exec/e/start"): stream if "-d" not in line else Answer(),
            ("GET", "/exec/e/json"): ended,
        }
        done = subprocess.run(
            [sys.executable, "-IS", "-c", code],
            env={"DARSE_HOST": engine.host, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    loaded = {name for name in done.stderr.split() if name.partition(".")[0] != "darse"}
    assert loaded <= _LIGHT | more
