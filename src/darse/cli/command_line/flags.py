"""Commands and their flags as tables: one source for parsing, help, completion and man pages.

The grammar is that of Go's pflag, which docker's users have in their fingers: `--flag=value`, `--flag value`, `-f
value`, `-fvalue`, clusters such as `-itd`, `--no-x=false`, `--` ends the flags. Parsing is our own because click takes
23 ms to import, as long as a whole `darse version` may.
"""

from __future__ import annotations

import os
import sys

from darse.cli.errors import CliError, InvalidArgument

# Importing typing takes a tenth of the time of `darse version`; type checkers read this as True.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# A wrong command line ends with 125, so that it cannot be taken for the container's own status.
USAGE_STATUS = 125
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
# What a description gets at least, however narrow the terminal is.
_NARROWEST = 20


class Flag:
    """One flag. `kind` is bool, string, list, or int; `value` what help shows for it."""

    __slots__ = ("default", "help", "hidden", "kind", "name", "optional", "short", "value")

    def __init__(
        self,
        name: str,
        kind: str,
        help_: str,
        short: str = "",
        value: str = "",
        default: Any = None,
        optional: str | None = None,
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = help_
        self.short = short
        self.value = value
        self.default = default
        self.optional = optional
        self.hidden = hidden

    @property
    def attribute(self) -> str:
        """The name in the parsed options."""
        name = self.name.replace("-", "_")
        return f"{name}_" if name == "from" else name  # a word of the language

    def initial(self) -> Any:
        """The value when the flag is not given."""
        if self.default is not None:
            return self.default
        return {"bool": False, "list": [], "int": None}.get(self.kind, "") if self.kind != "list" else []


def switch(name: str, help_: str, short: str = "", *, default: bool = False) -> Flag:
    """A flag without a value."""
    return Flag(name, "bool", help_, short, default=default or None)


def string(name: str, help_: str, short: str = "", value: str = "string", default: str | None = None) -> Flag:
    """A flag with a text."""
    return Flag(name, "string", help_, short, value, default)


def listing(name: str, help_: str, short: str = "", value: str = "list") -> Flag:
    """A flag that may be given many times."""
    return Flag(name, "list", help_, short, value)


def number(name: str, help_: str, short: str = "", value: str = "int", default: int | None = None) -> Flag:
    """A flag with a whole number."""
    return Flag(name, "int", help_, short, value, default)


def platform_flag(help_: str = "Set platform if server is multi-platform capable") -> Flag:
    """`--platform`, whose default the environment may set."""
    return string("platform", help_, default=os.environ.get("DOCKER_DEFAULT_PLATFORM") or None)


class Command:
    """A command. `usage` shows its arguments; `maximum` None means any number of them."""

    __slots__ = ("examples", "flags", "interspersed", "maximum", "minimum", "path", "summary", "usage")

    def __init__(
        self,
        path: str,
        usage: str,
        summary: str,
        flags: tuple[Flag, ...] = (),
        minimum: int = 0,
        maximum: int | None = 0,
        interspersed: bool = True,
        examples: str = "",
    ) -> None:
        self.path = path
        self.usage = usage
        self.summary = summary
        self.flags = flags
        self.minimum = minimum
        self.maximum = maximum
        self.interspersed = interspersed
        self.examples = examples

    def typed_as(self, path: str) -> Command:
        """Itself, as it was called: messages and help name what was typed."""
        return Command(
            path,
            self.usage,
            self.summary,
            self.flags,
            self.minimum,
            self.maximum,
            self.interspersed,
            self.examples,
        )


class Options:
    """The parsed flags as attributes, and which of them were given."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.given: set[str] = set()
        for flag in flags:
            setattr(self, flag.attribute, flag.initial())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no flag {name}")


def parse(command: Command, arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """Split the arguments of a command into its options and the rest. Raises CliError."""
    options = Options(command.flags)
    names = {flag.name: flag for flag in command.flags}
    shorts = {flag.short: flag for flag in command.flags if flag.short}
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += queue
            break
        if word.startswith("--"):
            _long(command, options, names, word, queue)
        elif word.startswith("-") and word != "-":
            _short(command, options, shorts, word, queue)
        else:
            rest.append(word)
            if not command.interspersed:
                rest += queue
                break
    _count(command, rest)
    return options, rest


def parse_filters(entries: list[str]) -> dict[str, list[str]] | None:
    """The values of `--filter`, `key=value` each, as the API has them; None without any. Raises InvalidArgument."""
    filters: dict[str, list[str]] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals:
            raise InvalidArgument(entry, "filter", "bad format of filter (expected name=value)")
        name = name.strip().lower()
        if name.endswith("!"):
            name = name[:-1] + "!"
        filters.setdefault(name, []).append(value.strip())
    return filters or None


def _long(command: Command, options: Options, names: dict[str, Flag], word: str, queue: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    if name == "help" and "help" not in names:
        raise HelpRequested(command)
    flag = names.get(name)
    if flag is None:
        from darse.cli.command_line.unknown import meant

        known = [f"--{one.name}" for one in command.flags if not one.hidden]
        raise usage_error(command, f"unknown flag: --{name}\n{meant(f'--{name}', known)}".rstrip("\n"))
    if not equals:
        if flag.kind == "bool":
            value = "true"
        elif flag.optional is not None:
            value = flag.optional
        elif queue:
            value = queue.pop(0)
        else:
            raise usage_error(command, f"flag needs an argument: --{name}")
    _store(command, options, flag, value)


def _short(command: Command, options: Options, shorts: dict[str, Flag], word: str, queue: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = shorts.get(letter)
        if flag is None:
            if letter == "h":
                raise HelpRequested(command)
            raise usage_error(command, f"unknown shorthand flag: '{letter}' in {word}")
        if flag.kind == "bool":
            if letters.startswith("="):
                _store(command, options, flag, letters[1:])
                return
            _store(command, options, flag, "true")
            continue
        if letters:
            value = letters.removeprefix("=")
        elif queue:
            value = queue.pop(0)
        else:
            raise usage_error(command, f"flag needs an argument: '{letter}' in {word}")
        _store(command, options, flag, value)
        return


def _store(command: Command, options: Options, flag: Flag, text: str) -> None:
    options.given.add(flag.name)
    if flag.kind == "bool":
        if text not in _TRUE | _FALSE:
            reason = f'strconv.ParseBool: parsing "{text}": invalid syntax'
            raise argument_error(command, flag, text, reason)
        setattr(options, flag.attribute, text in _TRUE)
    elif flag.kind == "int":
        function, low, high = ("ParseUint", 0, 1 << 16) if flag.value == "uint16" else ("ParseInt", -1 << 63, 1 << 63)
        try:
            number = int(text, 0)
        except ValueError:
            number = None
        if number is None or (number < low == 0) or not low <= number < high:
            what = "invalid syntax" if number is None or number < low == 0 else "value out of range"
            raise argument_error(command, flag, text, f'strconv.{function}: parsing "{text}": {what}')
        setattr(options, flag.attribute, number)
    elif flag.kind == "list":
        getattr(options, flag.attribute).append(text)
    else:
        setattr(options, flag.attribute, text)


def _count(command: Command, rest: list[str]) -> None:
    low, high = command.minimum, command.maximum
    if len(rest) >= low and (high is None or len(rest) <= high):
        return
    name, see = f"'darse {command.path}'", "Run"
    if high == 0:
        text = f"{name} accepts no arguments"
    elif low == high:
        text = f"{name} requires {low} argument{'s' if low > 1 else ''}"
    elif low and high is not None:
        text = f"{name} requires at least {low} and at most {high} arguments"
    elif len(rest) < low:
        text = f"{name} requires at least {low} argument{'s' if low > 1 else ''}"
        see = "See"
    else:
        text = f"{name} requires at most {high} argument{'s' if high != 1 else ''}"
    raise CliError(f"darse: {text}\n\n{_usage(command)}\n\n{see} 'darse {command.path} --help' for more information")


def _usage(command: Command) -> str:
    return f"Usage:  {_called(command)} {command.usage}".rstrip()


def _called(command: Command) -> str:
    return f"darse {command.path}".rstrip()


def argument_error(command: Command, flag: Flag, text: str, reason: str) -> CliError:
    """What a flag's wrong value ends with."""
    shown = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    return usage_error(command, f'invalid argument "{text}" for "{shown}" flag: {reason}')


def usage_error(command: Command, text: str) -> CliError:
    """What a wrong flag ends with."""
    return CliError(
        f"{text}\n\n{_usage(command)}\n\nRun '{_called(command)} --help' for more information",
        USAGE_STATUS,
    )


class HelpRequested(Exception):
    """`--help` was given."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.path)
        self.command = command


def help_text(command: Command, aliases: Sequence[str] = ()) -> str:
    """The page that `--help` prints."""
    lines = ["", _usage(command), "", command.summary, ""]
    if aliases:
        lines += ["Aliases:", "  " + ", ".join(f"darse {name}" for name in [command.path, *aliases]), ""]
    shown = [flag for flag in command.flags if not flag.hidden]
    if shown:
        lines += ["Options:", *flag_lines(shown), ""]
    from darse.cli.command_line import help_pages

    if keys := help_pages.filter_keys(command.path):
        import textwrap

        lines += ["Filters:", *(f"  {line}" for line in textwrap.wrap(keys, terminal_width() - 2)), ""]
    if examples := command.examples.strip().splitlines() or help_pages.examples(command.path):
        lines += ["Examples:", *(part for line in examples for part in help_pages.example_lines(line)), ""]
    lines += ["Exit status:", *(f"  {line}" for line in help_pages.statuses(command.path)), ""]
    return "\n".join(help_pages.fitted(lines))


def flag_lines(flags: Sequence[Flag]) -> list[str]:
    """One or more lines per flag, wrapped to the terminal."""
    heads = []
    for flag in flags:
        short = f"-{flag.short}, " if flag.short else "    "
        heads.append(f"  {short}--{flag.name}" + (f" {flag.value}" if flag.value else ""))
    width = min(max(map(len, heads)), 34) + 3
    columns = terminal_width()
    lines = []
    for head, flag in sorted(zip(heads, flags, strict=True), key=lambda pair: pair[1].name):
        text = flag.help
        if flag.default not in (None, False, "", []):
            text += f" (default {'true' if flag.default is True else flag.default})"
        lines += _wrapped(head, text, width, columns)
    return lines


def _wrapped(head: str, text: str, width: int, columns: int) -> list[str]:
    import textwrap

    body = [part for line in text.split("\n") for part in textwrap.wrap(line, max(columns - width, _NARROWEST)) or [""]]
    first = f"{head:<{width}}{body[0]}" if len(head) < width else head
    rest = body[1:] if len(head) < width else body
    return [first, *(f"{'':<{width}}{line}" for line in rest)]


def terminal_width() -> int:
    """Columns of the terminal; 80 where there is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
