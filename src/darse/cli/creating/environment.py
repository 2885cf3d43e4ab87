"""Environment and labels, of flags and of files."""

from __future__ import annotations

import os

from darse.cli.errors import CliError


def environment(entries: list[str], files: list[str]) -> list[str]:
    """`--env-file`s, then `-e`s; a bare name takes this process's value, or nothing. Raises CliError."""
    result = []
    for path in files:
        for number, line in enumerate(_lines(path), 1):
            text = line.lstrip()
            if not text or text.startswith("#"):
                continue
            name = text.partition("=")[0]
            if not name:
                raise CliError(f"invalid env file ({path}): no variable name on line '{text}'", 125)
            if any(character.isspace() for character in name):
                raise CliError(
                    f"invalid env file ({path}): variable '{name}' contains whitespaces (line {number})", 125
                )
            result.append(text)
    found = []
    for entry in [*result, *entries]:
        name, equals, _ = entry.partition("=")
        if not name:
            raise CliError(
                f'invalid argument "{entry}" for "-e, --env" flag: invalid environment variable: {entry}', 125
            )
        if equals:
            found.append(entry)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
    return found


def labels(entries: list[str], files: list[str]) -> dict[str, str]:
    """`--label-file`s, then `--label`s."""
    lines = [line for path in files for line in _lines(path) if line.strip() and not line.startswith("#")]
    return dict(entry.partition("=")[::2] for entry in [*lines, *entries])


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read().splitlines()
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or '').lower()}", 125) from error
