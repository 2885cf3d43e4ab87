"""The attributes of a front end's request (`frontend/dockerui/attr.go` of BuildKit) as the options of a build.

An attribute that is not known is refused where it would change the result, and passed over where it says how clients
talk to the front end.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping

from darse.build.errors import BuildError
from darse.build.graph.operations import NetworkMode, UlimitSetting
from darse.build.request import BuildRequest, ProvenanceRequest, SbomRequest
from darse.image_spec import platforms
from darse.image_spec.platforms import InvalidPlatform, Platform

#: Asks for a bill of materials, which is made of the result: front ends in images do not see it.
SBOM = "attest:sbom"
#: Of an attribute with what is known of an input.
INPUT_METADATA = "input-metadata:"
_ARGUMENT, _LABEL, _CONTEXT, _ATTEST = "build-arg:", "label:", "context:", "attest:"
# Of the front end's own options, what docker's clients send.
_KNOWN = frozenset(
    "add-hosts cache-from cache-imports cgroup-parent cmdline context contextkey dockerfilekey filename "
    " force-network-mode frontend.caps hostname image-resolve-mode multi-platform no-cache platform product "
    "requestid shm-size source target ulimit".split()
)
_PASSED_OVER = (
    "vcs:",
    "local-sessionid:",
    "contextsubdir",
    "build-arg-origin:",
    "buildinfo",
    "sharedkey:localdir:",
    INPUT_METADATA,
)
_CALLS = {"lint": "check", "outline": "outline", "targets": "targets"}
_TRUE = frozenset({"1", "t", "true"})


def build_request(options: Mapping[str, str]) -> BuildRequest:
    """The options of a build. Raises BuildError for what is malformed, or not supported."""
    for name in options:
        if name not in _KNOWN and not name.startswith((_ARGUMENT, _LABEL, _CONTEXT, _ATTEST, *_PASSED_OVER)):
            raise BuildError(f"unsupported frontend option {name}")
    arguments = _with_prefix(options, _ARGUMENT)
    context = options.get("context", "")
    request_id = options.get("requestid", "").removeprefix("frontend.")
    no_cache = options.get("no-cache")
    return BuildRequest(
        dockerfile=options.get("filename", ""),
        remote=context if _is_remote(context) else "",
        arguments=arguments,
        labels=_with_prefix(options, _LABEL),
        call=_CALLS.get(request_id, request_id),
        target=options.get("target", ""),
        platforms=_platforms(options.get("platform", "")),
        pull=options.get("image-resolve-mode") == "pull",
        no_cache=no_cache == "",
        no_cache_stages=frozenset(one.strip() for one in (no_cache or "").split(",") if one.strip()),
        contexts=contexts_for(options, ""),
        network=_network(options.get("force-network-mode", "")),
        extra_hosts=_extra_hosts(options.get("add-hosts", "")),
        shm_size=_number(options, "shm-size"),
        ulimits=_ulimits(options.get("ulimit", "")),
        cgroup_parent=options.get("cgroup-parent", ""),
        provenance=_provenance(options),
        sbom=sbom_request(options),
        check=arguments.get("BUILDKIT_DOCKERFILE_CHECK", ""),
        source_date_epoch=_epoch(arguments.get("SOURCE_DATE_EPOCH", "")),
    )


def is_multi_platform(options: Mapping[str, str]) -> bool:
    """Whether the result is an index even of one platform."""
    text = options.get("multi-platform") or options.get(f"{_ARGUMENT}BUILDKIT_MULTI_PLATFORM", "")
    return text.lower() in _TRUE or "," in options.get("platform", "")


def is_built_in(syntax: str) -> bool:
    """Whether a front end's image is the one that is built in: docker's own, of any minor version of 1."""
    name = syntax.removeprefix("docker.io/").partition("@")[0]
    name, _, tag = name.partition(":")
    version = tag.partition("-")[0]
    return name in ("docker/dockerfile", "docker/dockerfile-upstream") and (
        version in ("", "1", "latest", "master", "labs") or version.startswith("1.")
    )


def _with_prefix(options: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in options.items() if name.startswith(prefix)}


def _is_remote(context: str) -> bool:
    return "://" in context or context.startswith(("git@", "github.com/"))


def contexts_for(options: Mapping[str, str], platform: str) -> dict[str, str]:
    """Named contexts: `NAME`, and in its place `NAME::PLATFORM` for who builds for that platform."""
    found: dict[str, str] = {}
    chosen: dict[str, str] = {}
    for key, value in _with_prefix(options, _CONTEXT).items():
        name, colons, of_platform = key.partition("::")
        if not colons:
            found[name] = value
        elif not platform or str(_platforms(of_platform)[0]) == platform:
            chosen.setdefault(name, value)
    return found | chosen


def _platforms(text: str) -> tuple[Platform, ...]:
    try:
        parsed = [platforms.normalized(platforms.parse(one.strip())) for one in text.split(",") if one.strip()]
    except InvalidPlatform as error:
        raise BuildError(f"failed to parse target platform {text}: {error}") from error
    return tuple(dict.fromkeys(parsed))


def _network(mode: str) -> NetworkMode:
    if mode in ("", "default", "sandbox"):
        return NetworkMode.SANDBOX
    if mode in ("host", "none"):
        return NetworkMode(mode)
    raise BuildError(f"invalid network mode {mode!r}")


def _extra_hosts(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for field in next(csv.reader([text]), []):
        name, equals, address = field.partition("=")
        if not equals or not name:
            raise BuildError(f"invalid key-value pair {field!r} of add-hosts")
        found.append((name, address.strip("[]")))
    return tuple(found)


def _ulimits(text: str) -> tuple[UlimitSetting, ...]:
    """Of `NAME=SOFT[:HARD],…`."""
    found = []
    for field in next(csv.reader([text]), []):
        name, _, limits = field.partition("=")
        soft, _, hard = limits.partition(":")
        try:
            found.append(UlimitSetting(name, int(soft), int(hard or soft)))
        except ValueError:
            raise BuildError(f"invalid ulimit {field!r}") from None
    return tuple(found)


def _number(options: Mapping[str, str], name: str) -> int:
    text = options.get(name, "") or "0"
    if not text.isascii() or not text.isdecimal():
        raise BuildError(f"invalid {name}: {text}")
    return int(text)


def _epoch(text: str) -> int | None:
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise BuildError(f"invalid SOURCE_DATE_EPOCH: {text}")
    return int(text) if text else None


def sbom_request(options: Mapping[str, str]) -> SbomRequest | None:
    """The bill of materials that is asked for, of whatever front end. Raises BuildError."""
    text = options.get(SBOM)
    return SbomRequest.parse(text) if text is not None else None


def _provenance(options: Mapping[str, str]) -> ProvenanceRequest | None:
    text = options.get(f"{_ATTEST}provenance")
    if text is None:
        return None
    return ProvenanceRequest.parse(text) if text else ProvenanceRequest()
