"""The engine's manual pages, from its table of options: darsed(8) and darse-daemon.json(5).

`.venv/bin/python -m darse.engine.configuration.manual DIRECTORY` writes both; `man -l DIRECTORY/darsed.8` shows one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from darse import __version__
from darse.engine.configuration.command_line import DEFAULT_CONFIG_FILE
from darse.engine.configuration.table import OPTIONS

_JSON = {
    "flag": "true or false",
    "number": "number",
    "text": "string",
    "list": "array",
    "pairs": "object",
    "object": "object",
}


def main() -> int:
    """Write the pages into the directory that the command line names."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m darse.engine.configuration.manual DIRECTORY\n")
        return 2
    if sys.argv[1] == "--markdown":
        sys.stdout.write(markdown())
        return 0
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


def markdown() -> str:
    """docs/options.md: every option by its flag and key, its meaning, default, and whether a reload takes it over."""
    lines = ["# Every option of the engine", ""]
    lines += [
        "Written by `make docs` from `engine/configuration/table.py`. *Reload*: SIGHUP (`systemctl reload darsed`)"
    ]
    lines += ["takes over what the file says then. A flag without a key, or a key without a flag, is in one of the two"]
    lines += ["places only.", ""]
    lines += ["| flag | key in `daemon.json` | value | meaning | default | reload |", "|---|---|---|---|---|---|"]
    for option in sorted(OPTIONS, key=lambda one: one.file_key):
        flag = f"`--{option.flag}`" if option.flag else ""
        short = f", `-{option.short}`" if option.short else ""
        cells = (
            f"{flag}{short}",
            f"`{option.file_key}`",
            _JSON[option.kind],
            option.meaning,
            option.default,
            "yes" if option.is_reloaded else "",
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def pages() -> Iterator[tuple[str, str]]:
    """Names of pages' files, and their text (man(7))."""
    yield "darsed.8", _engine()
    yield "darse-daemon.json.5", _file()


def _engine() -> str:
    lines = [_title("darsed", 8), ".SH NAME", r"darsed \- the darse engine: serves the Docker Engine API"]
    lines += [".SH SYNOPSIS", r"\fBdarsed\fR [OPTIONS]", ".SH DESCRIPTION"]
    lines += [_text("Runs containers and serves the API until SIGTERM or SIGINT. Containers run on when it stops.")]
    lines.append(".SH OPTIONS")
    lines += [
        ".TP",
        r"\fB\-\-config\-file\fR \fIstring\fR",
        _text(f"Configuration file (default {DEFAULT_CONFIG_FILE})."),
    ]
    lines += [".TP", r"\fB\-\-validate\fR", "Check the configuration and exit."]
    for option in sorted(OPTIONS, key=lambda one: one.flag):
        if option.flag:
            short = rf"\fB\-{option.short}\fR, " if option.short else ""
            value = rf" \fI{_text(option.shown_value)}\fR" if option.shown_value else ""
            lines += [".TP", rf"{short}\fB\-\-{_text(option.flag)}\fR{value}", f"{_text(option.help)}."]
    lines += [".SH SIGNALS", ".TP", r"\fBSIGTERM\fR, \fBSIGINT\fR", "Stop in order."]
    lines += [".TP", r"\fBSIGHUP\fR", "Read the configuration file again."]
    lines += [".TP", r"\fBSIGUSR1\fR", "Write what every task and thread waits for into the exec root."]
    lines += [".SH EXIT STATUS", ".TP", r"\fB0\fR", "It was stopped.", ".TP", r"\fB1\fR", "It could not start."]
    lines += [".SH SEE ALSO", r"\fBdarse\fR(1), \fBdarse\-daemon.json\fR(5)"]
    return "\n".join(lines) + "\n"


def _file() -> str:
    lines = [_title("darse-daemon.json", 5), ".SH NAME", r"darse\-daemon.json \- the configuration file of darsed"]
    lines += [
        ".SH DESCRIPTION",
        _text(f"A JSON object, by default in {DEFAULT_CONFIG_FILE}. What is a flag as well may be"),
    ]
    lines += ["given in one of the two places only.", ".SH MEMBERS"]
    for option in sorted(OPTIONS, key=lambda one: one.file_key):
        lines += [".TP", rf"\fB{_text(option.file_key)}\fR (\fI{_JSON[option.kind]}\fR)"]
        reload = " SIGHUP takes over another value." if option.is_reloaded else ""
        lines.append(_text(f"{option.meaning}. Default: {option.default}.{reload}"))
    lines += [".SH SEE ALSO", r"\fBdarsed\fR(8)"]
    return "\n".join(lines) + "\n"


def _title(name: str, section: int) -> str:
    return f'.TH "{_text(name.upper())}" "{section}" "" "darse {__version__}" "darse"'


def _text(text: str) -> str:
    """Text as troff takes it."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.exit(main())
