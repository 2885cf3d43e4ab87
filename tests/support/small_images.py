"""The smallest images, put into a registry document by document: for tests of what is said of images."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import tarfile
from typing import Any, NamedTuple

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"


class SmallImage(NamedTuple):
    """An image: its documents, their types, and its one layer."""

    manifest: bytes
    media_type: str
    config: bytes
    layer: bytes

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.manifest)


def digest_of(content: bytes) -> str:
    """The sha256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make(architecture: str, *, docker: bool = False, variant: str = "", indent: int | None = 3) -> SmallImage:
    """An image of one file for an architecture, in docker's formats or OCI's."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"for-{architecture}"))
    layer = gzip.compress(tar.getvalue(), mtime=0)
    platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
    rootfs = {"type": "layers", "diff_ids": [digest_of(tar.getvalue())]}
    config = json.dumps({**platform, "config": {}, "rootfs": rootfs, "history": []}).encode()
    manifest_type = f"{DOCKER}.distribution.manifest.v2+json" if docker else f"{OCI}.manifest.v1+json"
    config_type = f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json"
    layer_type = f"{DOCKER}.image.rootfs.diff.tar.gzip" if docker else f"{OCI}.layer.v1.tar+gzip"
    document = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": _descriptor(config_type, config),
        "layers": [_descriptor(layer_type, layer)],
    }
    return SmallImage(json.dumps(document, indent=indent).encode(), manifest_type, config, layer)


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(content), "digest": digest_of(content)}


def put(address: str, repository: str, reference: str, image: SmallImage) -> None:
    """Upload an image to a registry without TLS, under a tag or its digest."""
    for blob in (image.config, image.layer):
        headers = _ask(address, "POST", f"/v2/{repository}/blobs/uploads/", 202)
        location = headers["location"].partition(address)[2] or headers["location"]
        mark = "&" if "?" in location else "?"
        _ask(address, "PUT", f"{location}{mark}digest={digest_of(blob)}", 201, blob)
    put_manifest(address, repository, reference, image.manifest, image.media_type)


def put_manifest(address: str, repository: str, reference: str, content: bytes, media_type: str) -> None:
    """Upload a manifest or an index."""
    _ask(address, "PUT", f"/v2/{repository}/manifests/{reference}", 201, content, media_type)


def _ask(
    address: str, method: str, path: str, status: int, body: bytes = b"", media_type: str = "application/octet-stream"
) -> dict[str, str]:
    connection = http.client.HTTPConnection(address)
    try:
        connection.request(method, path, body, {"Content-Type": media_type})
        response = connection.getresponse()
        content = response.read()
        assert response.status == status, (method, path, response.status, content)
        return {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
