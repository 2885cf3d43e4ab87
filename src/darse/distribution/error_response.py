"""What a registry says when it refuses: the distribution specification's error document, as an exception."""

from __future__ import annotations

from typing import Any

import msgspec

from darse.distribution import errors
from darse.distribution.errors import RegistryError
from darse.distribution.timeouts import retry_after
from darse.distribution.transport import RegistryResponse

_LIMIT = 64 * 1024
_SHOWN = 500
_CLIENT_FAULTS = 400
_SERVER_FAULTS = 500
_KINDS: dict[int, type[RegistryError]] = {
    401: errors.AuthenticationRequired,
    403: errors.Denied,
    404: errors.NotInRegistry,
    408: errors.Faulty,
    429: errors.TooManyRequests,
}
_CODES: dict[str, type[RegistryError]] = {
    "UNAUTHORIZED": errors.AuthenticationRequired,
    "DENIED": errors.Denied,
    "TOOMANYREQUESTS": errors.TooManyRequests,
}


def error_of(response: RegistryResponse, doing: str) -> RegistryError:
    """Read the answer to its end, and make the error of it; `doing` is the request, as in `Get "https://…"`."""
    status = response.status
    try:
        code, detail = _first_error(response.read(_LIMIT))
    except RegistryError:
        code, detail = "", ""
    kind = _KINDS.get(status) or (errors.Faulty if status >= _SERVER_FAULTS else errors.RequestRefused)
    kind = _CODES.get(code, kind) if _CLIENT_FAULTS <= status < _SERVER_FAULTS else kind
    message = detail or _without_document(status, response.reason)
    error = kind(message if detail and kind in _CODES.values() else f"{doing}: {message}")
    error.code, error.detail = code, message
    error.retry_after = retry_after(response.headers.get("Retry-After"))
    return error


def _without_document(status: int, reason: str) -> str:
    text = {401: "unauthorized: authentication required", 403: "denied: requested access to the resource is denied"}
    shown = "".join(character for character in reason[:60] if character.isprintable())
    return text.get(status) or f"received unexpected HTTP status: {status} {shown}".rstrip()


def _first_error(content: bytes) -> tuple[str, str]:
    """The code of the first error, and its text as docker writes it: the code in words, then the message."""
    try:
        document: Any = msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    document = folded(document)
    listed = document.get("errors")
    first = folded(listed[0]) if isinstance(listed, list) and listed and isinstance(listed[0], dict) else None
    if first is None:
        # Token servers say it in their own ways.
        text = document.get("details") or document.get("message") or document.get("error_description")
        return ("", _printable(text)) if isinstance(text, str) and text else ("", "")
    code, message = first.get("code"), first.get("message")
    code = code if isinstance(code, str) and len(code) < 64 else "UNKNOWN"
    words = code.lower().replace("_", " ")
    return code, f"{words}: {_printable(message)}" if isinstance(message, str) and message else words


def folded(document: dict[str, Any]) -> dict[str, Any]:
    """A document with its members' names in lower case: Go matches them so, and servers were written for that."""
    exact = {key: value for key, value in document.items() if key == key.lower()}
    return {key.lower(): value for key, value in document.items()} | exact


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:_SHOWN]).strip()
