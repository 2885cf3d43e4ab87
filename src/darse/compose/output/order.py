"""The order of keys in YAML, as Go's package sorts them: letters after signs, and numbers by their value."""

from __future__ import annotations

import functools


def _compare(first: str, second: str) -> int:
    is_number = False
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one == other:
            is_number = one.isdigit()
            continue
        if one.isalpha() and other.isalpha():
            return -1 if one < other else 1
        if one.isalpha() or other.isalpha():
            # A letter is before a sign within a number's tail, and after it elsewhere.
            return -1 if one.isalpha() == is_number else 1
        return _compare_numbers(first, second, place)
    return len(first) - len(second)


def _compare_numbers(first: str, second: str, place: int) -> int:
    start = place
    while start > 0 and first[start - 1].isdigit():
        start -= 1
    is_within = "0" in (first[place], second[place]) and first[start:place].strip("0") != ""
    one, other = _digits(first, place), _digits(second, place)
    numbers = (int(("1" if is_within else "") + one or "0"), int(("1" if is_within else "") + other or "0"))
    if numbers[0] != numbers[1]:
        return -1 if numbers[0] < numbers[1] else 1
    if len(one) != len(other):
        return len(one) - len(other)
    return -1 if first[place] < second[place] else 1


def _digits(text: str, place: int) -> str:
    end = place
    while end < len(text) and "0" <= text[end] <= "9":
        end += 1
    return text[place:end]


natural = functools.cmp_to_key(_compare)
