"""The parameters of `POST /build`: docker's, and with them those that only `darse build` sends.

`contexts` (named ones), `nocachefilter` (stages), `annotation`, `provenance`, `sbom`; several platforms in `platform`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from darse.aiohttp_server import BaseRequest
from darse.api import query
from darse.api.registry_auth import read_others
from darse.build.errors import BuildError
from darse.build.executor import StepLimits
from darse.build.graph import NetworkMode
from darse.build.graph.operations import UlimitSetting
from darse.build.remote_cache import CacheOptions, parse_cache_options
from darse.build.request import BuildRequest, ProvenanceRequest, SbomRequest
from darse.core.errors import InvalidParameter, NotImplementedHere
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.references import DEFAULT_DOMAIN
from darse.runtime.oci.security import read_security_options

T = TypeVar("T")
# Docker's names of the defaults.
_DEFAULT_NETWORKS = frozenset({"", "default", "bridge"})
_ENTITLEMENTS = frozenset({"device", "network.host", "security.insecure"})
# Under which docker's clients keep the credentials of its default registry.
_DEFAULT_INDEX = "index.docker.io"


class _Ulimit(msgspec.Struct):
    """As in the API."""

    Name: str
    Hard: int = 0
    Soft: int = 0


class _Output(msgspec.Struct):
    """As in the API."""

    Type: str = ""
    Attrs: dict[str, str] = {}


def read_request(request: BaseRequest) -> BuildRequest:
    """The build that is asked for. Raises InvalidParameter in docker's words, and NotImplementedHere."""
    _refuse_other_builders(request)
    arguments = _json(request, "buildargs", dict[str, str | None], "build args")
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    network, sandbox_network = _network(query.text(request, "networkmode"))
    return BuildRequest(
        id=query.text(request, "buildid"),
        names=tuple(references.parse_tag(name) for name in request.query.getall("t", []) if name),
        dockerfile=query.text(request, "dockerfile"),
        remote=query.text(request, "remote"),
        # One without a value takes the engine's environment for docker's proxies; here it has none.
        arguments=given,
        labels=_json(request, "labels", dict[str, str], "labels") or {},
        call=query.text(request, "call"),
        target=query.text(request, "target"),
        platforms=_platforms(request),
        pull=query.flag(request, "pull"),
        no_cache=query.flag(request, "nocache"),
        no_cache_stages=frozenset(request.query.getall("nocachefilter", [])),
        contexts=_json(request, "contexts", dict[str, str], "named contexts") or {},
        network=network,
        sandbox_network=sandbox_network,
        extra_hosts=_extra_hosts(request),
        shm_size=_positive(request, "shmsize"),
        ulimits=_ulimits(request),
        cgroup_parent=query.text(request, "cgroupparent"),
        limits=StepLimits(
            memory=_positive(request, "memory"),
            memory_swap=query.number(request, "memswap", 0) or 0,
            cpu_shares=_positive(request, "cpushares"),
            cpu_period=_positive(request, "cpuperiod"),
            cpu_quota=query.number(request, "cpuquota", 0) or 0,
            cpuset_cpus=query.text(request, "cpusetcpus"),
            cpuset_mems=query.text(request, "cpusetmems"),
        ),
        squash=query.flag(request, "squash"),
        attributes=_attributes(request),
        annotations=tuple(request.query.getall("annotation", [])),
        cache_from=_places(request, "cachefrom"),
        cache_to=_places(request, "cacheto"),
        provenance=_provenance(request),
        sbom=_sbom(request),
        entitlements=_entitlements(request),
        security_options=_security_options(request),
        credentials=_credentials(request),
        source_date_epoch=_epoch(given.get("SOURCE_DATE_EPOCH", "")),
    )


def _refuse_other_builders(request: BaseRequest) -> None:
    version = query.text(request, "version", "1") or "1"
    if version not in ("1", "2"):
        raise InvalidParameter(f'invalid version "{version}"')
    if version == "2":
        raise NotImplementedHere(
            "BuildKit is not supported by this engine's API: build with DOCKER_BUILDKIT=0, or with `darse build`"
        )


