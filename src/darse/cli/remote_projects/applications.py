"""A published project with its images: they are copied into its repository, and an index that refers to the project
names them (`publish --app`), so that one repository has all that runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import msgspec

from darse.cli.errors import CliError
from darse.cli.images.registry_manifests import Registry
from darse.cli.remote_projects.artifacts import ARTIFACT
from darse.cli.settings.config import Settings
from darse.compose import label_names as labels
from darse.distribution import Document, Repository, Uploads
from darse.distribution.manifests import parse
from darse.image_spec.manifests import Descriptor, Index, Manifest
from darse.image_spec.references import Reference

_INDEX = "application/vnd.oci.image.index.v1+json"
_DIGESTS = "image-digests.yaml"


def push_application(
    settings: Settings,
    reference: Reference,
    project: Descriptor,
    images: list[Reference],
    report: Callable[[str], None],
) -> str:
    """Copy images into a repository, and name them in an index about the project there; return its digest.

    `report` gets a line per image. Raises CliError.
    """
    target = Registry(settings, reference, insecure=False)
    manifests = []
    for image in images:
        report(f"copying {image}")
        copied = functools.partial(_copied, image=image, target=target, reference=reference)
        manifests.append(Registry(settings, image, insecure=False).ask(copied))
    version = {"com.docker.compose.version": labels.CONVENTIONS}
    index = Index(
        schema_version=2,
        media_type=_INDEX,
        artifact_type=ARTIFACT,
        manifests=manifests,
        subject=project,
        annotations=version,
    )
    document = Document.of(msgspec.json.encode(index), _INDEX)
    target.ask(lambda found: Uploads(found).put_manifest(document.digest, document), writing=True)
    return document.digest


def _copied(source: Repository, image: Reference, target: Registry, reference: Reference) -> Descriptor:
    """Copy an image, of all its platforms, and return how it is referred to."""
    document = source.manifest(image.digest or image.tag)

    def write(repository: Repository) -> None:
        _copy(source, document, repository, image.path if image.domain == reference.domain else "")

    target.ask(write, writing=True)
    return document.descriptor


def _copy(source: Repository, document: Document, target: Repository, mounted_from: str) -> None:
    """Copy a manifest after what it refers to: a registry refuses one whose parts it lacks."""
    found = parse(document)
    uploads = Uploads(target)
    if isinstance(found, Index):
        for one in found.manifests:
            _copy(source, source.described(one), target, mounted_from)
    for blob in (found.config, *found.layers) if isinstance(found, Manifest) else ():
        if blob.urls or target.has_blob(blob.digest) is not None:
            continue
        if not (mounted_from and uploads.mount(blob.digest, mounted_from)):
            _send(source, blob, uploads)
    uploads.put_manifest(document.digest, document)


def _send(source: Repository, blob: Descriptor, uploads: Uploads) -> None:
    """Send a blob as it comes; the registry that it goes to holds it to its digest."""

    def pieces() -> Iterator[bytes]:
        with source.blob(blob.digest) as response:
            while piece := response.read_some():
                yield piece

    uploads.stream(pieces(), lambda: blob.digest)


def digests_file(images: dict[str, str]) -> tuple[str, bytes]:
    """The name and text of the file that gives services their images by digest."""
    from darse.compose.yaml.writer import write

    if not images:
        raise CliError("there is no image whose digest could be published")
    return _DIGESTS, write({"services": {name: {"image": image} for name, image in sorted(images.items())}}).encode()
