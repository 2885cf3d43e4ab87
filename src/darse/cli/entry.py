"""`darse`: finds the command, reads its flags, runs it, and turns failures into docker's words and statuses."""

from __future__ import annotations

import os
import sys

from darse.cli.command_line import index
from darse.cli.command_line.flags import (
    Command,
    HelpRequested,
    Options,
    argument_error,
    help_text,
    listing,
    parse,
    string,
    switch,
)
from darse.cli.errors import CliError, InvalidArgument
from darse.cli.settings.config import Settings

GLOBAL = Command(
    "",
    "[OPTIONS] COMMAND",
    "Containers that start fast, lose nothing, and show what they do",
    (
        string("config", "Location of client config files", default=None),
        string("context", "Name of the context to use to connect to the engine", "c"),
        switch("debug", "Enable debug mode", "D"),
        listing("host", "Engine socket to connect to", "H"),
        string("log-level", 'Set the logging level ("debug", "info", "warn", "error", "fatal")', "l"),
        switch("tls", "Use TLS; implied by --tlsverify"),
        string("tlscacert", "Trust certs signed only by this CA"),
        string("tlscert", "Path to TLS certificate file"),
        string("tlskey", "Path to TLS key file"),
        switch("tlsverify", "Use TLS and verify the remote"),
        switch("version", "Print version information and quit", "v"),
    ),
    maximum=None,
    interspersed=False,
)

_LEVEL_NAMES = "debug, info, warn, error, fatal"
_LOG_LEVELS = frozenset({"", "trace", "warning", "panic", *_LEVEL_NAMES.split(", ")})

_COMPOSE_LINK = "docker-compose"

# Statuses of processes that a signal ended are above this (POSIX.1 sh); `signal` takes a millisecond to import.
_KILLED = 128


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        # UTF-8 in every locale, and bytes that are no UTF-8 as they are: pipes expect what docker writes.
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    if sys.stdout.isatty() or sys.stderr.isatty():
        from darse.cli.terminal import screen

        sys.stdout, sys.stderr = screen.guarded(sys.stdout), screen.guarded(sys.stderr)
    try:
        # Linked to as docker-compose, it is that command.
        is_compose = os.path.basename(sys.argv[0]) == _COMPOSE_LINK
        status = run([*(["compose"] if is_compose else ()), *sys.argv[1:]])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = _KILLED + 13  # SIGPIPE
    except KeyboardInterrupt:
        status = _KILLED + 2  # SIGINT
    # Nothing is left to finalise that the process's end does not; this saves milliseconds.
    sys.stderr.flush()
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run a command line; return its exit status."""
    try:
        options, words = parse(GLOBAL, arguments)
    except HelpRequested:
        return _overview(Settings())
    except CliError as error:
        return _fail(error)
    if options.version:
        from darse import __version__

        sys.stdout.write(f"darse version {__version__}\n")
        return 0
    if options.log_level not in _LOG_LEVELS:
        return _fail(CliError(f'unable to parse logging level: "{options.log_level}": it is one of {_LEVEL_NAMES}'))
    settings = _settings(options)
    if not words or words[0] == "help":
        return _help(words[1:], settings)
    found = index.resolve(words)
    if found is None:
        return _no_command(words, settings)
    typed, path, rest = found
    return run_command(typed, path, rest, settings)


def _settings(options: object) -> Settings:
    settings = Settings()
    given = vars(options)
    if len(given["host"]) > 1:
        raise SystemExit("darse: specify only one -H")
    settings.host = given["host"][0] if given["host"] else ""
    settings.context = given["context"]
    settings.directory = given["config"] or settings.directory
    settings.debug = given["debug"]
    settings.tls = given["tls"] or None
    settings.tls_verify = given["tlsverify"] or None
    settings.tls_ca, settings.tls_certificate, settings.tls_key = given["tlscacert"], given["tlscert"], given["tlskey"]
    return settings


def run_command(
    typed: str, path: str, rest: list[str], settings: Settings, group_options: Options | None = None
) -> int:
    """Run a command that is called `typed` with the words after its name; return its exit status."""
    from darse.cli.command_line.invocation import Invocation

    command, function = index.COMMANDS[path].load(path)
    shown = command.typed_as(typed)
    try:
        options, arguments = parse(shown, rest)
        invocation = Invocation(typed, options, arguments, settings, group_options)
        try:
            return int(function(invocation) or 0)
        finally:
            invocation.close()
    except HelpRequested:
        names = [alias for alias in [path, *index.aliases_of(path)] if alias != typed]
        sys.stdout.write(help_text(shown, names))
        return 0
    except InvalidArgument as error:
        flag = next((flag for flag in shown.flags if flag.name == error.flag), None)
        return _fail(error if flag is None else argument_error(shown, flag, error.text, error.reason))
    except CliError as error:
        return _fail(error)
    except OSError as error:
        # Of a file: what is in the way is on this machine, and no mistake of the program's.
        if error.filename is None or settings.debug:
            raise
        return _fail(CliError(f"{error.strerror}: {error.filename}"))


def _fail(error: CliError) -> int:
    sys.stdout.flush()
    if str(error):
        sys.stderr.write(f"{error}\n")
    return error.status


def _no_command(words: list[str], settings: Settings) -> int:
    """A group, a plugin's command, or none."""
    if words[0] in index.GROUPS and (len(words) == 1 or words[1] in ("--help", "-h")):
        return _group(words[0])
    from darse.cli.command_line import plugins, unknown

    try:
        if (status := _after_group_flags(words, settings)) is not None:
            return status
        path = None if words[0] in index.GROUPS else plugins.find(settings, words[0])
        if path is not None:
            return plugins.run(settings, path, words[0], words[1:])
        asked = " ".join(words[:-1] if words[-1] in ("--help", "-h") else words)
        return _group(asked) if asked in index.SUBGROUPS else unknown.refuse(words, settings)
    except CliError as error:
        return _fail(error)


