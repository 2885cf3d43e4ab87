"""Manual pages from the tables of commands and flags (man(7)).

`.venv/bin/python -m darse.cli.command_line.man DIRECTORY` writes `darse.1` and one page per command and alias: `man -l
DIRECTORY/darse-run.1` shows one. The engine's pages, darsed(8) and darse-daemon.json(5), are
`darse.engine.configuration.manual`'s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from darse.cli.command_line import help_pages, index
from darse.cli.command_line.flags import Command, Flag


def main() -> int:
    """Write all pages into the directory that the command line names."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m darse.cli.command_line.man DIRECTORY\n")
        return 2
    directory = sys.argv[1]
    os.makedirs(directory, exist_ok=True)
    written = 0
    for name, text in pages():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(text)
        written += 1
    sys.stdout.write(f"{written} manual pages in {directory}\n")
    return 0


def pages() -> Iterator[tuple[str, str]]:
    """Names of pages' files, and their text."""
    from darse.cli.entry import GLOBAL

    yield "darse.1", _overview(GLOBAL)
    for path, entry in index.COMMANDS.items():
        command = entry.load(path)[0]
        yield f"{page_name(path)}.1", page(command, index.aliases_of(path))
    for alias, path in index.ALIASES.items():
        # A whole page rather than a reference to one: `man -l FILE` follows none.
        command = index.COMMANDS[path].load(path)[0]
        names = [name for name in [path, *index.aliases_of(path)] if name != alias]
        yield f"{page_name(alias)}.1", page(command.typed_as(alias), names)


def page_name(path: str) -> str:
    """`container run` has the page `darse-container-run`."""
    return "darse-" + path.replace(" ", "-")


def page(command: Command, aliases: Sequence[str] = ()) -> str:
    """The page of a command."""
    name = page_name(command.path)
    lines = [_title(name), ".SH NAME", rf"{_text(name)} \- {_text(command.summary.splitlines()[0])}", ".SH SYNOPSIS"]
    lines.append(rf"\fBdarse {_text(command.path)}\fR {_text(command.usage)}".rstrip())
    if aliases:
        lines += [".SH ALIASES", ", ".join(rf"\fBdarse {_text(one)}\fR" for one in sorted(aliases))]
    first, *more = command.summary.splitlines()
    lines += [".SH DESCRIPTION", _text(first.rstrip(".")) + "."]
    lines += [".nf", *map(_text, more), ".fi"] if more else []
    lines += _options("OPTIONS", command.flags)
    if keys := help_pages.filter_keys(command.path):
        lines += [".SH FILTERS", rf"The keys of \fB\-\-filter\fR: {_text(keys)}."]
    if shown := command.examples.strip().splitlines() or help_pages.examples(command.path):
        lines += [".SH EXAMPLES", ".nf", *map(_text, shown), ".fi"]
    lines.append(".SH EXIT STATUS")
    for status, _, meaning in (line.partition(" ") for line in help_pages.statuses(command.path)):
        lines += [".TP", rf"\fB{status}\fR", _text(meaning.strip())]
    lines += [".SH SEE ALSO", r"\fBdarse\fR(1)"]
    return "\n".join(lines) + "\n"


def _overview(command: Command) -> str:
    lines = [_title("darse"), ".SH NAME", rf"darse \- {_text(command.summary)}", ".SH SYNOPSIS"]
    lines += [r"\fBdarse\fR [OPTIONS] COMMAND", ".SH COMMANDS"]
    for path, entry in sorted(index.COMMANDS.items()):
        lines += [".TP", rf"\fB{_text(page_name(path))}\fR(1)", _text(entry.summary)]
    lines += _options("OPTIONS", command.flags)
    lines += [".SH ENVIRONMENT", ".TP", r"\fBDARSE_HOST\fR, \fBDOCKER_HOST\fR", "The engine to connect to."]
    lines += [".TP", r"\fBDOCKER_CONTEXT\fR", "The context to use."]
    lines += [".TP", r"\fBDOCKER_AUTH_CONFIG\fR", "Credentials for registries, as a config.json."]
    lines += [".TP", r"\fBDOCKER_DEFAULT_PLATFORM\fR", r"What \fB\-\-platform\fR is when it is not given."]
    lines += [".TP", r"\fBNO_COLOR\fR", "Print without colours."]
    lines += [".TP", r"\fBDOCKER_CONFIG\fR", r"The directory of config.json; the default is ~/.docker."]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    from darse import __version__

    return f'.TH "{_text(name.upper())}" "1" "" "darse {__version__}" "darse"'


def _options(title: str, flags: Sequence[Flag]) -> list[str]:
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    lines = [f".SH {title}"] if shown else []
    for flag in shown:
        short = rf"\fB\-{_text(flag.short)}\fR, " if flag.short else ""
        value = rf" \fI{_text(flag.value)}\fR" if flag.value else ""
        text = "\n.br\n".join(map(_text, flag.help.split("\n")))
        if flag.default not in (None, False, "", []):
            text += f" (default {_text('true' if flag.default is True else str(flag.default))})"
        lines += [".TP", rf"{short}\fB\-\-{_text(flag.name)}\fR{value}", text]
    return lines


def _text(text: str) -> str:
    """Text as troff takes it: backslashes, hyphens, and no control character at the beginning of a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.exit(main())
