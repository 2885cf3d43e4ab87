"""Typed requests: each function's declared type is that of its result, and what is asked is what the API expects."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from darse.client.errors import ClientError
from darse.client.request import ApiRequest, BytesRequest, StreamsRequest
from darse.client.requests import containers, images, networks, system, volumes
from darse.wire.containers import CreateRequest
from darse.wire.execs import ExecConfig
from darse.wire.networks import NetworkCreate
from darse.wire.observation import UpdateRequest
from darse.wire.registries import AuthConfig
from darse.wire.volumes import VolumeCreate

_BODIES: dict[str, Any] = {
    "CreateRequest": CreateRequest(),
    "ExecConfig": ExecConfig(),
    "NetworkCreate": NetworkCreate(),
    "UpdateRequest": UpdateRequest(),
    "AuthConfig": AuthConfig(),
    "VolumeCreate": VolumeCreate(),
}


def _functions(module: ModuleType) -> list[Callable[..., ApiRequest[Any]]]:
    return [
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]


ALL = [function for module in (containers, images, networks, system, volumes) for function in _functions(module)]


def _called(function: Callable[..., ApiRequest[Any]]) -> ApiRequest[Any]:
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            arguments[name] = _BODIES.get(parameter.annotation, 1 if parameter.annotation == "int" else "x")
    return function(**arguments)


@pytest.mark.parametrize("function", ALL, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_the_declared_type_is_that_of_the_result(function: Callable[..., ApiRequest[Any]]) -> None:
    request = _called(function)
    declared = typing.get_type_hints(function)["return"]
    if isinstance(request, BytesRequest | StreamsRequest):
        assert type(request) is declared
    else:
        assert type(request) is typing.get_origin(declared)
        assert request.result == typing.get_args(declared)[0]


@pytest.mark.parametrize("function", [containers.inspect, containers.start, networks.inspect, volumes.remove])
def test_an_empty_name_is_refused(function: Callable[[str], ApiRequest[Any]]) -> None:
    with pytest.raises(ClientError, match="value is empty"):
        function("")


def test_names_cannot_leave_their_place_in_the_path() -> None:
    assert containers.inspect("a/../b?x").path == "/containers/a%2F..%2Fb%3Fx/json"
    assert images.inspect("host:5000/a/b@sha256:0").path == "/images/host:5000/a/b@sha256:0/json"
