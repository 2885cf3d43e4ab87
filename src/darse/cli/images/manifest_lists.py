"""Manifest lists that are being put together: files below `manifests/` of the config directory.

The layout and the documents are those of docker's client, so that a list begun with one can be pushed with the other: a
directory per list, a file per image, their names the references with `:` as `-` and `/` as `_`. `Raw` has the bytes of
the manifest, which its digest is of.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from darse.cli.errors import CliError
from darse.cli.settings.config_file import write_atomically
from darse.image_spec.media_types import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST

_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")

# An image of a list: `Ref`, `Descriptor`, `Raw`, and the manifest as `OCIManifest` or `SchemaV2Manifest`.
Entry = dict[str, Any]


def entry(reference: str, media_type: str, digest: str, raw: bytes, platform: dict[str, Any]) -> Entry:
    """An image of a list."""
    member = "OCIManifest" if media_type == OCI_MANIFEST else "SchemaV2Manifest"
    return {
        "Ref": reference,
        "Descriptor": {
            "mediaType": media_type,
            "digest": digest,
            "size": len(raw),
            "platform": platform_of(platform),
        },
        "Raw": base64.b64encode(raw).decode(),
        member: json.loads(raw),
    }


def platform_of(document: dict[str, Any]) -> dict[str, Any]:
    """The platform in an image's configuration or in a descriptor, its members in their order."""
    needed = {name: document.get(name) or "" for name in ("architecture", "os")}
    return {name: document[name] for name in _PLATFORM if document.get(name)} | needed


def raw_manifest(image: Entry) -> bytes:
    """The bytes of an image's manifest."""
    return base64.b64decode(image["Raw"])


def manifest(image: Entry) -> dict[str, Any]:
    """An image's manifest."""
    found = image.get("OCIManifest") or image.get("SchemaV2Manifest")
    if not isinstance(found, dict):
        raise CliError(f"{image['Ref']} has no payload")
    return found


def index(images: list[dict[str, Any]]) -> bytes:
    """The index, or docker's manifest list, of some descriptors: of the first one's kind."""
    is_oci = bool(images) and images[0]["mediaType"] == OCI_MANIFEST
    manifests = []
    for one in images:
        found = {name: one[name] for name in ("mediaType", "size", "digest")}
        platform = platform_of(one.get("platform") or {})
        manifests.append({**found, "platform": {name: platform[name] for name in _PLATFORM if name in platform}})
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX if is_oci else DOCKER_INDEX,
        "manifests": manifests,
    }
    return json.dumps(document, indent=3, ensure_ascii=False).encode()


class Lists:
    """The lists below a config directory."""

    def __init__(self, directory: str) -> None:
        self._root = os.path.join(directory, "manifests")

    def images(self, reference: str) -> list[Entry] | None:
        """The images of a list, by their files' names; None when there is no such list."""
        directory = os.path.join(self._root, _safe(reference))
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:
            return None
        return [self._read(os.path.join(directory, name)) for name in names if not name.startswith(".")]

    def image(self, reference: str, image: str) -> Entry | None:
        """An image of a list; None when it is not in it."""
        path = self._path(reference, image)
        return self._read(path) if os.path.exists(path) else None

    def save(self, reference: str, image: str, document: Entry) -> None:
        """Put an image into a list, which is made if there is none. Raises CliError."""
        path = self._path(reference, image)
        try:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            write_atomically(path, json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(), 0o644)
        except OSError as error:
            raise CliError(f"cannot write {path}: {error.strerror}") from error

    def remove(self, reference: str) -> None:
        """Forget a list."""
        from pathlib import Path

        from darse.linux.fs.contained import discard_tree

        discard_tree(Path(self._root, _safe(reference)))

    def _path(self, reference: str, image: str) -> str:
        return os.path.join(self._root, _safe(reference), _safe(image))

    def _read(self, path: str) -> Entry:
        try:
            with open(path, encoding="utf-8") as file:
                document = json.load(file)
            descriptor = document["Descriptor"]
            is_whole = isinstance(document["Ref"], str) and {"mediaType", "digest", "size"} <= set(descriptor)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CliError(f"cannot read {path}: {error}") from error
        if not is_whole:
            raise CliError(f"cannot read {path}: it describes no manifest")
        found: Entry = document
        return found


def _safe(reference: str) -> str:
    return reference.replace(":", "-").replace("/", "_")
