"""Push images of a layout into a registry, with as few requests as there can be.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push. Written here for the catalogue alone: what
is tested with its images must not have made them.
"""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Iterator
from typing import IO, Any

from tests.catalog.layout import Descriptor, Layout


def publish(layout: Layout, names: list[str], address: str) -> None:
    """Push the images with these names (`nginx:latest`) to `library/` of the registry at HOST:PORT. Raises OSError."""
    connection = http.client.HTTPConnection(address)
    targets = layout.names()
    for name in names:
        repository, _, tag = name.partition(":")
        repository = f"library/{repository}"
        target = targets[name]
        for document in _documents(layout, target):
            for blob in (*document.get("layers", []), *filter(None, [document.get("config")])):
                _push_blob(connection, layout, repository, blob["digest"])
        for manifest in (*layout.document(target["digest"]).get("manifests", []), target):
            reference = tag if manifest is target else manifest["digest"]
            if not _has(connection, repository, f"manifests/{reference}", manifest):
                content = layout.path(manifest["digest"]).read_bytes()
                kind = {"Content-Type": manifest["mediaType"]}
                _must(connection, "PUT", f"/v2/{repository}/manifests/{reference}", content, kind)
    connection.close()


def _documents(layout: Layout, target: Descriptor) -> Iterator[dict[str, Any]]:
    document = layout.document(target["digest"])
    yield document
    for manifest in document.get("manifests", []):
        yield layout.document(manifest["digest"])


def _push_blob(connection: http.client.HTTPConnection, layout: Layout, repository: str, digest: str) -> None:
    if _has(connection, repository, f"blobs/{digest}"):
        return
    location = _must(connection, "POST", f"/v2/{repository}/blobs/uploads/")
    separator = "&" if "?" in location else "?"
    with open(layout.path(digest), "rb") as content:
        size = {"Content-Length": str(layout.path(digest).stat().st_size), "Content-Type": "application/octet-stream"}
        _must(connection, "PUT", f"{location}{separator}digest={urllib.parse.quote(digest)}", content, size)


def _has(
    connection: http.client.HTTPConnection, repository: str, what: str, manifest: Descriptor | None = None
) -> bool:
    """Whether a blob, or exactly this manifest under that reference, is there."""
    accept = {"Accept": manifest["mediaType"]} if manifest else {}
    connection.request("HEAD", f"/v2/{repository}/{what}", headers=accept)
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200 and (not manifest or answer.headers["Docker-Content-Digest"] == manifest["digest"])


def _must(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | IO[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    """Do a request that must succeed; the Location of its answer."""
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status not in (201, 202):
        raise OSError(f"{method} {path}: {answer.status} {said.decode(errors='replace')[:500]}")
    return answer.headers["Location"]
