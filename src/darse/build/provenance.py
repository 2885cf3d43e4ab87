"""The provenance of a build: the predicate of an attestation, in SLSA's forms as BuildKit fills them.

https://slsa.dev/provenance/v0.2 and https://slsa.dev/provenance/v1; what BuildKit puts where is in its
`docs/attestations/slsa-provenance.md`. Secrets are named and never told; URLs come without credentials. The mode `min`
leaves out what may say more than its author means: arguments of the build, its graph, its Dockerfile.
"""

from __future__ import annotations

import base64
import datetime
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from darse.build.dockerfile.convert import Converted
from darse.build.graph import Definition, GitSource, HTTPSource, ImageSource, LocalSource
from darse.build.progress import DockerfileRead
from darse.build.request import BuildRequest, ProvenanceRequest
from darse.image_spec import platforms
from darse.images import references

_BUILD_TYPE_V02 = "https://mobyproject.org/buildkit@v1"
_BUILD_TYPE_V1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_METADATA = "https://mobyproject.org/buildkit@v1#metadata"
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class BuildFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the build of one platform when it has ended; times are seconds since the epoch."""

    request: BuildRequest
    converted: Converted
    platform: str
    identities: Mapping[str, str]
    """What sources had, by vertex."""
    dockerfile: DockerfileRead
    started: float
    finished: float


def predicate(asked: ProvenanceRequest, facts: BuildFacts) -> dict[str, Any]:
    """The predicate in the version that is asked for."""
    return _v1(asked, facts) if asked.version == "v1" else _v02(asked, facts)


def _v02(asked: ProvenanceRequest, facts: BuildFacts) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "buildInvocationID": secrets.token_hex(16),
        "buildStartedOn": _time(facts.started),
        "buildFinishedOn": _time(facts.finished),
        "completeness": {"parameters": asked.complete, "environment": True, "materials": _is_complete(facts)},
        "reproducible": asked.reproducible,
        _METADATA: _metadata(asked, facts),
    }
    found: dict[str, Any] = {
        "builder": {"id": asked.builder},
        "buildType": _BUILD_TYPE_V02,
        "materials": [{"uri": uri, "digest": digest} for uri, digest in _materials(facts)],
        "invocation": {
            "configSource": _config_source(facts, "uri", "digest", "entryPoint"),
            "parameters": _parameters(asked, facts),
            "environment": {"platform": str(platforms.host())},
        },
        "metadata": metadata,
    }
    if asked.complete:
        found["buildConfig"] = _graph(facts.converted.definition)
    return found


def _v1(asked: ProvenanceRequest, facts: BuildFacts) -> dict[str, Any]:
    internal: dict[str, Any] = {"builderPlatform": str(platforms.host())}
    if asked.complete:
        internal["buildConfig"] = _graph(facts.converted.definition)
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE_V1,
            "externalParameters": {
                "configSource": _config_source(facts, "uri", "digest", "path"),
                "request": _parameters(asked, facts),
            },
            "internalParameters": internal,
            "resolvedDependencies": [{"uri": uri, "digest": digest} for uri, digest in _materials(facts)],
        },
        "runDetails": {
            "builder": {"id": asked.builder},
            "metadata": {
                "invocationID": secrets.token_hex(16),
                "startedOn": _time(facts.started),
                "finishedOn": _time(facts.finished),
                "buildkit_metadata": _metadata(asked, facts),
                "buildkit_completeness": {"request": asked.complete, "resolvedDependencies": _is_complete(facts)},
                "buildkit_reproducible": asked.reproducible,
            },
        },
    }


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


def _config_source(facts: BuildFacts, uri: str, digest: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {path: facts.dockerfile.filename}
    if facts.request.remote:
        found[uri] = _without_credentials(facts.request.remote)
        for digest_of in (one for name, one in _materials(facts) if name == found[uri]):
            found[digest] = digest_of
    return found


def _parameters(asked: ProvenanceRequest, facts: BuildFacts) -> dict[str, Any]:
    request = facts.request
    arguments: dict[str, str] = {}
    if request.target:
        arguments["target"] = request.target
    if request.no_cache:
        arguments["no-cache"] = ""
    if asked.complete:
        arguments |= {
            f"build-arg:{name}": value for name, value in sorted(request.arguments.items()) if not _is_proxy(name)
        }
        arguments |= {f"label:{name}": value for name, value in sorted(request.labels.items())}
    found: dict[str, Any] = {"frontend": "dockerfile.v0", "args": arguments}
    operations = [vertex.operation for vertex in facts.converted.definition.vertices.values()]
    if local := sorted({one.name for one in operations if isinstance(one, LocalSource)}):
        found["locals"] = [{"name": name} for name in local]
    outline = facts.converted.outline
    if outline.secrets:
        found["secrets"] = [{"id": one.name, "optional": not one.required} for one in outline.secrets]
    if outline.ssh:
        found["ssh"] = [{"id": one.name, "optional": not one.required} for one in outline.ssh]
    return found


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy")


def _metadata(asked: ProvenanceRequest, facts: BuildFacts) -> dict[str, Any]:
    if not asked.complete:
        return {}
    source = facts.dockerfile.source.encode("utf-8", "surrogateescape")
    infos = [
        {"filename": facts.dockerfile.filename, "language": "Dockerfile", "data": base64.b64encode(source).decode()}
    ]
    metadata = facts.converted.definition.metadata
    locations = {
        f"step{number}": {
            "locations": [{"ranges": [{"start": {"line": one}, "end": {"line": two}}]} for one, two in lines]
        }
        for number, digest in enumerate(facts.converted.definition.vertices)
        if digest in metadata and (lines := metadata[digest].lines)
    }
    return {"source": {"infos": infos, "locations": locations}}


def _materials(facts: BuildFacts) -> list[tuple[str, dict[str, str]]]:
    """What came from elsewhere, each once: its URI and its digest."""
    found: dict[str, dict[str, str]] = {}
    for digest, vertex in facts.converted.definition.vertices.items():
        identity = facts.identities.get(digest, "")
        match vertex.operation:
            case ImageSource():
                name, at = _image(vertex.operation.reference, vertex.platform or facts.platform)
                found.setdefault(name, at)
            case GitSource():
                commit = _COMMIT.match(identity)
                url = vertex.operation.full_url or vertex.operation.remote
                reference = f"#{vertex.operation.reference}" if vertex.operation.reference else ""
                found[_without_credentials(url) + reference] = {"sha1": commit[0]} if commit is not None else {}
            case HTTPSource():
                content = _SHA256.search(identity)
                found[_without_credentials(vertex.operation.url)] = (
                    {"sha256": content[1]} if content is not None else {}
                )
    return list(found.items())


def _image(reference: str, platform: str) -> tuple[str, dict[str, str]]:
    parsed = references.parse(reference)
    version = f"@{quote(parsed.tag, safe='')}" if parsed.tag else ""
    query = f"?platform={quote(platform, safe='')}" if platform else ""
    digest = {"sha256": parsed.digest.removeprefix("sha256:")} if parsed.digest else {}
    return f"pkg:docker/{quote(parsed.familiar_name, safe='/')}{version}{query}", digest


def _is_complete(facts: BuildFacts) -> bool:
    """Whether all that came in is named with a digest: a client's directory is not."""
    operations = (vertex.operation for vertex in facts.converted.definition.vertices.values())
    return not any(isinstance(one, LocalSource) for one in operations) and all(at for _, at in _materials(facts))


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return (
        urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.scheme in ("http", "https") else url
    )


def _graph(definition: Definition) -> dict[str, Any]:
    """The graph, each vertex as a step with the outputs that it takes from others."""
    names = {digest: f"step{number}" for number, digest in enumerate(definition.vertices)}
    return {
        "llbDefinition": list(_steps(definition, names)),
        "digestMapping": names,
    }


def _steps(definition: Definition, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for digest, vertex in definition.vertices.items():
        step: dict[str, Any] = {"id": names[digest], "op": _operation(vertex.operation)}
        if vertex.platform:
            step["platform"] = vertex.platform
        if vertex.inputs:
            step["inputs"] = [f"{names[edge.vertex]}:{edge.index}" for edge in vertex.inputs]
        yield step


def _operation(operation: object) -> Any:
    shown = msgspec.to_builtins(operation)
    if isinstance(operation, HTTPSource | GitSource):
        return {name: _without_credentials(value) if isinstance(value, str) else value for name, value in shown.items()}
    return shown
