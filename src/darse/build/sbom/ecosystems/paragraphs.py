"""Paragraphs of `Name: value` lines, as dpkg and Python's packaging write them (deb822(5), RFC 822)."""

from __future__ import annotations

from collections.abc import Iterator


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each paragraph, names in small letters; of a field that comes twice the first counts.

    Lines that go on with a blank are joined to their field. A line without a colon is passed over.
    """
    fields: dict[str, str] = {}
    name = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name:
                fields[name] += f"\n{line.strip()}"
        else:
            key, colon, value = line.partition(":")
            key = key.strip().lower()
            name = key if colon and key not in fields else ""
            if name:
                fields[name] = value.strip()
    if fields:
        yield fields
