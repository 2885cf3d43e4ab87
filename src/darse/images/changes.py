"""`--change` of import and commit: Dockerfile instructions applied to an image's configuration."""

from __future__ import annotations

import json
import shlex

import msgspec

from darse.engine.errors import InvalidParameter
from darse.wire.containers import ContainerConfig, HealthConfig


def apply(config: ContainerConfig, changes: list[str]) -> ContainerConfig:
    """Return `config` with the instructions applied. Raises InvalidParameter."""
    changed = msgspec.structs.replace(config)
    for line in changes:
        instruction, _, rest = line.strip().partition(" ")
        handler = _HANDLERS.get(instruction.upper())
        if handler is None:
            raise InvalidParameter(f"{instruction} is not a valid change command")
        if not rest.strip():
            raise InvalidParameter(f"{instruction.upper()} requires at least one argument")
        handler(changed, rest.strip())
    return changed


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidParameter(f"cannot read {text!r}: {error}") from error


def _command(text: str) -> list[str]:
    """A JSON list as it is; anything else is for the shell."""
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    return ["/bin/sh", "-c", text]


def _pairs(text: str) -> dict[str, str]:
    words = _words(text)
    if "=" not in words[0]:
        key, _, value = text.partition(" ")
        return {key: value.strip()}
    pairs = {}
    for word in words:
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
    pairs = _pairs(text)
    kept = [entry for entry in config.Env or [] if entry.partition("=")[0] not in pairs]
    config.Env = kept + [f"{key}={value}" for key, value in pairs.items()]


def _expose(config: ContainerConfig, text: str) -> None:
    exposed = dict(config.ExposedPorts or {})
    for word in _words(text):
        port, _, protocol = word.partition("/")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise InvalidParameter(f"Invalid containerPort: {word}")
        exposed[f"{port}/{protocol or 'tcp'}"] = {}
    config.ExposedPorts = exposed


def _label(config: ContainerConfig, text: str) -> None:
    config.Labels = {**(config.Labels or {}), **_pairs(text)}


def _user(config: ContainerConfig, text: str) -> None:
    config.User = text


def _volume(config: ContainerConfig, text: str) -> None:
    words = _command(text) if text.startswith("[") else _words(text)
    config.Volumes = {**(config.Volumes or {}), **{word: {} for word in words}}


def _workdir(config: ContainerConfig, text: str) -> None:
    config.WorkingDir = text


def _stop_signal(config: ContainerConfig, text: str) -> None:
    config.StopSignal = text


def _on_build(config: ContainerConfig, text: str) -> None:
    config.OnBuild = [*(config.OnBuild or []), text]


def _shell(config: ContainerConfig, text: str) -> None:
    config.Shell = _command(text)


def _health_check(config: ContainerConfig, text: str) -> None:
    if text.upper() == "NONE":
        config.Healthcheck = HealthConfig(Test=["NONE"])
        return
    if not text.upper().startswith("CMD "):
        raise InvalidParameter("HEALTHCHECK must be NONE or CMD …")
    command = _command(text[4:].strip())
    config.Healthcheck = HealthConfig(
        Test=["CMD-SHELL", command[2]] if command[:2] == ["/bin/sh", "-c"] else ["CMD", *command]
    )


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
