"""What `--check` and `--call` print, in buildx's form."""

from __future__ import annotations

import sys

from darse.cli.output.table import align, fit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def show(result: Mapping[str, Any]) -> int:
    """Print what was asked about a Dockerfile; return the exit status: 1 where a check found something."""
    match result["Call"]:
        case "check":
            return _checks(result)
        case "targets":
            _targets(result["Targets"])
        case "outline":
            _outline(result["Outline"])
    return 0


def _checks(result: Mapping[str, Any]) -> int:
    warnings, error = result["Warnings"], result.get("Error")
    for warning in warnings:
        page = f" - {warning['URL']}" if warning["URL"] else ""
        sys.stdout.write(f"WARNING: {warning['RuleName']}{page}\n{warning['Detail']}\n{warning['Source']}\n")
    if error is not None:
        sys.stdout.write(f"{error['Source']}ERROR: {error['Message']}\n")
    count = len(warnings)
    found = f"{count} warning{'s have' if count > 1 else ' has'} been found!" if count else "no warnings found."
    if error is None:
        sys.stdout.write(f"Check complete, {found}\n")
    return int(bool(warnings) or error is not None)


def _targets(targets: list[Mapping[str, Any]]) -> None:
    rows = [["TARGET", "DESCRIPTION"]]
    for number, target in enumerate(targets):
        name = target.get("name") or f"{number}"
        rows.append([f"{name} (default)" if target.get("default") else name, target.get("description", "")])
    sys.stdout.write(_table(rows))


def _outline(outline: Mapping[str, Any]) -> None:
    for title, value in (("TARGET", outline.get("name")), ("DESCRIPTION", outline.get("description"))):
        if value:
            sys.stdout.write(f"{title + ':':<13}{value}\n")
    if arguments := outline.get("args"):
        rows = [[one["name"], one.get("value", ""), one.get("description", "")] for one in arguments]
        sys.stdout.write("\n" + _table([["BUILD ARG", "VALUE", "DESCRIPTION"], *rows]))
    for title, member in (("SECRET", "secrets"), ("SSH", "ssh")):
        if found := outline.get(member):
            rows = [[one["name"], str(one.get("required", False)).lower()] for one in found]
            sys.stdout.write("\n" + _table([[title, "REQUIRED"], *rows]))


def _table(rows: list[list[str]]) -> str:
    text = "".join("\t".join(row) + "\n" for row in rows)
    if not sys.stdout.isatty():
        return align(text)
    from darse.cli.command_line.flags import terminal_width

    return fit(text, terminal_width(), elastic={"VALUE": 8})
