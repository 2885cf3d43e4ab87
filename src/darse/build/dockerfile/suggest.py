"""`did you mean …?`, as BuildKit finds it: fewer than three changes of letters away."""

from __future__ import annotations

from collections.abc import Iterable

_LIMIT = 3


def suggestion(word: str, known: Iterable[str], *, case_sensitive: bool = True) -> str:
    """The known word that is nearest to a word; empty where none is near, or where it is known itself."""
    sought = word if case_sensitive else word.lower()
    best, least = "", _LIMIT
    for one in sorted(set(known)):
        candidate = one if case_sensitive else one.lower()
        if candidate == sought:
            return ""
        if abs(len(candidate) - len(sought)) < least and (distance := _distance(sought, candidate)) < least:
            best, least = candidate, distance
    return best if case_sensitive else _cased(best, word)


def suggested(message: str, word: str, known: Iterable[str], *, case_sensitive: bool = True) -> str:
    """A message with the suggestion at its end, where there is one."""
    found = suggestion(word, known, case_sensitive=case_sensitive)
    return f"{message} (did you mean {found}?)" if found else message


def _cased(text: str, like: str) -> str:
    return text if like == like.lower() else text.upper() if like == like.upper() else text


def _distance(one: str, other: str) -> int:
    """Levenshtein's."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        before, row[0] = row[0], number
        for index, second in enumerate(other, 1):
            before, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, before + (letter != second))
    return row[-1]
