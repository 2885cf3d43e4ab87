"""The types of documents: each says of its members what the struct of the same name says."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
import pytest

from darse.client import messages
from darse.client.documents import builds, containers, host_config, images, networks, observation, plugins, system
from darse.client.documents import volumes as volume_documents
from darse.image_spec import manifests
from darse.wire import archives, checkpoints, execs, registries
from darse.wire import containers as container_types
from darse.wire import host_config as host_types
from darse.wire import images as image_types
from darse.wire import networks as network_types
from darse.wire import observation as observation_types
from darse.wire import plugins as plugin_types
from darse.wire import system as system_types
from darse.wire import volumes as volume_types

_DOCUMENTS = (builds, containers, host_config, images, networks, observation, plugins, system, volume_documents)
_STRUCTS = (
    *(archives, checkpoints, execs, registries, container_types, host_types, image_types, network_types),
    *(observation_types, plugin_types, system_types, volume_types, messages, manifests),
)
# What older versions of the API have, and what the engine makes without a struct.
_WITHOUT_STRUCT = {
    *("BuildDocument", "BuildLogDocument", "BuildMessageDocument", "BuildStepDocument", "DiskUsageDocument"),
    *("ErrorDetailDocument", "EventActorDocument", "EventDocument", "NameLookupDocument", "NameQueryDocument"),
    *("OperationDocument", "ProgressDetailDocument", "ProgressDocument", "RecordedOperationDocument"),
    "SearchResultDocument",
}


DOCUMENTS = {
    name: value
    for module in _DOCUMENTS
    for name, value in vars(module).items()
    if typing.is_typeddict(value) and name not in _WITHOUT_STRUCT
}
STRUCTS = {
    name: value
    for module in _STRUCTS
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, msgspec.Struct)
}


def _shape(kind: Any) -> Any:
    """A type without what the two sides write differently."""
    if typing.is_typeddict(kind):
        return kind.__name__.removesuffix("Document")
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind.__name__
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return frozenset(_shape(one) for one in arguments if one is not msgspec.UnsetType)
    if origin is not None:
        return origin, tuple(_shape(one) for one in arguments)
    return Any if kind is msgspec.Raw else kind


def _members(shape: Any) -> Any:
    """One member of a union that has no other is that member."""
    if isinstance(shape, frozenset):
        return next(iter(shape)) if len(shape) == 1 else frozenset(_members(one) for one in shape)
    return shape


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_document_has_the_members_of_its_struct(name: str) -> None:
    struct = STRUCTS[name.removesuffix("Document")]
    fields = {field.encode_name: _members(_shape(field.type)) for field in msgspec.structs.fields(struct)}
    declared = {key: _members(_shape(kind)) for key, kind in typing.get_type_hints(DOCUMENTS[name]).items()}
    assert {key: fields.get(key) for key in declared} == declared
