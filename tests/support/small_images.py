"""Images for registries in tests: written straight into a registry by the client, so that pulls can be tested alone.

made = Made(tar({"etc/a": b"a"}), architecture=OTHER, Labels={"a": "b"})
made.push(registry.address, "team/app", "1")
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping

from darse.distribution import Document, RegistryClient, RegistrySettings, Repository, Uploads
from darse.image_spec import references
from darse.image_spec.digests import digest_of
from darse.image_spec.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)

HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
OTHER = "arm64" if HOST == "amd64" else "amd64"


def tar(files: Mapping[str, bytes]) -> bytes:
    """An archive of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Made:
    """An image: its documents and blobs, by digest."""

    def __init__(
        self,
        *layers: bytes,
        architecture: str = HOST,
        variant: str = "",
        packed: bool = True,
        docker: bool = False,
        indent: int | None = None,
        created: str = "",
        **config: object,
    ) -> None:
        """Make it of uncompressed layers; `config` are members of the config's own `config`.

        packed: layers are compressed with gzip.
        docker: in docker's formats, not OCI's.
        indent: how the manifest is written.
        created: when, as RFC 3339 has it.
        """
        self.blobs: dict[str, bytes] = {}
        self.diff_ids = [digest_of(layer) for layer in layers]
        described = []
        for layer in layers:
            blob = gzip.compress(layer, 1, mtime=0) if packed else layer
            self.blobs[digest_of(blob)] = blob
            media_type = f"{DOCKER_LAYER}.gzip" if docker and packed else DOCKER_LAYER if docker else OCI_LAYER
            media_type += "+gzip" if packed and not docker else ""
            described.append({"mediaType": media_type, "digest": digest_of(blob), "size": len(blob)})
        self.config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                **({"variant": variant} if variant else {}),
                **({"created": created} if created else {}),
                "config": {"Cmd": ["true"], **config},
                "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            }
        ).encode()
        self.id = digest_of(self.config)
        self.layers = [str(layer["digest"]) for layer in described]
        self.manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG if docker else OCI_CONFIG,
                "digest": self.id,
                "size": len(self.config),
            },
            "layers": described,
        }
        self.architecture = architecture
        self._indent = indent

    @property
    def document(self) -> Document:
        """The manifest's document."""
        return document(self.manifest, str(self.manifest["mediaType"]), self._indent)

    def push(self, address: str, name: str, *tags: str) -> Document:
        """Write it to a registry without TLS."""
        target = repository(address, name)
        uploads = Uploads(target)
        for digest, blob in self.blobs.items():
            if target.has_blob(digest) is None:
                uploads.put(blob, digest)
        uploads.put(self.config, self.id)
        for tag in tags or (self.document.digest,):
            uploads.put_manifest(tag, self.document)
        return self.document


def repository(address: str, name: str) -> Repository:
    """A repository of a registry without TLS."""
    return RegistryClient(RegistrySettings()).repositories(references.parse(f"{address}/{name}"))[-1]


def document(content: object, media_type: str, indent: int | None = None) -> Document:
    """A JSON document."""
    raw = json.dumps(content, indent=indent).encode()
    return Document(raw, media_type, digest_of(raw))


def push_index(address: str, name: str, tag: str, *images: Made) -> Document:
    """Write images, and an index of them under a tag."""
    entries = []
    for image in images:
        pushed = image.push(address, name)
        entries.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": pushed.digest,
                "size": len(pushed.content),
                "platform": {"architecture": image.architecture, "os": "linux"},
            }
        )
    index = document({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, OCI_INDEX)
    Uploads(repository(address, name)).put_manifest(tag, index)
    return index
