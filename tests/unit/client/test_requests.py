"""Typed requests: each function's declared type is that of its result, and what is asked is what the API expects."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from darse.client import messages
from darse.client.documents import builds as build_documents
from darse.client.documents import containers as container_documents
from darse.client.documents import images as image_documents
from darse.client.documents import networks as network_documents
from darse.client.documents import observation as observation_documents
from darse.client.documents import plugins as plugin_documents
from darse.client.documents import system as system_documents
from darse.client.documents import volumes as volume_documents
from darse.client.errors import ClientError
from darse.client.requests import (
    ApiRequest,
    BytesRequest,
    StreamsRequest,
    archives,
    builds,
    checkpoints,
    containers,
    execs,
    images,
    networks,
    plugins,
    system,
    volumes,
)
from darse.wire import archives as archive_types
from darse.wire import checkpoints as checkpoint_types
from darse.wire import containers as container_types
from darse.wire import execs as exec_types
from darse.wire import images as image_types
from darse.wire import networks as network_types
from darse.wire import observation, registries
from darse.wire import plugins as plugin_types
from darse.wire import system as system_types
from darse.wire import volumes as volume_types

MODULES = (archives, builds, checkpoints, containers, execs, images, networks, plugins, system, volumes)
# What the modules of requests import for type checkers alone.
_TYPES: dict[str, Any] = {"Any": Any}
for _module in (
    *(
        archive_types,
        checkpoint_types,
        exec_types,
        observation,
        registries,
        container_types,
        image_types,
        network_types,
    ),
    *(plugin_types, system_types, volume_types, messages, build_documents, container_documents, image_documents),
    *(network_documents, observation_documents, plugin_documents, system_documents, volume_documents),
):
    _TYPES |= vars(_module)


def _functions(module: ModuleType) -> list[Callable[..., ApiRequest[Any]]]:
    return [
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]


ALL = [function for module in MODULES for function in _functions(module)]


def _called(function: Callable[..., ApiRequest[Any]]) -> ApiRequest[Any]:
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            arguments[name] = {"int": 1}.get(parameter.annotation, {} if "Mapping" in parameter.annotation else "x")
    return function(**arguments)


@pytest.mark.parametrize("function", ALL, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_the_declared_type_is_that_of_the_result(function: Callable[..., ApiRequest[Any]]) -> None:
    request = _called(function)
    declared = eval(function.__annotations__["return"], {**_TYPES, **vars(inspect.getmodule(function))})
    if isinstance(request, BytesRequest | StreamsRequest):
        assert type(request) is declared
        assert request.result() is bytes
    else:
        assert type(request) is typing.get_origin(declared)
        result = typing.get_args(declared)[0]
        assert request.result() == (type(None) if result is None else result)


@pytest.mark.parametrize("function", [containers.inspect, containers.start, networks.inspect, volumes.remove])
def test_an_empty_name_is_refused(function: Callable[[str], ApiRequest[Any]]) -> None:
    with pytest.raises(ClientError, match="value is empty"):
        function("")


def test_names_cannot_leave_their_place_in_the_path() -> None:
    assert containers.inspect("a/../b?x").path == "/containers/a%2F..%2Fb%3Fx/json"
    assert images.inspect("host:5000/a/b@sha256:0").path == "/images/host:5000/a/b@sha256:0/json"
