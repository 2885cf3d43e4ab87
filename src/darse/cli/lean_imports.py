"""Libraries of compose commands, loaded without what these commands do not use of them.

It is for the process of a command, which ends after a moment and shares its modules with nobody. Half of what
`compose config` took was spent on four things: PyYAML's readers and resolvers in Python, whose regular expressions are
compiled by `import yaml` though libyaml does the work; `typing_extensions`, from which msgspec takes two names that
`typing` has, too, and which loads `inspect`; the regular expressions of `platform`, which `uuid` asks for the name of
the system, and of `textwrap`, which JSON schemas are described with; and TLS in asyncio, where the engine's socket is
one of this machine.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The modules of PyYAML whose errors the C parser names; all else that it uses is in those of _USED.
_NAMED = ("reader", "scanner", "parser", "composer", "constructor", "emitter", "serializer", "representer")
_USED = ("error", "tokens", "events", "nodes")


def prepare() -> None:
    """Load msgspec and PyYAML's C parser; asyncio is loaded by whoever needs it."""
    with _standing_in("platform", system=lambda: os.uname().sysname), _standing_in("textwrap"):
        _import_without("msgspec", "typing_extensions")
    if "yaml" not in sys.modules:
        _load_parser()


def load_asyncio(host: str) -> None:
    """Load asyncio as an engine at `host` needs it: it can do without TLS (its documentation says so)."""
    if host.startswith("unix://"):
        _import_without("asyncio", "ssl")


def _import_without(module: str, optional: str) -> None:
    """Import a module that looks whether another is there, and has to find that it is not."""
    is_loaded = optional in sys.modules
    if not is_loaded:
        sys.modules[optional] = None  # type: ignore[assignment]
    __import__(module)
    if not is_loaded:
        del sys.modules[optional]


class _standing_in:  # noqa: N801 - a context, as those of contextlib, which is loaded by nobody else
    """While it is entered, another module is imported with this one's name, unless that is loaded."""

    def __init__(self, name: str, **members: Any) -> None:
        self._name = name
        self._members = members
        self._module: Any = None

    def __enter__(self) -> None:
        if self._name not in sys.modules:
            self._module = type(sys)(self._name)
            vars(self._module).update(self._members)
            sys.modules[self._name] = self._module

    def __exit__(self, *_: object) -> None:
        if self._module is not None and sys.modules.get(self._name) is self._module:
            del sys.modules[self._name]


def _load_parser() -> None:
    """Put a package in PyYAML's place that has its C parser and what that needs; PyYAML itself where it needs more."""
    # `importlib.util.find_spec` does the same, and takes five milliseconds to load.
    specs = (finder.find_spec("yaml", None, None) for finder in sys.meta_path)
    spec = next((one for one in specs if one is not None), None)
    if spec is None or spec.submodule_search_locations is None:
        return
    module = type(sys)
    package: Any = module("yaml")
    package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
    sys.modules["yaml"] = package
    try:
        for name in _USED:
            __import__(f"yaml.{name}")
        for name in _NAMED:
            shown = f"{name.capitalize()}Error"
            one: Any = module(f"yaml.{name}")
            if name == "reader":
                error = type(shown, (package.error.YAMLError,), {"__init__": _reader_error})
            else:
                error = type(shown, (package.error.MarkedYAMLError,), {})
            setattr(one, shown, error)
            setattr(package, name, one)
            sys.modules[f"yaml.{name}"] = one
        __import__("yaml._yaml")
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "yaml"]:
            del sys.modules[name]


def _reader_error(self: Any, _name: str, position: int, character: int, _encoding: str, reason: str) -> None:
    """What is wrong with a character, as yaml.reader has it."""
    self.position, self.character, self.reason = position, character, reason
