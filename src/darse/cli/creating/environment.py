"""Environment and labels, of flags and of files."""

from __future__ import annotations

import os

from darse.cli.errors import CliError, InvalidArgument


def environment(entries: list[str], files: list[str]) -> list[str]:
    """`--env-file`s, then `-e`s; a bare name takes this process's value.

    Without one it is left out of what a file says; in a flag it stays, and takes the variable out of the image's.
    Raises CliError.
    """
    result = []
    for line in (line for path in files for line in _lines(path)):
        name, equals, _ = line.partition("=")
        if equals:
            result.append(line)
        elif name in os.environ:
            result.append(f"{name}={os.environ[name]}")
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if not name:
            raise InvalidArgument(entry, "env", f"invalid environment variable: {entry}")
        result.append(f"{name}={os.environ[name]}" if not equals and name in os.environ else entry)
    return result


def labels(entries: list[str], files: list[str]) -> dict[str, str]:
    """`--label-file`s, of which lines without a value are left out, then `--label`s. Raises CliError."""
    for entry in entries:
        if not entry.partition("=")[0]:
            raise InvalidArgument(entry, "label", f"invalid label '{entry}': empty name")
    lines = [line for path in files for line in _lines(path) if "=" in line]
    return dict(entry.partition("=")[::2] for entry in [*lines, *entries])


def _lines(path: str) -> list[str]:
    """The lines of a file of `name=value`s, without comments. Raises CliError."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or '').lower()}") from error
    found = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = raw.removesuffix(b"\r")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").lstrip(" \t")
        except UnicodeDecodeError:
            shown = " ".join(map(str, line))
            raise CliError(f"invalid env file ({path}): invalid utf8 bytes at line {number}: [{shown}]") from None
        if not text or text.startswith("#"):
            continue
        name = text.partition("=")[0]
        if " " in name or "\t" in name:
            raise CliError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        if not name:
            raise CliError(f"invalid env file ({path}): no variable name on line '{text}'")
        found.append(text)
    return found
