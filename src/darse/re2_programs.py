"""RE2 programs: regular expressions in Go's syntax that are searched for in time linear in the text.

The only place that compiles them. The binding keeps the last 128 in a cache of its own, for ever, each with the states
that it has learned from the texts of whoever gave it; here a program goes with its last user.
"""

from __future__ import annotations

from typing import Any


class InvalidExpression(ValueError):
    """What was given is no regular expression; the text says why."""


def program(pattern: bytes, **settings: Any) -> Any:
    """RE2's program for a pattern, which goes with its last user. Raises InvalidExpression with RE2's words.

    settings: attributes of RE2's options (re2/re2.h); `latin1` is for patterns and texts of any bytes.
    """
    import re2  # noqa: PLC0415 - few requests have an expression, and an idle engine loads nothing it does not use

    options = re2.Options()
    options.log_errors = False
    if settings.pop("latin1", False):
        options.encoding = re2.Options.Encoding.LATIN1
    for name, value in settings.items():
        setattr(options, name, value)
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        message = error.args[0].decode("utf-8", "replace") if error.args else "no regular expression"
        raise InvalidExpression(message) from None
    finally:
        re2.purge()  # its cache would keep the programs of 128 clients, with what these have learned of texts
