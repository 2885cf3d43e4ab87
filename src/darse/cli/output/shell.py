"""Shell commands as lines that can be typed: what is long has a variable, and no line is wider than the terminal.

A backslash at the end of a line joins it with the next (POSIX, 2.2.1): between words the next line may be indented,
inside of one it begins at the edge.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# A directory whose name is a digest.
_LONG = re.compile(r"/[^:,=\s]*/[0-9a-f]{64}(?=[/:,]|$)")
# What a shell looks at between double quotes.
_SPECIAL = frozenset('"$`\\!')
_MORE = " \\"
# Longer words may have to be cut, for which they must not be in single quotes.
_FOLDABLE = 24
# So far before a line's end a cut is rather made behind a part of a path or a list.
_REACH = 24


def short_names(steps: Sequence[Mapping[str, Any]], subject: str) -> dict[str, str]:
    """Shell variables for what is long in the commands: the container's id, and directories named by other digests.

    Returns the name of each value.
    """
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for word in (word for step in steps for word in step["command"] if "\n" not in word):
        if subject and subject in word:
            names[subject] = "ID"
        for path in _LONG.findall(word.replace(subject, "") if subject else word):
            if path not in names:
                kind = re.sub(r"\W", "_", path.split("/")[-2]).upper().removesuffix("S")
                counts[kind] = counts.get(kind, 0) + 1
                names[path] = f"{kind}{counts[kind]}"
    return names


def shortened(text: str, names: Mapping[str, str]) -> str:
    """A text with the names of what has one."""
    for value, name in names.items():
        text = text.replace(value, f"${name}")
    return text


def typed(command: Sequence[str], indent: str, columns: int, names: Mapping[str, str]) -> Iterator[str]:
    """A command as one types it, behind `indent` and in lines of at most `columns`, 0 of which are no limit.

    Several commands have a `;` between them. What has lines of its own is shown as a here-document.
    """
    if not command:
        return
    if ";" in command:
        split = command.index(";")
        yield from typed(command[:split], indent, columns, names)
        yield from typed(command[split + 1 :], indent, columns, names)
        return
    *words, last = command
    if words and "\n" in last:
        yield from lines([_quoted(word, names) for word in words] + ["<<'END'"], indent, columns)
        yield from _document(last.splitlines(), f"{indent}  ", columns)
    else:
        yield from lines([_quoted(word, names) for word in command], indent, columns)


def _document(text: Sequence[str], indent: str, columns: int) -> Iterator[str]:
    """The lines of a here-document, which cannot be cut: at the edge where they are too long for a place behind it."""
    longest = max(len(f"{indent}{line}".expandtabs()) for line in text)
    margin = "" if columns and longest > columns else indent
    yield from (f"{margin}{line}" for line in text)
    yield f"{margin}END"


def _quoted(word: str, names: Mapping[str, str]) -> str:
    """A word for a shell, in double quotes rather than single ones where it has a name or may have to be cut."""
    quoted = shlex.quote(word)
    if quoted == word:
        return shortened(word, names)
    short = shortened(word, names)
    folds = short != word or len(word) > _FOLDABLE
    return f'"{short}"' if folds and not _SPECIAL & set(word) else quoted


def lines(words: Sequence[str], indent: str, columns: int, prompt: str = "$ ") -> Iterator[str]:
    """Words, quoted already where that is needed, in lines of at most `columns`."""
    *whole, line = folded(f"{indent}{prompt}{words[0]}", columns, words[0])
    yield from whole
    for word in words[1:]:
        if columns and len(line) + 1 + len(word) + len(_MORE) > columns:
            yield line + _MORE
            *whole, line = folded(f"{indent}    {word}", columns, word)
        else:
            *whole, line = folded(f"{line} {word}", columns, word)
        yield from whole
    yield line


def folded(line: str, columns: int, word: str | None = None) -> list[str]:
    """A line in pieces of at most `columns` that a shell joins again, all but the last with a backslash.

    It is cut in `word`, with which it ends, by default its last; not in a variable's name, and not in single quotes,
    which a backslash would be one more character of.
    """
    word = line.rpartition(" ")[2] if word is None else word
    pieces: list[str] = []
    begin = len(line) - len(word)
    fixed = "'" in word and not word.startswith('"')
    while columns and not fixed and len(line) + len(_MORE) > columns:
        end = columns - len(_MORE)
        name = re.search(r"\$\w*\Z", line[:end])
        if name is not None and re.match(r"\w", line[end:]):
            end = name.start()
        if end <= begin:
            break
        if (part := max(line.rfind(mark, begin + 1, end) for mark in "/,")) > end - _REACH:
            end = part + 1
        pieces.append(line[:end] + "\\")
        line, begin = line[end:], 0
    return [*pieces, line]
