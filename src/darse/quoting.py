"""Strings in quotes with backslash escapes, as Go's source, its `%q` and its templates have them; paths in messages."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_ESCAPED = {character: f"\\{letter}" for letter, character in _LETTERS.items()}
_ESCAPE = r"""\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.)?)"""


def quote(text: str, mark: str = '"', *, ascii_only: bool = False) -> str:
    """`text` between marks. Bytes that are no UTF-8 are surrogate escapes in it, as in `sys.argv`."""
    if text.isascii() and text.isprintable() and mark not in text and "\\" not in text:
        return mark + text + mark
    return mark + "".join(_quoted(one, mark, ascii_only) for one in text) + mark


def _quoted(character: str, mark: str, ascii_only: bool) -> str:
    code = ord(character)
    if character == mark:
        return "\\" + mark
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character.isprintable() and (code < 0x80 or not ascii_only):
        return character
    if code <= 0x20 or code == 0x7F or 0xDC80 <= code < 0xDD00:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(text: str) -> str:
    """The text of a string in `"`, `'` or backquotes. Raises ValueError."""
    mark, body = text[0], text[1:-1]
    if mark == "`":
        return body.replace("\r", "")
    if "\\" not in body:
        return body

    def unescaped(match: re.Match[str]) -> str:
        hexadecimal, octal, short, long, letter = match.groups()
        if hexadecimal or octal:
            code = int(hexadecimal, 16) if hexadecimal else int(octal, 8)
            if code < 0x100:
                return chr(code if code < 0x80 else 0xDC00 + code)
        elif short or long:
            code = int(short or long, 16)
            if code < 0x110000 and not 0xD800 <= code < 0xE000:
                return chr(code)
        elif letter in _LETTERS:
            return _LETTERS[letter]
        elif letter == mark:
            return mark
        raise ValueError("invalid syntax")

    import re  # noqa: PLC0415 - most texts have no escape, and `darse ps` no time to load it

    # Bytes that were written one by one may be UTF-8 together.
    return re.sub(_ESCAPE, unescaped, body).encode(errors="surrogateescape").decode(errors="surrogateescape")


def quoted_path(path: bytes) -> str:
    """A path in a message: quoted as Python does, and no longer than a line."""
    text = ascii(path.decode("utf-8", "surrogateescape"))
    return text if len(text) <= 200 else f"{text[:99]}…{text[-99:]}"
