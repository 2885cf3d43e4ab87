"""The order in which people count: `a2` before `a10`."""

from __future__ import annotations


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts `a2` before `a10`."""
    parts: list[str] = []
    for character in name:
        if parts and parts[-1][-1].isdigit() == character.isdigit():
            parts[-1] += character
        else:
            parts.append(character)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
