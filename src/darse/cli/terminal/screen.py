"""What a terminal gets to see: text of others is shown, never obeyed.

Names, labels, commands, comments, descriptions and messages come from images, containers and registries. On a terminal
an escape sequence in them could move the cursor, forge rows, set the title or type for the user (ECMA-48, xterm's
control sequences). So the standard streams themselves, where they are terminals, show each control character as an
escape such as `\\x1b`: no command can forget it. The sequences that darse itself sends go through `control`.

A pipe gets the text as it is, as from docker: what reads it may want the bytes. So do a container's own streams
(`logs`, `attach`, `exec`, `run`), which are written to the descriptor directly.
"""

from __future__ import annotations

import io
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

# C0 without tab and newline, DEL, C1; what turns the direction of text (Unicode TR9); line separators.
_CONTROLS = [*range(9), *range(11, 32), *range(0x7F, 0xA0)]
_DIRECTIONS = [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_SHOWN: dict[int, str] = {code: f"\\x{code:02x}" for code in _CONTROLS}
_SHOWN |= {code: f"\\u{code:04x}" for code in _DIRECTIONS}
# Bytes that are no UTF-8, as surrogateescape keeps them: a terminal with 8-bit controls would obey some.
_SHOWN |= {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
_LINE_END = {10: "\\n"}


def visible(text: str, *, one_line: bool = False) -> str:
    """`text` with its control characters as escapes; newlines too, when it must stay on `one_line`."""
    shown = text.translate(_SHOWN)
    return shown.translate(_LINE_END) if one_line else shown


class Screen(io.TextIOWrapper):
    """A standard stream that is a terminal."""

    def write(self, text: str, /) -> int:
        """Show `text`."""
        super().write(visible(text))
        return len(text)

    def control(self, text: str) -> None:
        """Send escape sequences of our own; text of others in between must be `visible` already."""
        super().write(text)


def guarded(stream: Any) -> TextIO:
    """The stream to use in place of a standard stream: a Screen where it is a terminal, else itself."""
    if not stream.isatty():
        return stream  # type: ignore[no-any-return]
    encoding, errors = stream.encoding, stream.errors
    return Screen(stream.detach(), encoding=encoding, errors=errors, line_buffering=True)


def control(text: str, stream: TextIO | None = None) -> None:
    """Write text with escape sequences of our own to standard output, or to `stream`."""
    target = sys.stdout if stream is None else stream
    if isinstance(target, Screen):
        target.control(text)
    else:
        target.write(text)
