"""Compose files as OCI artifacts: `oci://HOST/NAME:TAG`, as docker compose publishes and reads them.

The manifest has a layer for each file, in their order; those that services extend others from are marked, and are kept
under their names; files of variables have a type of their own. All other layers are one file of several documents.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import msgspec

from darse.cli.errors import CliError
from darse.cli.images.registry_manifests import Registry
from darse.cli.remote_projects import directory_of, filling
from darse.cli.settings.config import Settings
from darse.compose import label_names as labels
from darse.compose.errors import ComposeError
from darse.compose.loading.sources import RemoteFile
from darse.distribution import Document, Repository, Uploads
from darse.distribution.manifests import parse
from darse.image_spec.manifests import Descriptor, Manifest
from darse.image_spec.references import InvalidReference, Reference, split

ARTIFACT = "application/vnd.docker.compose.project"
COMPOSE_FILE = "application/vnd.docker.compose.file+yaml"
ENV_FILE = "application/vnd.docker.compose.envfile"
_CONFIG_1_0 = "application/vnd.docker.compose.config.empty.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PREFIX = "com.docker.compose."
_LARGEST = 16 << 20


class PublishedFile(NamedTuple):
    """A layer: a file under the name by which others refer to it."""

    name: str
    content: bytes
    media_type: str = COMPOSE_FILE
    #: Whether services of the others extend those of it.
    is_base: bool = False

    def descriptor(self) -> Descriptor:
        """What the manifest says of it."""
        kind = "envfile" if self.media_type == ENV_FILE else "file"
        marks = {f"{_PREFIX}version": labels.CONVENTIONS, f"{_PREFIX}{kind}": self.name}
        if self.is_base:
            marks[f"{_PREFIX}extends"] = "true"
        found = Descriptor.of(self.content, self.media_type)
        return msgspec.structs.replace(found, annotations=marks)


def fetched(settings: Settings, text: str) -> RemoteFile:
    """Fetch an artifact, unless it is here. Raises ComposeError."""
    try:
        reference = split(text).tagged()
        root = Registry(settings, reference, insecure=False).ask(lambda repository: _kept(repository, reference))
    except (InvalidReference, CliError) as error:
        raise ComposeError(f'failed to pull OCI resource "{text}": {error}') from error
    except OSError as error:
        raise ComposeError(f'failed to pull OCI resource "{text}": {error.strerror}: {error.filename}') from error
    return RemoteFile(os.path.join(root, "compose.yaml"), root)


def _kept(repository: Repository, reference: Reference) -> str:
    """The directory of an artifact's files."""
    document = repository.manifest(reference.digest or reference.tag)
    manifest = parse(document)
    kind = manifest.artifact if isinstance(manifest, Manifest) else document.media_type
    if not isinstance(manifest, Manifest) or kind not in (ARTIFACT, _CONFIG_1_0):
        raise CliError(f"{reference} is not a compose project OCI artifact, but {kind or 'an image'}")
    root = directory_of(document.digest.partition(":")[2])
    if not os.path.isdir(root):
        with filling(root) as directory:
            for name, content in _files(repository, manifest).items():
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(content)
    return root


def _files(repository: Repository, manifest: Manifest) -> dict[str, bytes]:
    documents: list[bytes] = []
    found: dict[str, bytes] = {}
    for layer in manifest.layers:
        marks = layer.annotations or {}
        content = repository.small_blob(layer, _LARGEST)
        if layer.media_type == ENV_FILE:
            found[_checked(marks.get(f"{_PREFIX}envfile", ""))] = content
        elif layer.media_type == COMPOSE_FILE and marks.get(f"{_PREFIX}extends"):
            found[_checked(marks.get(f"{_PREFIX}file", ""))] = content
        elif layer.media_type == COMPOSE_FILE:
            documents.append(content)
    return found | {"compose.yaml": b"\n---\n".join(documents)}


def _checked(name: str) -> str:
    """A name that is one of a file in the directory. Raises CliError."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise CliError(f"a file of the artifact has no name that could be used: {name!r}")
    return name


def published(settings: Settings, text: str, files: list[PublishedFile], version: str) -> Descriptor:
    """Write an artifact to a registry and return how it is referred to. Raises CliError.

    `version` is of OCI: 1.0, 1.1 or "".
    """
    try:
        reference = split(text).tagged()
    except InvalidReference as error:
        raise CliError(str(error)) from error
    if version not in ("", "1.0", "1.1"):
        raise CliError(f"unsupported OCI version: {version}")
    document = manifest_of(files, version)

    def write(repository: Repository) -> Descriptor:
        uploads = Uploads(repository)
        for content in (b"{}", *(one.content for one in files)):
            digest = Document.of(content, "").digest
            if repository.has_blob(digest) is None:
                uploads.put(content, digest)
        uploads.put_manifest(reference.tag, document)
        return msgspec.structs.replace(document.descriptor, artifact_type="" if version == "1.0" else ARTIFACT)

    return Registry(settings, reference, insecure=False).ask(write, writing=True)


def manifest_of(files: list[PublishedFile], version: str) -> Document:
    """The manifest of an artifact; OCI 1.0 has no artifacts, and knows this one by the type of its configuration."""
    is_old = version == "1.0"
    manifest = Manifest(
        schema_version=2,
        media_type=_MANIFEST,
        artifact_type="" if is_old else ARTIFACT,
        config=Descriptor.of(b"{}", _CONFIG_1_0 if is_old else _EMPTY),
        layers=[one.descriptor() for one in files],
        annotations={"org.opencontainers.image.created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
    )
    return Document.of(msgspec.json.encode(manifest), _MANIFEST)
