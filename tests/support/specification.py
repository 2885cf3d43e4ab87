"""The API's specification (Swagger 2.0) as JSON schemas, and a client that holds every answer against it.

Objects are closed: a member that the specification does not know is an error, as it is most likely a misspelt one.
Arrays and objects may be null: docker's engine sends that for what is unset, and its clients take it as empty. What
else docker's engine does against its specification, and clients depend on, is listed in `KNOWN`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.support.engine import REPOSITORY
from tests.support.http import ApiClient, Response

_DEFAULT = REPOSITORY.parent / "shared" / "spec" / "docker-engine-api-v1.55.yaml"
# (definition, member) -> what docker's engine really sends.
KNOWN: dict[tuple[str, str], dict[str, Any]] = {
    # Unset is null, as they are pointers.
    ("ExecInspectResponse", "ExitCode"): {"type": "integer", "x-nullable": True},
    ("Resources", "MemorySwappiness"): {"type": "integer", "x-nullable": True},
    ("Resources", "OomKillDisable"): {"type": "boolean", "x-nullable": True},
    # Left out when empty, and not of the specification any more.
    ("ImageInspect", "Parent"): {"type": "string"},
    ("ImageInspect", "DockerVersion"): {"type": "string"},
}
_STREAMS = ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream", "application/x-tar")


def specification_path() -> Path | None:
    """The file, of `DARSE_API_SPEC` or beside the repository; None when there is none."""
    path = Path(os.environ.get("DARSE_API_SPEC", _DEFAULT))
    return path if path.exists() else None


class Specification:
    """Operations by method and path, and their schemas."""

    def __init__(self, path: Path) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.document: dict[str, Any] = yaml.load(path.read_text(), Loader=loader)
        self.definitions = {}
        for name, schema in self.document["definitions"].items():
            self.definitions[name] = convert(schema, closed=True, name=name)
            # For use in allOf, where the whole is closed and not its parts.
            self.definitions[f"{name}.open"] = convert(schema, closed=False, name=name)
        self.operations = {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }
        self._patterns = [
            (method, re.compile(_pattern(path) + r"\Z"), (method, path)) for method, path in self.operations
        ]
        # Constant paths first: /images/get is not the image "get".
        self._patterns.sort(key=lambda entry: entry[2][1].count("{"))

    def find(self, method: str, path: str) -> tuple[str, str] | None:
        """The operation that a request is one of."""
        for wanted, pattern, operation in self._patterns:
            if wanted == method and pattern.match(path):
                return operation
        return None

    def problems(self, schema: dict[str, Any], value: object) -> list[str]:
        """What is wrong with `value`, one line each."""
        whole = {**convert(schema, closed=True), "definitions": self.definitions}
        errors = Draft202012Validator(whole).iter_errors(value)
        return [f"{'/'.join(map(str, error.absolute_path)) or '(top)'}: {error.message[:300]}" for error in errors]

    def request_schema(self, operation: tuple[str, str]) -> dict[str, Any] | None:
        """The schema of an operation's body."""
        for parameter in self.operations[operation].get("parameters", ()):
            if parameter["in"] == "body":
                schema: dict[str, Any] = parameter["schema"]
                return schema
        return None

    def response_problems(self, operation: tuple[str, str], answer: Response) -> list[str]:
        """What is wrong with an answer: its status, its type, its body."""
        responses = self.operations[operation]["responses"]
        declared = responses.get(answer.status, responses.get(str(answer.status)))
        if declared is None:
            # Any operation may refuse what makes no sense.
            if answer.status in (400, 409, 501):
                return self.problems({"$ref": "#/definitions/ErrorResponse"}, answer.json())
            return [f"status {answer.status} is not declared: {answer.body[:200]!r}"]
        schema = declared.get("schema")
        if schema is None or operation[0] == "HEAD":  # whose answers have no body
            return []
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        if kind in _STREAMS or schema.get("type") == "string":
            return []
        if kind not in ("application/json", "application/x-ndjson"):
            return [f"content type {kind!r} for JSON"]
        # Progress is a sequence of documents.
        if schema.get("format") == "binary" or kind == "application/x-ndjson":
            return []
        return self.problems(schema, answer.json())


def convert(schema: Any, *, closed: bool, name: str = "") -> Any:
    """A Swagger schema as a JSON schema of 2020-12."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"] + ("" if closed else ".open")}
    made: dict[str, Any] = {}
    name = name or schema.get("title", "")
    for key, value in schema.items():
        if key == "properties":
            known = {member: content for (definition, member), content in KNOWN.items() if definition == name}
            made[key] = {
                member: _or_null(convert(content, closed=True)) for member, content in {**value, **known}.items()
            }
        elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
            made[key] = convert(value, closed=True)
        elif key == "allOf":
            made[key] = [convert(part, closed=False) for part in value]
        elif key in ("type", "enum", "required", "minimum", "maximum", "pattern", "additionalProperties"):
            made[key] = value
    composed = "allOf" in made or made.get("properties")
    if closed and composed and "additionalProperties" not in made:
        made["unevaluatedProperties"] = False
    if schema.get("x-nullable"):
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
        if "type" in made:
            made["type"] = [made["type"], "null"]
        else:
            return {"anyOf": [made, {"type": "null"}]}
    return made


def _or_null(schema: Any) -> Any:
    """Arrays and objects may be null (as Go writes what is unset)."""
    if "$ref" in schema or "allOf" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if schema.get("type") in ("array", "object"):
        return {**schema, "type": [schema["type"], "null"]}
    return schema


def _pattern(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: r".+" if match[1] == "name" else r"[^/]+", path)


class CheckedClient:
    """An ApiClient that collects what is wrong with each answer, and with the bodies it sends."""

    def __init__(self, api: ApiClient, specification: Specification) -> None:
        self._api = api
        self._specification = specification
        self.problems: list[str] = []
        self.validated: dict[tuple[str, str], set[int]] = {}

    def __call__(
        self, method: str, path: str, body: object = None, *, expect: int | None = None, **options: Any
    ) -> Response:
        """One request; `expect` is the status that it must have."""
        answer = self._api(method, path, body, **options)
        if expect is not None:
            assert answer.status == expect, f"{method} {path}: {answer.status} {answer.body[:500]!r}, not {expect}"
        self.check(method, path, body, answer)
        return answer

    def check(self, method: str, path: str, body: object, answer: Response) -> None:
        """Hold a request and its answer against the specification."""
        operation = self._specification.find(method, path.partition("?")[0])
        if operation is None:
            return
        schema = self._specification.request_schema(operation)
        if schema is not None and isinstance(body, Mapping) and answer.status < 400:
            for problem in self._specification.problems(schema, json.loads(json.dumps(body))):
                self.problems.append(f"{method} {operation[1]} request: {problem}")
        for problem in self._specification.response_problems(operation, answer):
            self.problems.append(f"{method} {operation[1]} {answer.status}: {problem}")
        self.validated.setdefault(operation, set()).add(answer.status)
