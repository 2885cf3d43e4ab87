"""Split `command: sh -c 'a b'` into words, by a shell's quoting; nothing is expanded and nothing is run.

An unquoted `;`, `&`, `|`, `<` or `>` ends the words, since no shell is there to act on it: as docker compose does.
"""

from __future__ import annotations

_SPACES = " \t\r\n"
_ENDS = ";&|<>"


class InvalidCommand(ValueError):
    """A quote, a backquote or a parenthesis is not closed."""


def split(line: str) -> list[str]:
    """The words of a command. Raises InvalidCommand."""
    words: list[str] = []
    word = ""
    # Whether there is a word, though it may be empty: "" is one.
    is_open = escaped = backquoted = in_dollar = False
    quote = ""
    for one in line:
        if escaped:
            word, escaped, is_open = word + one, False, True
        elif one == "\\" and quote != "'":
            escaped = True
        elif one in _SPACES:
            if quote or backquoted or in_dollar:
                word += one
            elif is_open:
                words.append(word)
                word, is_open = "", False
        elif quote and one == quote and not in_dollar:
            quote, is_open = "", True
        elif one in "'\"" and not quote and not in_dollar:
            quote = one
        elif one == "`" and not quote and not in_dollar:
            backquoted, word, is_open = not backquoted, word + one, True
        elif one == "(" and not quote and not backquoted:
            if in_dollar or not word.endswith("$"):
                raise InvalidCommand("invalid command line string")
            in_dollar, word = True, word + one
        elif one == ")" and not quote and not backquoted:
            in_dollar, word, is_open = not in_dollar, word + one, True
        elif one in _ENDS and not quote and not backquoted and not in_dollar:
            if one == ">" and word[:1].isdigit():
                is_open = False  # the number of a stream: `2>file`
            break
        else:
            word, is_open = word + one, True
    if is_open:
        words.append(word)
    if escaped or quote or backquoted or in_dollar:
        raise InvalidCommand("invalid command line string")
    return words
