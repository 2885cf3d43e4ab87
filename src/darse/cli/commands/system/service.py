"""`system enable`, `disable` and `takeover`: the engine as a service of this machine, and in docker's place."""

from __future__ import annotations

import os
import sys

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.service import systemd
from darse.cli.settings.contexts import Context, Contexts

_CONTEXT = "darse"
_DESCRIPTION = "The darse engine of this machine"
_HOST = "unix:///run/darse/darse.sock"


def enable(invocation: Invocation) -> int:
    """Have systemd start the engine."""
    return _report(systemd.enable(_root(invocation)))


def disable(invocation: Invocation) -> int:
    """Have systemd start it no more."""
    return _report(systemd.disable(_root(invocation)))


def take_over(invocation: Invocation) -> int:
    """Take docker's place, or leave it."""
    options = invocation.options
    root = "/" if options.context_only else _root(invocation)
    contexts = Contexts(invocation.settings)
    if options.undo:
        lines = systemd.undo_take_over(root)
        if contexts.exists(_CONTEXT):
            contexts.remove(_CONTEXT)
            lines.append(f"context {_CONTEXT} is removed")
        return _report(lines)
    lines = [] if options.context_only else systemd.take_over(root)
    if not contexts.exists(_CONTEXT):
        endpoint = {"Host": _HOST, "SkipTLSVerify": False}
        made = Context(_CONTEXT, {}, {}).changed(_CONTEXT, description=_DESCRIPTION, endpoint=endpoint)
        contexts.save(made)
    lines.append(f"docker's clients find the engine by context {_CONTEXT}: docker --context {_CONTEXT} ps")
    return _report(lines)


def _root(invocation: Invocation) -> str:
    if os.geteuid() != 0:
        raise CliError("only root can change the system's units: try sudo")
    root = os.path.abspath(invocation.options.root or "/")
    if not os.path.isdir(root):
        raise CliError(f"{root} is no directory: --root is another system's")
    return root


def _report(lines: list[str]) -> int:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


_ROOT = string("root", "The root of another system, in which nothing is started", value="directory")

COMMANDS = {
    "system enable": (
        Command(
            "system enable",
            "[OPTIONS]",
            "Have systemd start the engine at boot and for the first client",
            (_ROOT,),
            examples="sudo darse system enable",
        ),
        enable,
    ),
    "system disable": (
        Command(
            "system disable",
            "[OPTIONS]",
            "Undo 'system enable'; containers run on",
            (_ROOT,),
            examples="sudo darse system disable",
        ),
        disable,
    ),
    "system takeover": (
        Command(
            "system takeover",
            "[OPTIONS]",
            "Take docker's place: its socket, its commands' names, and a context",
            (
                switch("undo", "Leave docker's place"),
                switch("context-only", "Make the context only, beside a docker that stays"),
                _ROOT,
            ),
            examples="sudo darse system takeover\ndarse system takeover --context-only",
        ),
        take_over,
    ),
}
