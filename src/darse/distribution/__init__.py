"""A client of OCI and docker registries: a leaf package, which knows neither engine nor command.

It blocks; an engine calls it in threads. Vocabulary: a *reference* names an image; a *registry* is a reference's
domain; an *endpoint* is one URL at which a registry, or a mirror of it, is asked; a *session* is an endpoint, a user
and connections; a *repository* is where manifests and blobs are.

    client = RegistryClient(RegistrySettings(), Credentials("user", "secret"))
    reference = darse.image_spec.references.parse("busybox")
    for repository in client.repositories(reference):
        document = repository.manifest(reference.tag)

The names below are found when they are asked for: reading a reference loads no HTTP client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darse.distribution.auth import Credentials
    from darse.distribution.client import RegistryClient, SearchResult
    from darse.distribution.errors import RegistryError
    from darse.distribution.hosts import Hosts, RegistryEndpoint, RegistrySettings
    from darse.distribution.manifests import Document
    from darse.distribution.repository import Repository
    from darse.distribution.timeouts import Cancellation, Limits
    from darse.distribution.uploads import Uploads

_HOMES = {
    "Cancellation": "timeouts",
    "RegistryClient": "client",
    "Credentials": "auth",
    "Document": "manifests",
    "RegistryEndpoint": "hosts",
    "Hosts": "hosts",
    "Limits": "timeouts",
    "RegistryError": "errors",
    "Repository": "repository",
    "SearchResult": "client",
    "RegistrySettings": "hosts",
    "Uploads": "uploads",
}

__all__ = [
    "Cancellation",
    "Credentials",
    "Document",
    "Hosts",
    "Limits",
    "RegistryClient",
    "RegistryEndpoint",
    "RegistryError",
    "RegistrySettings",
    "Repository",
    "SearchResult",
    "Uploads",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
