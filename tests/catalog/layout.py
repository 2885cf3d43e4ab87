"""An OCI layout: where the catalogue's blobs are, and which names its images have.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_NAME = "org.opencontainers.image.ref.name"

Descriptor = dict[str, Any]


class Layout:
    """A layout in a directory, which is made when it is not there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.blobs = directory / "blobs" / "sha256"
        self.blobs.mkdir(parents=True, exist_ok=True)
        if not (directory / "index.json").exists():
            write(directory / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            self._write_index([])

    def put(self, document: dict[str, Any], media_type: str) -> Descriptor:
        """Keep a document and return its descriptor."""
        content = json.dumps(document, separators=(",", ":")).encode()
        digest = hashlib.sha256(content).hexdigest()
        write(self.blobs / digest, content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be."""
        return self.blobs / digest.removeprefix("sha256:")

    def document(self, digest: str) -> dict[str, Any]:
        """A document that is kept. Raises FileNotFoundError."""
        document: dict[str, Any] = json.loads(self.path(digest).read_bytes())
        return document

    def names(self) -> dict[str, Descriptor]:
        """The images, by name."""
        listed = json.loads((self.directory / "index.json").read_bytes())["manifests"]
        return {entry["annotations"][_NAME]: entry for entry in listed}

    def name(self, names: list[str], target: Descriptor) -> None:
        """Give an image its names."""
        entries = self.names()
        for name in names:
            entries[name] = {**target, "annotations": {_NAME: name}}
        self._write_index([entries[name] for name in sorted(entries)])

    def archive(self, name: str, target: Path) -> None:
        """Write one image with all that it refers to as an archive of a layout of its own. Raises KeyError."""
        entry = self.names()[name]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        with tarfile.open(target, "w") as archive:
            for path, content in (
                ("oci-layout", (self.directory / "oci-layout").read_bytes()),
                ("index.json", json.dumps(index).encode()),
            ):
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            for digest in sorted(self._reachable(entry)):
                archive.add(self.path(digest), f"blobs/sha256/{digest.removeprefix('sha256:')}")

    def _reachable(self, target: Descriptor) -> set[str]:
        """The digests of a manifest or index and of all that it refers to."""
        document = self.document(target["digest"])
        found = {target["digest"]}
        for manifest in document.get("manifests", []):
            found |= self._reachable(manifest)
        if "config" in document:
            found |= {document["config"]["digest"], *(layer["digest"] for layer in document["layers"])}
        return found

    def _write_index(self, manifests: list[Descriptor]) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        write(self.directory / "index.json", json.dumps(index, indent=1).encode())


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.rename(file.name, path)
