"""From dockerd's flags and `daemon.json` to an EngineConfig: one table of options for both.

An option may be given in one of the two places only, as with dockerd: whoever edits the file should not find it
ignored. Flags are read as dockerd's parser (spf13/pflag) reads them: a boolean takes its value with `=` only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from darse.core.config import TLS, EngineConfig
from darse.core.errors import InvalidParameter
from darse.engine.configuration.exporters import with_exporters
from darse.engine.configuration.hosts import parse_host
from darse.engine.configuration.table import BY_FLAG, BY_KEY, BY_SHORT, FORMER, OPTIONS, Option

DEFAULT_CONFIG_FILE = Path("/etc/darse/daemon.json")
_CERTIFICATES = "/etc/darse"
# Flags that name a file, and are no options of the engine.
_FILES = {"config-file": "config_file", "backup": "backup", "restore": "restore"}
# Where descriptions begin in `--help`.
_HELP_COLUMN = 46
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class CommandLine(msgspec.Struct, frozen=True):
    """What `darsed` was called with: raw values by file key, and what is no option of the engine."""

    given: dict[str, Any]
    config_file: Path = DEFAULT_CONFIG_FILE
    rebuild: bool = False
    backup: Path | None = None
    restore: Path | None = None
    validate: bool = False
    version: bool = False
    help: bool = False
    #: Where it was called: an engine that runs is elsewhere.
    directory: Path = Path()

    def load(self, *, again: bool = False) -> EngineConfig:
        """Read the file, `again` for a reload, and make the configuration. Raises InvalidParameter."""
        is_named = self.config_file != DEFAULT_CONFIG_FILE
        # Whoever names a pipe has a writer for it, once.
        in_file = read_file(self.config_file, must_exist=is_named, may_be_pipe=is_named and not again)
        conflicts = sorted(set(self.given) & set(in_file) - {"runtimes"})
        if conflicts:
            texts = ", ".join(
                f"{key}: (from flag: {_formatted(self.given[key])}, from file: {_formatted(in_file[key])})"
                for key in conflicts
            )
            raise InvalidParameter(
                f"unable to configure the Docker daemon with file {self.config_file}: the following directives are "
                f"specified both as a flag and in the configuration file: {texts}"
            )
        merged = {**in_file, **self.given}
        if "runtimes" in in_file and "runtimes" in self.given:
            merged["runtimes"] = {**in_file["runtimes"], **self.given["runtimes"]}
        return build(merged, self.directory)


def parse(arguments: list[str]) -> CommandLine:
    """Read a command line. Raises InvalidParameter in pflag's words."""
    given: dict[str, Any] = {}
    special: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            if name in ("rebuild", "validate", "version", "help"):
                special[name] = _boolean(value or "true", name)
                continue
            option = BY_FLAG.get(FORMER.get(name, name))
            if option is None and name not in _FILES:
                raise InvalidParameter(f"unknown flag: --{name}\nSee 'darsed --help'.")
            if not equals:
                value = "true" if option and option.kind == "flag" else _next(rest, f"flag needs an argument: --{name}")
            if option is None:
                special[_FILES[name]] = Path(value).absolute()
            else:
                _give(given, option, value)
        elif argument.startswith("-") and len(argument) > 1:
            _shorts(argument[1:], rest, given, special)
        else:
            raise InvalidParameter(f"\"darsed\" accepts no arguments, and got {argument!r}.\nSee 'darsed --help'.")
    return CommandLine(given, **special, directory=Path.cwd())