def _platforms(request: BaseRequest) -> tuple[Platform, ...]:
    """Docker's clients name one; `darse build` several, with commas between them."""
    text = query.text(request, "platform")
    if text.lstrip().startswith("{"):
        return (query.read_platform(text),)
    return tuple(dict.fromkeys(query.read_platform(one) for one in text.split(",") if one))


def _attributes(request: BaseRequest) -> dict[str, str]:
    """Of `outputs`, as BuildKit's clients write it: an array of one with `Type` and `Attrs`."""
    given = _json(request, "outputs", list[_Output], "outputs") or []
    if len(given) > 1:
        raise InvalidParameter("multiple outputs currently unsupported by this engine")
    return given[0].Attrs if given else {}


def _places(request: BaseRequest, name: str) -> tuple[CacheOptions, ...]:
    """Docker's clients send an array of images in `cachefrom`."""
    try:
        return tuple(map(parse_cache_options, _json(request, name, list[str], name) or []))
    except BuildError as error:
        raise InvalidParameter(str(error)) from None


def _entitlements(request: BaseRequest) -> frozenset[str]:
    found = frozenset(request.query.getall("allow", []))
    if unknown := found - _ENTITLEMENTS:
        raise InvalidParameter(f"invalid entitlement: {min(unknown)}: it is one of {', '.join(sorted(_ENTITLEMENTS))}")
    return found


def _security_options(request: BaseRequest) -> tuple[str, ...]:
    found = request.query.getall("securityopt", [])
    read_security_options(found)
    return tuple(found)


def _provenance(request: BaseRequest) -> ProvenanceRequest | None:
    try:
        return ProvenanceRequest.parse(query.text(request, "provenance"))
    except BuildError as error:
        raise InvalidParameter(str(error)) from None


def _sbom(request: BaseRequest) -> SbomRequest | None:
    text = query.text(request, "sbom")
    try:
        return SbomRequest.parse(text) if text else None
    except BuildError as error:
        raise InvalidParameter(str(error)) from None


def _json(request: BaseRequest, name: str, type_: type[T], what: str) -> T | None:
    text = query.text(request, name)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=type_)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidParameter(f"error reading {what}: {error}") from None


def _epoch(text: str) -> int | None:
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise InvalidParameter(f"invalid SOURCE_DATE_EPOCH: {text!r} is no number of seconds")
    return int(text) if text else None


def _positive(request: BaseRequest, name: str) -> int:
    return max(0, query.number(request, name, 0) or 0)


def _network(mode: str) -> tuple[NetworkMode, str]:
    """How processes are connected, and the network of those that are."""
    if mode in _DEFAULT_NETWORKS:
        return NetworkMode.SANDBOX, "bridge"
    if mode in ("host", "none"):
        return NetworkMode(mode), "bridge"
    if mode.startswith("container:"):
        raise InvalidParameter(f'network mode "{mode}" is not supported for builds: name a network, or host or none')
    return NetworkMode.SANDBOX, mode


def _extra_hosts(request: BaseRequest) -> tuple[tuple[str, str], ...]:
    found = []
    for entry in request.query.getall("extrahosts", []):
        name, separator, address = entry.replace("=", ":", 1).partition(":")
        if not name or not separator:
            raise InvalidParameter(f'bad format for add-host: "{entry}"')
        found.append((name, address.strip("[]")))
    return tuple(found)


def _ulimits(request: BaseRequest) -> tuple[UlimitSetting, ...]:
    given: list[Any] = _json(request, "ulimits", list[_Ulimit], "ulimit settings") or []
    return tuple(UlimitSetting(one.Name, one.Soft, one.Hard) for one in given)


def _credentials(request: BaseRequest) -> dict[str, Any]:
    found = read_others(request)
    if _DEFAULT_INDEX in found:
        found[DEFAULT_DOMAIN] = found.pop(_DEFAULT_INDEX)
    return found
