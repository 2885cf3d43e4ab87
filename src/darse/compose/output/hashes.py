"""The hash of a service's configuration, docker compose's own: both tools see whether a container is current."""

from __future__ import annotations

import hashlib

from darse.compose.model.service import Service
from darse.compose.output.encode import go_json, in_json

# What may change without a container being recreated.
_IGNORED = ("build", "pull_policy", "scale", "depends_on", "profiles")


def service_hash(service: Service) -> str:
    """The value of the label `com.docker.compose.config-hash`."""
    document = in_json(service)
    for name in _IGNORED:
        document.pop(name, None)
    if deploy := document.get("deploy"):
        deploy.pop("replicas", None)
    return hashlib.sha256(go_json(document).encode()).hexdigest()
