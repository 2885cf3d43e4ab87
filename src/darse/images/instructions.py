"""`--change` of import and commit: Dockerfile instructions applied to an image's configuration."""

from __future__ import annotations

import json
import posixpath
import re

import msgspec

from darse.core.errors import InvalidParameter
from darse.durations import InvalidDuration, parse_duration
from darse.wire.containers import ContainerConfig, HealthConfig

_HEALTH_OPTION = re.compile(r"--([a-z-]+)=(\S*)\s+")
_HEALTH_FIELDS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}
_VARIABLE = re.compile(
    r"(?P<bare>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<modifier>[-+])(?P<word>[^{}]*))?\}",
    re.ASCII,
)


def apply(config: ContainerConfig, changes: list[str]) -> ContainerConfig:
    """Return `config` with the instructions applied. Raises InvalidParameter.

    As in a Dockerfile, an ENTRYPOINT takes a command away that was another entry point's arguments.
    """
    changed = msgspec.structs.replace(config)
    command_set = False
    for line in changes:
        instruction, _, rest = line.strip().partition(" ")
        handler = _HANDLERS.get(instruction.upper())
        if handler is None:
            raise InvalidParameter(f"{instruction} is not a valid change command")
        if not rest.strip():
            raise InvalidParameter(f"{instruction.upper()} requires at least one argument")
        handler(changed, rest.strip())
        command_set |= handler is _cmd
        if handler is _entrypoint and not command_set:
            changed.Cmd = None
    return changed


def _words(config: ContainerConfig, text: str) -> list[str]:
    """The words of an instruction, without quotes and with variables of the configuration's environment in them."""
    return _expanded(config, text, split=True)


def _text(config: ContainerConfig, text: str) -> str:
    """All of an instruction's text as one word."""
    return "".join(_expanded(config, text, split=False))


def _expanded(config: ContainerConfig, text: str, *, split: bool) -> list[str]:
    """Read text as a Dockerfile's: quotes and backslashes as in a shell, `$NAME`, `${NAME}`, `:-` and `:+`."""
    values = dict(entry.partition("=")[::2] for entry in config.Env or ())
    words: list[str] = []
    word: str | None = None
    quote, position = "", 0
    while position < len(text):
        character = text[position]
        position += 1
        if quote == "'":
            piece = "" if character == quote else character
            quote = "" if character == quote else quote
        elif character == "\\" and position < len(text) and (not quote or text[position] in '"$\\'):
            piece, position = text[position], position + 1
        elif character in "'\"" and character == (quote or character):
            piece, quote = "", "" if quote else character
        elif character == "$" and (found := _VARIABLE.match(text, position)) is not None:
            piece, position = _value(config, values, found), found.end()
        elif split and not quote and character.isspace():
            if word is not None:
                words.append(word)
            word = None
            continue
        else:
            piece = character
        word = (word or "") + piece
    if quote:
        raise InvalidParameter(f"cannot read {text!r}: a quote is not closed")
    return words if word is None else [*words, word]


def _value(config: ContainerConfig, values: dict[str, str], found: re.Match[str]) -> str:
    value = values.get(found["bare"] or found["name"], "")
    if found["modifier"] == "-":
        return value or _text(config, found["word"])
    if found["modifier"] == "+":
        return _text(config, found["word"]) if value else ""
    return value


def _command(text: str) -> list[str]:
    """A JSON list as it is; anything else is for the shell."""
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    return ["/bin/sh", "-c", text]


def _pairs(config: ContainerConfig, text: str) -> dict[str, str]:
    if "=" not in text.split(maxsplit=1)[0]:
        key, _, value = text.partition(" ")
        return {_text(config, key): _text(config, value.strip())}
    pairs = {}
    for word in _words(config, text):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidParameter(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        pairs[key] = value
    return pairs


def _cmd(config: ContainerConfig, text: str) -> None:
    config.Cmd = _command(text)


def _entrypoint(config: ContainerConfig, text: str) -> None:
    config.Entrypoint = _command(text)


def _env(config: ContainerConfig, text: str) -> None:
    pairs = {entry.partition("=")[0]: entry for entry in config.Env or ()}
    pairs |= {key: f"{key}={value}" for key, value in _pairs(config, text).items()}
    config.Env = list(pairs.values())


def _expose(config: ContainerConfig, text: str) -> None:
    exposed = dict(config.ExposedPorts or {})
    for word in _words(config, text):
        port, _, protocol = word.partition("/")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise InvalidParameter(f"Invalid containerPort: {word}")
        exposed[f"{port}/{protocol or 'tcp'}"] = {}
    config.ExposedPorts = exposed


def _label(config: ContainerConfig, text: str) -> None:
    config.Labels = {**(config.Labels or {}), **_pairs(config, text)}


def _user(config: ContainerConfig, text: str) -> None:
    config.User = _text(config, text)


def _volume(config: ContainerConfig, text: str) -> None:
    words = _command(text) if text.startswith("[") else _words(config, text)
    config.Volumes = {**(config.Volumes or {}), **{word: {} for word in words}}


def _workdir(config: ContainerConfig, text: str) -> None:
    config.WorkingDir = posixpath.normpath(posixpath.join(config.WorkingDir or "/", _text(config, text)))


def _stop_signal(config: ContainerConfig, text: str) -> None:
    config.StopSignal = _text(config, text)


def _on_build(config: ContainerConfig, text: str) -> None:
    config.OnBuild = [*(config.OnBuild or []), text]


def _shell(config: ContainerConfig, text: str) -> None:
    config.Shell = _command(text)


def _health_check(config: ContainerConfig, text: str) -> None:
    if text.upper() == "NONE":
        config.Healthcheck = HealthConfig(Test=["NONE"])
        return
    options: dict[str, int] = {}
    while (match := _HEALTH_OPTION.match(text)) is not None:
        name, value = match.groups()
        if name not in _HEALTH_FIELDS:
            raise InvalidParameter(f"Unknown flag: {name}")
        options[_HEALTH_FIELDS[name]] = _count(name, value) if name == "retries" else _nanoseconds(name, value)
        text = text[match.end() :]
    if not text.upper().startswith("CMD "):
        raise InvalidParameter(f"Unknown type {json.dumps(text.partition(' ')[0])} in HEALTHCHECK (try CMD)")
    command = _command(text[4:].strip())
    test = ["CMD-SHELL", command[2]] if command[:2] == ["/bin/sh", "-c"] else ["CMD", *command]
    config.Healthcheck = HealthConfig(Test=test, **options)


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidParameter(f"--{name} must be a number, not {text!r}")
    return int(text)


def _nanoseconds(name: str, text: str) -> int:
    """Read one of Go's durations, `1m30s`."""
    try:
        return parse_duration(text)
    except InvalidDuration:
        raise InvalidParameter(f"--{name}: invalid duration {json.dumps(text)}") from None


_HANDLERS = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health_check,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
