"""The corpus of compose files: what is written, and the normal form or the error.

A case is a text file: its first line is the arguments of `compose`; then come the project's files, each after a line
`-- NAME --`; `stdout` is what docker compose v2.40.3 prints, or `error` what we say, where it refuses in its own words
(`docker`). DIRECTORY stands for the project's directory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).resolve().parent.parent / "unit" / "compose" / "corpus"
_RESULTS = frozenset({"stdout", "error", "docker"})


class ComposeCase(NamedTuple):
    """One file of the corpus."""

    arguments: list[str]
    files: dict[str, str]
    results: dict[str, str]

    def write(self, directory: Path) -> None:
        """Write the project's files."""
        for name, text in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def names() -> list[str]:
    """The cases, in order."""
    return sorted(path.stem for path in CORPUS.glob("*.txt"))


def case(name: str) -> ComposeCase:
    """A case by its name."""
    head, _, rest = (CORPUS / f"{name}.txt").read_text(encoding="utf-8").partition("\n")
    parts = re.split(r"^-- (.+) --\n", rest, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    files = {name: text for name, text in sections.items() if name not in _RESULTS}
    return ComposeCase(head.split(), files, {name: sections[name] for name in _RESULTS if name in sections})