def _shorts(letters: str, rest: list[str], given: dict[str, Any], special: dict[str, Any]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in "vh":
            special["version" if letter == "v" else "help"] = True
            continue
        option = BY_SHORT.get(letter)
        if option is None:
            raise InvalidParameter(f"unknown shorthand flag: {letter!r} in -{letter}{letters}\nSee 'darsed --help'.")
        if option.kind == "flag" and not letters.startswith("="):
            _give(given, option, "true")
            continue
        value = (
            letters.removeprefix("=") if letters else _next(rest, f"flag needs an argument: {letter!r} in -{letter}")
        )
        _give(given, option, value)
        return


def _next(rest: list[str], complaint: str) -> str:
    if not rest:
        raise InvalidParameter(f"{complaint}\nSee 'darsed --help'.")
    return rest.pop(0)


def _give(given: dict[str, Any], option: Option, text: str) -> None:
    """Take a flag's value."""
    key = option.file_key
    if option.kind == "list":
        # pool and label values have commas of their own; pflag's other lists do not split either
        given.setdefault(key, []).append(text)
    elif option.kind == "pairs":
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidParameter(f'invalid argument "{text}" for "--{option.flag}" flag: must be NAME=VALUE')
        given.setdefault(key, {})[name] = value
    elif option.kind == "flag":
        given[key] = _boolean(text, option.flag)
    elif option.kind == "number":
        try:
            given[key] = int(text)
        except ValueError:
            raise InvalidParameter(f'invalid argument "{text}" for "--{option.flag}" flag: no number') from None
    else:
        given[key] = text


def _boolean(text: str, flag: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise InvalidParameter(f'invalid argument "{text}" for "--{flag}" flag: must be true or false')


def read_file(path: Path, *, must_exist: bool, may_be_pipe: bool = False) -> dict[str, Any]:
    """Read daemon.json; values have the type of their option's kind. Raises InvalidParameter."""
    complaint = f"unable to configure the Docker daemon with file {path}: "
    if not may_be_pipe and path.is_fifo():
        raise InvalidParameter(f"{complaint}it is not a regular file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if must_exist:
            raise InvalidParameter(f"{complaint}open {path}: no such file or directory") from None
        return {}
    except (OSError, ValueError) as error:
        raise InvalidParameter(f"{complaint}{error}") from error
    if not text.strip():
        return {}
    try:
        document = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"{complaint}invalid JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidParameter(f"{complaint}must be an object")
    document = _with_present_names(document, complaint)
    unknown = sorted(set(document) - set(BY_KEY))
    if unknown:
        raise InvalidParameter(
            f"{complaint}the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    for key, value in document.items():
        if not _fits(BY_KEY[key], value):
            raise InvalidParameter(f"{complaint}{key}: must be {_EXPECTED[BY_KEY[key].kind]}, not {json.dumps(value)}")
    return document


def _with_present_names(document: dict[str, Any], complaint: str) -> dict[str, Any]:
    """The document with the names that its options have now. Raises InvalidParameter for one that has both."""
    for former, key in FORMER.items():
        if former in document and key in document:
            raise InvalidParameter(f"{complaint}{former} is the former name of {key}: only one of them may be given")
    return {FORMER.get(key, key): value for key, value in document.items()}


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return document


_EXPECTED = {
    "text": "a string",
    "flag": "true or false",
    "number": "a number",
    "list": "a list",
    "pairs": "an object",
    "object": "an object",
}


def _fits(option: Option, value: Any) -> bool:
    kind = option.kind
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "text":
        is_size = option.value == "bytes" and isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, str) or is_size
    if kind == "list":
        return isinstance(value, list) and all(isinstance(one, (str, dict)) for one in value)
    return isinstance(value, dict)


def _formatted(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{' '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def build(raw: dict[str, Any], directory: Path = Path()) -> EngineConfig:
    """Make the configuration of raw values by file key. Raises InvalidParameter."""
    fields: dict[str, Any] = {}
    for key, value in raw.items():
        option = BY_KEY[key]
        if option.kind == "list" and key != "default-address-pools" and not all(isinstance(one, str) for one in value):
            raise InvalidParameter(f"{key}: must be a list of strings")
        fields.update(option.read(str(value) if option.kind == "text" else value))
    fields = with_exporters(fields, os.environ)
    tls = {name: fields.pop(f"_{name}", None) for name in ("tls", "tlsverify", "tlscacert", "tlscert", "tlskey")}
    if fields.get("bip") and fields.get("bridge"):
        raise InvalidParameter("You specified -b & --bip, mutually exclusive options. Please specify only one")
    config = EngineConfig(tls=_tls(tls, directory), **fields)
    if config.default_runtime not in {"crun", "runc", *config.runtimes}:
        raise InvalidParameter(f"specified default runtime '{config.default_runtime}' does not exist")
    insists = config.allow_plain_tcp or False in (tls["tls"], tls["tlsverify"])
    return msgspec.structs.replace(config, allow_plain_tcp=_check_hosts(config, insists=insists))


def _tls(given: dict[str, Any], start: Path) -> TLS | None:
    if not (given["tls"] or given["tlsverify"]):
        return None
    directory = Path(os.environ.get("DOCKER_CERT_PATH") or _CERTIFICATES)
    authority, certificate, key = (
        (start / (given[name] or directory / file)).absolute()
        for name, file in (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem"))
    )
    verify = bool(given["tlsverify"])
    needed = [("tlscert", certificate), ("tlskey", key), *([("tlscacert", authority)] if verify else [])]
    for name, path in needed:
        if not path.is_file():
            raise InvalidParameter(f"--{name}: {path} is not there")
    return TLS(certificate, key, authority if verify else None, verify)


def _check_hosts(config: EngineConfig, *, insists: bool) -> bool:
    """Return whether tcp is served without TLS. Raises InvalidParameter, also when nobody insists on that."""
    plain = False
    for text in config.hosts:
        host = parse_host(text, default_socket=config.exec_root / "darse.sock", tls=config.tls is not None)
        if host.scheme == "tcp" and config.tls is None:
            plain = True
            if not insists:
                raise InvalidParameter(
                    f"refusing to listen on {text} without TLS: whoever reaches the port would be root on this host. "
                    "Use --tlsverify with --tlscacert, --tlscert and --tlskey, or insist with --tls=false"
                )
    return plain


def usage() -> str:
    """The text of `darsed --help`."""
    import shutil  # noqa: PLC0415 - an engine that starts prints none
    import textwrap  # noqa: PLC0415

    lines = ["Usage:  darsed [OPTIONS]", "", "The darse engine: runs containers and serves the Docker Engine API.", ""]
    lines.append("Options:")
    own = (
        ("config-file", "string", f'Configuration file of the engine (default "{DEFAULT_CONFIG_FILE}")', ""),
        ("help", "", "Print usage", "h"),
        ("backup", "file", "Write the data root into this archive, and quit", ""),
        ("restore", "file", "Unpack an archive of --backup as the data root, and quit", ""),
        ("rebuild", "", "Build the database again from its backup and the data root, and quit", ""),
        ("validate", "", "Validate the configuration and quit", ""),
        ("version", "", "Print version information and quit", "v"),
    )
    rows = [*own, *((option.flag, option.shown_value, option.help, option.short) for option in OPTIONS if option.flag)]
    columns = max(shutil.get_terminal_size().columns, _HELP_COLUMN + 30)
    for name, value, text, short in sorted(rows):
        head = f"  {f'-{short}, ' if short else '    '}--{name} {value}"
        body = textwrap.wrap(text, columns - _HELP_COLUMN, break_on_hyphens=False)
        lines.append(f"{head:<{_HELP_COLUMN - 1}} {body[0]}")
        lines += [f"{'':<{_HELP_COLUMN}}{line}" for line in body[1:]]
    return "\n".join(lines) + "\n"
