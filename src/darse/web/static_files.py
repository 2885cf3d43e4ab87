"""Styles and modules for the browser: few files, read at the start, with a hash of each as its tag."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from darse.aiohttp_server import BaseRequest, Response

_DIRECTORY = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}


class _File(NamedTuple):
    content_type: str
    tag: str


class StaticFiles:
    """The files by their paths: nothing that is not in this table is ever opened."""

    def __init__(self) -> None:
        self._files = {
            f"/static/{path.relative_to(_DIRECTORY)}": (
                path,
                _File(_TYPES[path.suffix], f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'),
            )
            for pattern in ("*", "vendor/*/*")
            for path in _DIRECTORY.glob(pattern)
            if path.suffix in _TYPES
        }

    def find(self, request: BaseRequest) -> Response | None:
        """The answer to a request for a file; None when it is for a page."""
        if request.method not in ("GET", "HEAD") or (found := self._files.get(request.rel_url.raw_path)) is None:
            return None
        path, file = found
        headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == file.tag:
            return Response(status=304, headers=headers)
        return Response(body=path.read_bytes(), content_type=file.content_type, charset="utf-8", headers=headers)
