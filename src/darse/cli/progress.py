"""Messages of pulls, loads and imports: lines in a pipe; on a terminal each layer keeps its line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from darse.cli.errors import CliError
from darse.cli.units import human_size

_BAR = 50


def display(messages: Iterable[dict[str, Any]]) -> None:
    """Print messages as they come. Raises CliError for one that reports an error."""
    lines: dict[str, int] = {}
    moves = sys.stdout.isatty()
    for message in messages:
        if "error" in message or "errorDetail" in message:
            detail = message.get("errorDetail") or {}
            raise CliError(str(detail.get("message") or message.get("error")))
        if "stream" in message:
            sys.stdout.write(message["stream"])
        elif "status" in message:
            _status(message, lines, moves)
        sys.stdout.flush()


def _status(message: dict[str, Any], lines: dict[str, int], moves: bool) -> None:
    identifier, bar = message.get("id", ""), _progress(message.get("progressDetail") or {})
    text = (f"{identifier}: " if identifier else "") + message["status"] + (f" {bar}" if bar else "")
    if not moves:
        if not bar:
            sys.stdout.write(f"{text}\n")
        return
    is_layer = bool(identifier) and "progressDetail" in message
    if not is_layer:
        lines.clear()
        sys.stdout.write(f"{text}\n")
    elif identifier not in lines:
        lines[identifier] = len(lines)
        sys.stdout.write(f"{text}\n")
    else:
        up = len(lines) - lines[identifier]
        sys.stdout.write(f"\x1b[{up}A\x1b[2K\r{text}\x1b[{up}B\r")


def _progress(detail: dict[str, int]) -> str:
    current, total = detail.get("current", 0), detail.get("total", 0)
    if current <= 0 and total <= 0:
        return ""
    if total <= 0 or current > total:
        return f"{human_size(current):>8}"
    done = int(current / total * _BAR)
    bar = "=" * done + (">" if done < _BAR else "")
    return f"[{bar:<{_BAR}}] {human_size(current):>8}/{human_size(total)}"
