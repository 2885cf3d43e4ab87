"""Environment and labels, of flags and of files."""

from __future__ import annotations

import os

from darse.cli.errors import CliError, InvalidArgument
from darse.cli.settings.config import Settings

# Variables, and the members of an entry of `proxies` that set them.
_PROXIES = {
    "HTTP_PROXY": "httpProxy",
    "HTTPS_PROXY": "httpsProxy",
    "NO_PROXY": "noProxy",
    "FTP_PROXY": "ftpProxy",
    "ALL_PROXY": "allProxy",
}


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


def with_proxies(entries: list[str], settings: Settings) -> list[str]:
    """`-e`s and, where they leave them out, the proxies that config.json has for containers of this engine.

    As by docker's client: an entry of `proxies` with the engine's address goes before `default`, each variable is
    set in capitals and in small letters, and an `--env-file` does not keep it from being set.
    """
    proxies = settings.member("proxies", dict)
    if not proxies:
        return entries
    chosen = proxies.get(settings.endpoint().host, proxies.get("default"))
    if not isinstance(chosen, dict):
        return entries
    given = {entry.partition("=")[0] for entry in entries}
    found = []
    for variable, member in _PROXIES.items():
        for name in (variable, variable.lower()):
            if chosen.get(member) and name not in given:
                found.append(f"{name}={chosen[member]}")
    return [*entries, *found]


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
