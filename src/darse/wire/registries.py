"""Registries in the API (Docker Engine API v1.55): credentials, search results, what a registry has under a name."""

from __future__ import annotations

import msgspec

from darse.image_spec.manifests import Descriptor
from darse.image_spec.platforms import Platform


class AuthConfig(msgspec.Struct):
    """Credentials, as clients send them in the header X-Registry-Auth, and to `/auth`."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class AuthResponse(msgspec.Struct):
    """Answer to a login."""

    Status: str
    IdentityToken: str = ""


class DistributionInspect(msgspec.Struct):
    """What a registry has under a name."""

    Descriptor: Descriptor
    Platforms: list[Platform]
