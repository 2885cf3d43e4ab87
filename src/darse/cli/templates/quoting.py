"""Go's quoted strings and characters: strconv.Quote, Unquote and UnquoteChar."""

from __future__ import annotations

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_NAMES = {value: key for key, value in _ESCAPES.items()}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def is_print(character: str) -> bool:
    """Go's unicode.IsPrint: no space but U+0020, nothing unassigned or private."""
    return character.isprintable()


def quote(text: str, mark: str = '"', *, ascii_only: bool = False) -> str:
    """A string in Go's double quotes (or `mark`s)."""
    return mark + "".join(_quoted(character, mark, ascii_only) for character in text) + mark


def _quoted(character: str, mark: str, ascii_only: bool) -> str:
    if character in (mark, "\\"):
        return "\\" + character
    if is_print(character) and (character.isascii() or not ascii_only):
        return character
    if character in _NAMES:
        return "\\" + _NAMES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python's surrogateescape has it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(text: str) -> str:
    """The text of a quoted string. Raises ValueError in Go's words."""
    if text[0] == "`":
        return text[1:-1].replace("\r", "")
    body, at, out = text[1:-1], 0, bytearray()
    while at < len(body):
        piece, at = unquote_character(body, at, text[0])
        out += piece
    return out.decode(errors="surrogateescape")


def unquote_character(body: str, at: int, mark: str) -> tuple[bytes, int]:
    """The bytes of the character at `at`, and where the next one is. Raises ValueError."""
    character = body[at]
    if character == mark:
        raise ValueError("invalid syntax")
    if character != "\\":
        return character.encode(errors="surrogateescape"), at + 1
    kind = body[at + 1 : at + 2]
    if kind in _ESCAPES and kind:
        return _ESCAPES[kind].encode(), at + 2
    if kind and kind in "\"'":
        if kind != mark:
            raise ValueError("invalid syntax")
        return kind.encode(), at + 2
    if kind in _HEX_DIGITS:
        end = at + 2 + _HEX_DIGITS[kind]
        code = _number(body[at + 2 : end], _HEX_DIGITS[kind], 16)
        return (bytes([code]) if kind == "x" else _encoded(code)), end
    code = _number(body[at + 1 : at + 4], 3, 8)
    if code > 255:
        raise ValueError("invalid syntax")
    return bytes([code]), at + 4


def _number(digits: str, length: int, base: int) -> int:
    allowed = "0123456789abcdefABCDEF" if base == 16 else "01234567"
    if len(digits) != length or any(digit not in allowed for digit in digits):
        raise ValueError("invalid syntax")
    return int(digits, base)


def _encoded(code: int) -> bytes:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError("invalid syntax")
    return chr(code).encode()
