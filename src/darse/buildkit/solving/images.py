"""Images that front ends ask about."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from darse.build.base_images import BaseImages
from darse.build.errors import BuildError
from darse.buildkit.frontend.dockerfile import FrontendBuild, log_in_for
from darse.image_spec import platforms, references
from darse.image_spec.platforms import Platform
from darse.image_spec.references import InvalidReference


class ResolvedConfig(msgspec.Struct, frozen=True):
    """What is known of one."""

    reference: str
    digest: str
    config: bytes


async def image_config(build: FrontendBuild, name: str, platform: Any, mode: str) -> ResolvedConfig:
    """Find an image, or pull it. Raises BuildError."""
    try:
        reference = str(references.parse(name))
    except InvalidReference as error:
        raise BuildError(f"invalid reference {name!r}: {error}") from error
    await log_in_for(build.session_secrets, reference)
    requested = platforms.normalized(Platform(platform.Architecture, platform.OS, variant=platform.Variant))
    images = BaseImages(
        build.service.images,
        build.service.registries,
        build.lease,
        build.report,
        pull=mode == "pull",
        credentials=build.session_secrets.credentials,
    )
    try:
        found = await images.resolve(reference, str(requested if platform.Architecture else platforms.host()))
    finally:
        await images.close()
    return ResolvedConfig(found.reference, found.reference.partition("@")[2], json.dumps(found.config).encode())