def _after_group_flags(words: list[str], settings: Settings) -> int | None:
    """Run a command whose group has flags before its name, as `compose -f FILE config`; None where it is not ours."""
    if words[0] not in index.GROUP_FLAGS:
        return None
    module = index.GROUP_FLAGS[words[0]]
    __import__(module)
    try:
        options, rest = parse(sys.modules[module].GROUP, words[1:])
    except HelpRequested:
        return _group(words[0], sys.modules[module].GROUP)
    except CliError:
        return None  # docker's plugin has more flags
    if not rest and options.version:
        rest = ["version"]
    if not rest or rest == ["help"]:
        return _group(words[0], sys.modules[module].GROUP)
    found = index.resolve([words[0], *rest])
    return run_command(*found, settings, options) if found is not None else None


def _help(words: list[str], settings: Settings) -> int:
    if not words:
        return _overview(settings)
    found = index.resolve(words)
    if found is None:
        return _no_command([*words, "--help"], settings)
    return run_command(found[0], found[1], ["--help"], settings)


def _overview(settings: Settings) -> int:
    from darse.cli.command_line import plugins
    from darse.cli.command_line.flags import flag_lines
    from darse.cli.command_line.help_pages import fitted

    top = {path: index.COMMANDS[index.ALIASES.get(path, path)].summary for path in _top_level()}
    lines = ["", "Usage:  darse [OPTIONS] COMMAND", "", GLOBAL.summary, "", "Common Commands:"]
    lines += [f"  {name:<12}{top[name]}" for name in index.COMMON]
    lines += ["", "Management Commands:"]
    lines += [f"  {name:<12}{text}" for name, text in sorted(index.GROUPS.items())]
    if found := list(plugins.summaries(settings)):
        lines += ["", "Plugins:", *(f"  {name:<12}{text}" for name, text in found)]
    lines += ["", "Commands:"]
    lines += [f"  {name:<12}{text}" for name, text in sorted(top.items()) if name not in index.COMMON]
    lines += ["", "Global Options:", *flag_lines(GLOBAL.flags), ""]
    lines += ["Run 'darse COMMAND --help' for more information on a command.", ""]
    sys.stdout.write("\n".join(fitted(lines)))
    return 0


def _top_level() -> list[str]:
    return [path for path in [*index.COMMANDS, *index.ALIASES] if " " not in path]


def _group(name: str, group: Command | None = None) -> int:
    """The page of a group; of one that has flags of its own with these."""
    from darse.cli.command_line.flags import flag_lines
    from darse.cli.command_line.help_pages import fitted

    summary = index.GROUPS.get(name) or index.SUBGROUPS.get(name, "")
    usage, summary = ("COMMAND", summary) if group is None else (group.usage, group.summary)
    lines = ["", f"Usage:  darse {name} {usage}", "", summary, ""]
    if group is not None:
        lines += ["Options:", *flag_lines([flag for flag in group.flags if not flag.hidden]), ""]
    commands = sorted((path, entry) for path, entry in index.COMMANDS.items() if not entry.hidden)
    prefix = f"{name} "
    shown = {path.removeprefix(prefix): one.summary for path, one in commands if path.startswith(prefix)}
    width = max(12, *(len(word) + 2 for word in shown))
    lines += ["Commands:", *(f"  {word:<{width}}{summary}" for word, summary in shown.items())]
    if group is not None:
        lines += ["", f"Other commands of {name} run by docker's plugin, where it is installed."]
    lines += ["", f"Run 'darse {name} COMMAND --help' for more information on a command.", ""]
    sys.stdout.write("\n".join(fitted(lines)))
    return 0
