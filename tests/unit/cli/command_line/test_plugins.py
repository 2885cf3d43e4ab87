"""docker's CLI plugins are commands of darse; what is no command is answered with what was meant, or what to use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from darse.cli.command_line.unknown import ABSENT

_GOOD = {"SchemaVersion": "0.1.0", "Vendor": "Nobody Inc.", "ShortDescription": "Says hello"}


def _plugin(directory: Path, name: str, metadata: object = _GOOD) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / f"docker-{name}"
    program.write_text(
        f"""#!/bin/sh
case $1 in docker-cli-plugin-metadata) echo '{json.dumps(metadata)}'; exit;; esac
echo "$DOCKER_HOST|$DOCKER_CONTEXT|$DOCKER_CONFIG|$DOCKER_TLS_VERIFY|$DOCKER_CERT_PATH"
for word; do echo "[$word]"; done
exit 7
"""
    )
    program.chmod(0o755)


class Command:
    """darse with a directory of settings of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "DARSE_"))}
        environment = {**kept, "DOCKER_CONFIG": str(self.directory), "DARSE_HOST": "unix:///nowhere.sock", **variables}
        code = "from darse.cli.entry import main; main()"
        command = [sys.executable, "-c", code, *line]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def darse(tmp_path: Path) -> Command:
    return Command(tmp_path / "config")


def test_a_plugin_is_a_command(darse: Command) -> None:
    _plugin(darse.directory / "cli-plugins", "hello")
    done = darse("hello", "--flag", "a b", "-x", DOCKER_CONTEXT="other")
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        f"unix:///nowhere.sock||{darse.directory}||",
        *("[hello]", "[--flag]", "[a b]", "[-x]"),
    ]


def test_its_engine_is_the_one_of_the_flags(darse: Command) -> None:
    _plugin(darse.directory / "cli-plugins", "hello")
    done = darse("-H", "tcp://there:1", "--tlsverify", "--tlscacert", "/certs/ca.pem", "hello")
    assert done.stdout.splitlines()[0] == f"tcp://there:1||{darse.directory}|1|/certs"


def test_plugins_of_other_directories(darse: Command, tmp_path: Path) -> None:
    _plugin(tmp_path / "extra", "hello")
    darse.directory.mkdir()
    (darse.directory / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(tmp_path / "extra")]}))
    assert darse("hello").returncode == 7


def test_help_lists_plugins_and_asks_them(darse: Command) -> None:
    _plugin(darse.directory / "cli-plugins", "hello")
    _plugin(darse.directory / "cli-plugins", "broken", "no object")
    shown = darse("--help").stdout
    assert "  hello       Says hello\n" in shown
    assert "broken" not in shown
    assert darse("help", "hello").stdout.splitlines()[1:] == ["[hello]", "[--help]"]


@pytest.mark.parametrize("metadata", ["text", {}, {"SchemaVersion": "1.0", "Vendor": "v"}, {"SchemaVersion": "0.1.0"}])
def test_a_program_that_is_no_plugin_is_not_run(metadata: object, darse: Command) -> None:
    _plugin(darse.directory / "cli-plugins", "hello", metadata)
    done = darse("hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert "docker-hello is no CLI plugin" in done.stderr


def test_a_command_of_ours_is_no_plugins(darse: Command) -> None:
    _plugin(darse.directory / "cli-plugins", "ps")
    assert darse("ps").returncode == 1


@pytest.mark.parametrize("word", sorted(ABSENT))
def test_words_that_are_not_there_say_what_to_use(word: str, darse: Command) -> None:
    done = darse(word, "ls")
    assert done.returncode == 1
    assert "unknown command" not in done.stderr
    assert "darse" in done.stderr or "cli-plugins" in done.stderr


def test_a_group_in_a_group_has_a_page(darse: Command) -> None:
    for words in (("compose", "bridge"), ("compose", "bridge", "--help"), ("help", "compose", "bridge")):
        done = darse(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "  convert                 Convert compose files" in done.stdout
    assert "  create  " in darse("compose", "bridge", "transformations").stdout
    # Words and what is said of them are apart, however long the words are.
    assert "  bridge transformations create  Create" in darse("compose", "--help").stdout


def test_a_word_that_compose_does_not_have_is_named(darse: Command) -> None:
    for words, named in ((("upp",), "upp"), (("-f", "file", "bogus"), "-f file bogus")):
        done = darse("compose", *words)
        assert done.returncode == 1
        assert f"unknown command: darse compose {named}\n" in done.stderr
        assert "docker-compose" in done.stderr
    assert 'did you mean "up"?' in darse("compose", "upp").stderr


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("rnu", "run"),
        ("pss", "ps"),
        ("imgaes", "images"),
        ("netwrok ls", "network"),
        ("container sotp x", "stop"),
        ("helo", "hello"),
        ("run --detahc x", "--detach"),
        ("--cotext x ps", "--context"),
    ],
)
def test_what_was_meant(line: str, meant: str, darse: Command) -> None:
    _plugin(darse.directory / "cli-plugins", "hello")
    done = darse(*line.split())
    assert done.returncode in (1, 125)
    assert f'did you mean "{meant}"?' in done.stderr


def test_nothing_is_meant_by_anything(darse: Command) -> None:
    assert "did you mean" not in darse("qqqqqqq").stderr
