"""What a service says of the containers of other services: shared namespaces, and volumes taken from them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from darse.compose.errors import ComposeError
from darse.compose.model.service import Service

_NAMESPACES = ("network_mode", "ipc", "pid")
_SERVICE, _CONTAINER = "service:", "container:"


def referred(service: Service) -> set[str]:
    """The services whose containers a service needs by their ids: it is made anew when they are."""
    found = {
        value.removeprefix(_SERVICE) for name in _NAMESPACES if (value := getattr(service, name)).startswith(_SERVICE)
    }
    return found | {one.partition(":")[0] for one in service.volumes_from if not one.startswith(_CONTAINER)}


def resolved(service: Service, ids: Mapping[str, str]) -> Service:
    """A service as docker compose hashes it, with the ids of containers in the place of services.

    `ids` has the container of each service: that with the lowest number. Raises ComposeError for one that has none.
    """
    changes: dict[str, object] = {}
    for name in _NAMESPACES:
        value = getattr(service, name)
        if value.startswith(_SERVICE):
            changes[name] = _CONTAINER + _id(ids, value.removeprefix(_SERVICE))
    if service.volumes_from:
        changes["volumes_from"] = [_volume_source(one, ids) for one in service.volumes_from]
    return msgspec.structs.replace(service, **changes) if changes else service


def volumes_from(service: Service, ids: Mapping[str, str]) -> list[str]:
    """`VolumesFrom` of the API: ids with their access. Raises ComposeError."""
    found = []
    for one in service.volumes_from:
        mode = one.removeprefix(_CONTAINER).partition(":")[2]
        found.append(_volume_source(one, ids) + (f":{mode}" if mode else ""))
    return found


def _volume_source(text: str, ids: Mapping[str, str]) -> str:
    if text.startswith(_CONTAINER):
        return text.removeprefix(_CONTAINER).partition(":")[0]
    return _id(ids, text.partition(":")[0])


def _id(ids: Mapping[str, str], name: str) -> str:
    if name not in ids:
        raise ComposeError(f'cannot share namespaces or volumes with service "{name}": it has no container')
    return ids[name]
