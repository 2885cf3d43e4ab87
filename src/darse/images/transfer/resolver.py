"""From a tag or digest in a repository to the documents of one image: target, manifest, config. Blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from darse.distribution import manifests
from darse.distribution.errors import InvalidContent, UnsupportedContent
from darse.distribution.manifests import CONFIG_LIMIT, Document
from darse.image_spec import platforms
from darse.image_spec.manifests import Descriptor, Manifest
from darse.image_spec.platforms import Platform
from darse.images.transfer.inspect import type_of

if TYPE_CHECKING:
    from darse.distribution import Repository

_NESTING = 3


class Resolved(NamedTuple):
    """What a reference means: the target that it names, the documents on the way, and the image's manifest."""

    target: Document
    target_type: str
    others: dict[str, Document]
    manifest: Manifest

    @property
    def layers(self) -> list[Descriptor]:
        """The layers' archives, lowest first."""
        return self.manifest.layers


def resolve(repository: Repository, reference: str, platform: Platform) -> Resolved:
    """Fetch what `reference` names, through indexes to the manifest for a platform. Raises RegistryError."""
    target = repository.manifest(reference)
    others: dict[str, Document] = {}
    document, read = target, manifests.parse(target)
    for _ in range(_NESTING):
        if isinstance(read, Manifest):
            manifests.check_is_image(read)
            return Resolved(target, type_of(target, manifests.parse(target)), others, read)
        document = repository.described(choose(read.manifests, platform))
        others[document.digest] = document
        read = manifests.parse(document)
    raise InvalidContent(f"indexes are nested more than {_NESTING} deep")


def config_of(repository: Repository, manifest: Manifest) -> bytes:
    """Fetch the config of an image. Raises RegistryError."""
    return repository.small_blob(manifest.config, CONFIG_LIMIT)


def choose(manifests: list[Descriptor], platform: Platform) -> Descriptor:
    """The entry of an index that suits best, the first among equals. Raises UnsupportedContent in docker's words."""
    best: tuple[int, Descriptor] | None = None
    for one in manifests:
        found = platforms.of_descriptor(one.platform)
        if found is None:
            continue
        distance = platforms.distance(platform, found)
        if distance is not None and (best is None or distance < best[0]):
            best = (distance, one)
    if best is not None:
        return best[1]
    nameless = [one for one in manifests if one.platform is None]
    if len(manifests) == len(nameless) == 1:
        return nameless[0]  # an index around one image, as tools write it that know no platforms
    raise UnsupportedContent(f"no matching manifest for {platform} in the manifest list entries")
