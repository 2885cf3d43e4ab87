"""What a registry has under a name: its descriptor and platforms. Blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darse.distribution import manifests
from darse.distribution.manifests import CONFIG_LIMIT, Document
from darse.image_spec.manifests import Descriptor, Index, Manifest
from darse.image_spec.media_types import INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST
from darse.image_spec.platforms import Platform
from darse.images.model import parse_config
from darse.images.transfer.mirrors import first_answer
from darse.wire.registries import DistributionInspect

if TYPE_CHECKING:
    from darse.distribution import RegistryClient, Repository
    from darse.image_spec.references import Reference


def inspect(client: RegistryClient, reference: Reference) -> DistributionInspect:
    """Ask the registry; nothing is stored. Raises RegistryError, and InvalidParameter for a config that is none."""
    return first_answer(client, reference, lambda one: _inspect(one, reference))


def _inspect(repository: Repository, reference: Reference) -> DistributionInspect:
    document = repository.manifest(reference.digest or reference.tag)
    read = manifests.parse(document)
    described = Descriptor(type_of(document, read), document.digest, len(document.content))
    if isinstance(read, Index):
        offered = [one.platform for one in read.manifests if one.platform is not None]
        return DistributionInspect(described, offered)
    manifests.check_is_image(read)
    config = parse_config(repository.small_blob(read.config, CONFIG_LIMIT))
    platform = Platform(config.architecture, config.os, config.os_version, variant=config.variant)
    return DistributionInspect(described, [platform] if config.architecture else [])


def type_of(document: Document, read: Manifest | Index) -> str:
    """The document's media type: its own word, the registry's, or what it looks like."""
    known = (*MANIFESTS, *INDEXES)
    for media_type in (read.media_type, document.media_type):
        if media_type in known:
            return media_type
    return OCI_INDEX if isinstance(read, Index) else OCI_MANIFEST
