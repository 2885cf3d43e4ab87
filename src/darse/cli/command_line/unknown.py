"""Words that are no command: what was meant, and docker's words that are not there, with what to use instead."""

from __future__ import annotations

import sys

from darse.cli.command_line import index
from darse.cli.settings.config import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SWARM = "swarm mode is not in this version of darse; several services on one host: `darse compose up -d`"
_PLUGIN = (
    "is a plugin of docker's client, and it is not installed: put its program, docker-{0}, into\n"
    "~/.docker/cli-plugins or /usr/local/lib/docker/cli-plugins, and make it executable"
)
# docker's words that are not there.
ABSENT = {
    "swarm": _SWARM,
    "service": _SWARM,
    "stack": _SWARM,
    "node": _SWARM,
    "secret": f"{_SWARM}, whose `secrets` are files",
    "config": f"{_SWARM}, whose `configs` are files",
    "trust": "Docker Content Trust (Notary) is not there; name images by digest (IMAGE@sha256:...) to be sure of them",
    "compose": "every command of compose that `darse compose --help` does not list " + _PLUGIN.format("compose"),
    **{name: f"{name} {_PLUGIN.format(name)}" for name in ("buildx", "scout", "model", "mcp", "sbom", "init")},
}


def refuse(words: list[str], settings: Settings) -> int:
    """Say what is wrong with a command line that is none; return the exit status."""
    group, *rest = words
    if group in index.GROUPS or group in index.GROUP_FLAGS:
        paths = [*index.COMMANDS, *index.ALIASES]
        known = [path.partition(" ")[2] for path in paths if path.startswith(f"{group} ")]
        typed = " ".join(rest) if rest[0].startswith("-") else rest[0]
        text = f"darse: unknown command: darse {group} {typed}\n{meant(rest[0], known)}"
        text += f"\n{ABSENT[group]}\n" if group in ABSENT else ""
        text += f"\nUsage:  darse {group} COMMAND\n\nRun 'darse {group} --help' for more information\n"
    elif group in ABSENT:
        text = f"darse: {ABSENT[group]}\n"
    else:
        from darse.cli.command_line import plugins

        known = [path for path in [*index.COMMANDS, *index.ALIASES, *index.GROUPS] if " " not in path]
        text = f"darse: unknown command: darse {group}\n{meant(group, [*known, *plugins.names(settings)])}"
        text += "\nRun 'darse --help' for more information\n"
    sys.stderr.write(text)
    return 1


def meant(word: str, known: Iterable[str]) -> str:
    """`did you mean "run"?`, a line of its own; empty where nothing is alike."""
    import difflib

    found = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)
    return f'\ndid you mean "{found[0]}"?\n' if found else ""
