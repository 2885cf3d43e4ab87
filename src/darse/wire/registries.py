"""Registries in the API (Docker Engine API v1.55): credentials, search results, what a registry has under a name."""

from __future__ import annotations

from typing import Any

import msgspec


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


class DistributionDescriptor(msgspec.Struct, omit_defaults=True):
    """A document in a registry; `size` in bytes."""

    mediaType: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None


class DistributionInspect(msgspec.Struct):
    """What a registry has under a name."""

    Descriptor: DistributionDescriptor
    Platforms: list[dict[str, Any]]
