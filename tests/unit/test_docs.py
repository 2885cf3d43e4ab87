"""What the documentation tells people to type exists: commands and their flags, targets of make, modules, pages.

Code blocks are whole command lines; a word or two in a sentence only name a command.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from types import ModuleType

import pytest

from darse.cli.command_line import flags, index, unknown
from darse.cli.errors import CliError
from darse.engine.configuration.table import OPTIONS
from tests.support.engine import REPOSITORY

_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
_PAGES = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in _LISTED.stdout.split()}
_TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
# What goes before the name of a program.
_BEFORE = r"(?:\$ |sudo |[A-Z_]+=\S* )*(?:\S*/)?"


def blocks() -> Iterator[tuple[str, str]]:
    """The lines of all code blocks, each with its page."""
    for page, text in _PAGES.items():
        for block in _FENCE.findall(text):
            yield from ((page, line.strip()) for line in block.splitlines())
        for line in _FENCE.sub("", text).splitlines():
            if line.startswith("    ") and not line.lstrip().startswith(("-", "*")):
                yield page, line.strip()


def mentions() -> Iterator[tuple[str, str]]:
    """The code within sentences."""
    for page, text in _PAGES.items():
        yield from ((page, code) for code in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)))


def words_of(line: str, program: str) -> list[str] | None:
    """The words after a program's name, up to where a shell sees another command; None for other lines."""
    found = re.match(_BEFORE + program + r"(?: (.*))?\Z", line)
    if found is None:
        return None
    typed = re.sub(r"\$\([^)]*\)", "WORD", found[1] or "")
    lexer = shlex.shlex(typed, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return None  # it goes on in the next line, or is a sentence with an apostrophe
    end = next((number for number, word in enumerate(words) if set(word) <= set("|&;<>")), None)
    return words[:end]


def problem_of(words: list[str], *, whole: bool) -> str:
    """What is wrong with a command line of darse; `whole`: it has its arguments, too."""
    found = index.resolve(words)
    if found is None:
        is_known = not words or words[0] in index.GROUPS or words[0].startswith("-") or words[0] in unknown.ABSENT
        return "" if is_known else "there is no such command"
    command, _ = importlib.import_module(index.COMMANDS[found[1]].module).COMMANDS[found[1]]
    try:
        flags.parse(command, found[2])
    except flags.HelpRequested:
        return ""
    except CliError as error:
        text = str(error).splitlines()[0]
        return text if whole or error.status == flags.USAGE_STATUS else ""
    return ""


def test_commands_that_are_shown_can_be_typed() -> None:
    wrong, seen = [], 0
    for whole, code in ((True, blocks()), (False, mentions())):
        for page, line in code:
            words = words_of(line, "darse")
            if words is None:
                continue
            seen += 1
            if problem := problem_of(words, whole=whole):
                wrong.append(f"{page}: {line}: {problem}")
    assert not wrong, "\n".join(wrong)
    assert seen > 40


def test_flags_of_the_engine_that_are_shown_are_there() -> None:
    known = {f"--{option.flag}" for option in OPTIONS} | {"--help", "--version", "--validate", "--rebuild"}
    wrong = []
    for page, line in [*blocks(), *mentions()]:
        given = [word.partition("=")[0] for word in words_of(line, "darsed") or () if word.startswith("--")]
        wrong += [f"{page}: {line}: {flag}" for flag in given if flag not in known]
    assert not wrong, "\n".join(wrong)


def test_targets_and_modules_that_are_shown_are_there() -> None:
    wrong = []
    for page, line in [*blocks(), *mentions()]:
        for target in re.findall(r"(?:^|\s)make ([a-z-]+)(?![\w-])", line):
            wrong += [] if target in _TARGETS else [f"{page}: {line}: no such target"]
        for python, module in re.findall(r"(\S*python3?) -m ([\w.]+)", line):
            if module.startswith(("darse", "bench", "tests")):
                wrong += [] if python == ".venv/bin/python" else [f"{page}: {line}: not darse's own Python"]
                wrong += [] if importlib.util.find_spec(module) else [f"{page}: {line}: no such module"]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check", REPOSITORY / "docs" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_lead_somewhere_and_the_index_leads_to_every_page(checker: ModuleType) -> None:
    assert [problem for name in _PAGES for problem in checker.check(REPOSITORY / name)] == []
    listed = _PAGES["docs/index.md"]
    assert [name for name in _PAGES if name.startswith("docs/") and f"({name[5:]}" not in listed] == ["docs/index.md"]
    for page in ("docs/from-docker.md", "docs/installation.md", "docs/index.md"):
        assert f"]({page})" in _PAGES["README.md"]


def test_the_hints_of_make_run_work_afterwards() -> None:
    """The container that is explained is there still, by the name that it has, and the command is named by its path."""
    recipe = (REPOSITORY / "Makefile").read_text().partition("\nrun:")[2].partition("\n\n")[0]
    lines = [line.strip().replace("$(CURDIR)/$(BIN)", "/x").replace("$(BIN)", "/x") for line in recipe.splitlines()[1:]]
    run = next(words for line in lines if (words := words_of(line.lstrip("@"), "darse")) and words[0] == "run")
    assert "--rm" not in run
    hints = [line.removesuffix('"').partition(":  ")[2].strip() for line in lines if line.startswith("@echo")]
    assert [hint.partition(" ")[0] for hint in hints] == ["/x/darse", "/x/darse"]
    explain, more = (words_of(hint, "darse") for hint in hints)
    assert explain is not None
    assert more is not None
    assert (explain[0], explain[1]) == ("explain", run[run.index("--name") + 1])
    assert not problem_of(explain, whole=True) + problem_of(more, whole=True)


def test_the_map_of_the_sources_has_every_entry_in_the_order_of_the_layers() -> None:
    table = _PAGES["CONTRIBUTING.md"].partition("## A map of the sources")[2].partition("\n##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    shown = [name.removesuffix("/").removesuffix(".py") for row in rows for name in re.findall(r"`([^`]+)`", row)]
    package = REPOSITORY / "src/darse"
    entries = [path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert sorted(shown) == sorted(path.stem for path in entries if path.stem != "__init__")
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one for one in contracts if one["containers"] == ["darse"])["layers"]
    level = {name: number for number, layer in enumerate(layers) for name in layer.split(" | ")}
    order = [level[name] for name in shown if name in level]
    assert order == sorted(order)
