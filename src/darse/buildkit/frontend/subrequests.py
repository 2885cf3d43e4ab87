"""Answers to questions about a Dockerfile, as BuildKit's front end gives them (`frontend/subrequests`)."""

from __future__ import annotations

import base64
import json
from typing import Any

from darse.build.dockerfile.checks import CheckWarning
from darse.build.progress import DockerfileFacts, DockerfileRead

_VERSION = b"1.0.0"


def answer(facts: DockerfileFacts, dockerfile: DockerfileRead) -> dict[str, bytes]:
    """The metadata of the result."""
    data = base64.b64encode(dockerfile.source.encode("utf-8", "surrogateescape")).decode()
    if facts.call == "check":
        return _result(_lint(facts, dockerfile, data), failed=bool(facts.warnings) or facts.error is not None)
    if facts.call == "targets":
        targets = [
            {
                "name": one.name,
                "default": one.default,
                "description": one.description,
                "base": one.base,
                "platform": one.platform,
                "location": _location(one.lines),
            }
            for one in facts.targets
        ]
        return _result({"targets": [_short(one) for one in targets], "sources": [data]})
    outline = facts.outline
    assert outline is not None
    arguments = [
        {"name": one.name, "description": one.description, "value": one.value, "location": _location(one.lines)}
        for one in outline.args
    ]
    found: dict[str, Any] = {
        "name": outline.name,
        "description": outline.description,
        "args": [_short(one) for one in arguments],
        "secrets": [_needed(one.name, one.required, one.lines) for one in outline.secrets],
        "ssh": [_needed(one.name, one.required, one.lines) for one in outline.ssh],
        "sources": [data],
    }
    return _result(_short(found))


def _lint(facts: DockerfileFacts, dockerfile: DockerfileRead, data: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "warnings": [_warning(one) for one in facts.warnings],
        "sources": [{"filename": dockerfile.filename, "data": data, "language": "Dockerfile"}],
    }
    if facts.error is not None:
        found["buildError"] = {"message": str(facts.error), "location": _location(facts.error.lines or (0, 0)) or {}}
    return found


def _warning(one: CheckWarning) -> dict[str, Any]:
    rule = one.rule
    return {
        "ruleName": rule.name,
        "description": rule.description,
        "url": rule.url,
        "detail": one.detail,
        "location": _location(one.lines),
    }


def _needed(name: str, required: bool, lines: tuple[int, int]) -> dict[str, Any]:
    return _short({"name": name, "required": required, "location": _location(lines)})


def _short(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value or key == "name"}


def _location(lines: tuple[int, int]) -> dict[str, Any] | None:
    return {"ranges": [{"start": {"line": lines[0]}, "end": {"line": lines[1]}}]} if any(lines) else None


def _result(document: dict[str, Any], *, failed: bool = False) -> dict[str, bytes]:
    text = json.dumps(document, indent=2).encode()
    return {
        "result.json": text,
        "result.txt": text + b"\n",
        "result.statuscode": b"1" if failed else b"0",
        "version": _VERSION,
    }
