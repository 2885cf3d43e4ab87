"""Dockerfiles, as far as the catalogue's own need them: no variables, no heredocs, no escapes within words.

https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_KNOWN = frozenset(
    "FROM RUN COPY ADD ENV LABEL CMD ENTRYPOINT EXPOSE STOPSIGNAL VOLUME WORKDIR USER HEALTHCHECK".split()
)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name in capitals, its flags (`--from=x`), and the rest of its line."""

    name: str
    flags: dict[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as words: of the JSON form, or split as a shell does."""
        listed = self.listed()
        return shlex.split(self.rest) if listed is None else listed

    def listed(self) -> list[str] | None:
        """The words of the JSON (exec) form; None when it is the shell form."""
        if not self.rest.startswith("["):
            return None
        words = json.loads(self.rest)
        assert all(isinstance(word, str) for word in words), self.rest
        return list(words)

    def command(self) -> list[str]:
        """The command that RUN, CMD, ENTRYPOINT or HEALTHCHECK mean."""
        listed = self.listed()
        return ["/bin/sh", "-c", self.rest] if listed is None else listed

    def pairs(self) -> dict[str, str]:
        """The KEY=VALUE words of ENV and LABEL. Raises ValueError for other words."""
        pairs = {}
        for word in self.words:
            key, equals, value = word.partition("=")
            if not equals:
                raise ValueError(f"{self.name} wants KEY=VALUE: {word}")
            pairs[key] = value
        return pairs

    def __str__(self) -> str:
        """The instruction as a history shows it."""
        flags = "".join(f"--{name}={value} " for name, value in self.flags.items())
        return f"{self.name} {flags}{self.rest}"


@dataclass
class Stage:
    """What stands between one FROM and the next."""

    parent: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile. Raises ValueError for what is not supported here."""
    stages: list[Stage] = []
    for instruction in _instructions(path.read_text()):
        if instruction.name == "FROM":
            parent, *named = instruction.rest.split()
            stages.append(Stage(parent, named[1] if named else ""))
        else:
            stages[-1].instructions.append(instruction)
    return stages


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = []
    for line in filter(str.strip, joined.splitlines()):
        name, _, rest = line.strip().partition(" ")
        if name not in _KNOWN:
            raise ValueError(f"the catalogue's Dockerfiles have no {name}")
        flags = {}
        rest = rest.strip()
        while rest.startswith("--"):
            flag, _, rest = rest.partition(" ")
            key, _, value = flag[2:].partition("=")
            flags[key] = value
            rest = rest.strip()
        found.append(Instruction(name, flags, rest))
    return found
