"""Help and manual pages: every command has an example that parses, its filter keys, and its exit statuses."""

from __future__ import annotations

import importlib
import shlex

import pytest

from darse.cli import entry
from darse.cli.command_line import flags, help_pages, index, man
from darse.containers import list_filters
from darse.engine import system
from darse.images import service as images
from darse.images.transfer import service
from darse.networks import views
from darse.volumes import service as volumes

_SUPPORTED = {
    "container ls": list_filters.LIST_FILTERS,
    "container prune": list_filters.PRUNE_FILTERS,
    "image ls": images.LIST_FILTERS,
    "image prune": [key for key in images.PRUNE_FILTERS if key != "dangling"],  # `--all` sets it
    "network ls": views.LIST_FILTERS,
    "network prune": views.PRUNE_FILTERS,
    "volume ls": volumes.LIST_FILTERS,
    "volume prune": volumes.PRUNE_FILTERS,
    "system events": system.EVENT_FILTERS,
    "system prune": list_filters.PRUNE_FILTERS,
    "search": service.SEARCH_FILTERS,
}


def _command(path: str) -> flags.Command:
    command: flags.Command = importlib.import_module(index.COMMANDS[path].module).COMMANDS[path][0]
    return command


@pytest.mark.parametrize("path", _SUPPORTED)
def test_filter_keys_are_the_engines(path: str) -> None:
    assert set(help_pages.FILTERS[path]) == set(_SUPPORTED[path])


def test_every_filter_has_its_keys() -> None:
    have = {path for path in index.COMMANDS if any(flag.name == "filter" for flag in _command(path).flags)}
    assert have == set(help_pages.FILTERS)


@pytest.mark.parametrize("path", index.COMMANDS)
def test_examples_parse(path: str) -> None:
    command = _command(path)
    lines = command.examples.strip().splitlines() or help_pages.examples(path)
    assert lines
    for line in lines:
        (typed,) = [part for part in line.split(" | ") if part.startswith("darse ")] or [""]
        words = shlex.split(typed.partition(" < ")[0].partition(" > ")[0])
        if not words:
            continue  # what is done in the shell besides
        found = index.resolve(words[1:])
        assert found is not None
        flags.parse(_command(found[1]), found[2])
    shown = flags.help_text(command)
    assert "Examples:" in shown
    assert "Exit status:" in shown


def test_pages_need_no_other_page() -> None:
    pages = dict(man.pages())
    assert {"darse.1", "darse-run.1", "darse-container-run.1", "darse-ps.1"} <= set(pages)
    assert not [name for name, text in pages.items() if text.startswith(".so")]
    assert ".SH FILTERS" in pages["darse-ps.1"]
    assert ".SH EXIT STATUS" in pages["darse-run.1"]


def test_defaults_are_shown_as_they_are_typed() -> None:
    shown = flags.help_text(_command("network create"))
    assert "(default true)" in " ".join(shown.split())
    assert "True" not in shown


def test_a_log_level_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["-l", "foo", "--help"]) in (0, 1)
    assert entry.run(["-l", "foo", "version", "--client"]) == 1
    assert 'unable to parse logging level: "foo"' in capsys.readouterr().err
    assert entry.run(["-l", "warn", "version", "--client"]) == 0
