"""Caches elsewhere, as BuildKit's clients name them, and how those in a client's directory come and go."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from darse.build.errors import BuildError
from darse.build.progress import internal_vertex
from darse.build.remote_cache import CacheOptions, ExportedCache, parse_cache_options
from darse.buildkit.sessions.content import ClientContentStore
from darse.buildkit.solving.client_build import ClientBuild
from darse.core import executors

_PASSED_ON = ("ref", "mode", "ignore-error")


def place_of(entry: Any) -> CacheOptions:
    """One of them, of a `CacheOptionsEntry`. Raises BuildError for kinds that this engine has not."""
    attributes = dict(entry.Attrs)
    known = [f"{key}={value}" for key, value in attributes.items() if key in _PASSED_ON]
    if entry.Type != "local":
        return parse_cache_options(",".join([f"type={entry.Type}", *known]))
    place = parse_cache_options(",".join(["type=local", *(one for one in known if not one.startswith("ref="))]))
    directory = attributes.get("src") or attributes.get("dest", "")
    return msgspec.structs.replace(place, context=directory, digest=attributes.get("digest", ""))


async def export_caches(build: ClientBuild, cache: ExportedCache, image_ids: list[str]) -> dict[str, str]:
    """Send a build's results to all places; return what the client writes down of it. Raises BuildError."""
    service = build.service
    for place in build.places_to:
        if place.reference is not None:
            await build.session_secrets.log_in(place.reference.domain)
    credentials = build.session_secrets.credentials
    tokens = await service.export_cache(build.places_to, credentials, cache, image_ids, build.report)
    exporter_response: dict[str, str] = {}
    for place, token in zip((one for one in build.places_to if one.kind == "local"), tokens, strict=True):
        try:
            async with internal_vertex(build.report, f"sending cache to the client's {place.context}"):
                exporter_response["cache.manifest"] = await _send(build, place, token)
        except BuildError:
            if not place.may_fail:
                raise
    return exporter_response


async def _send(build: ClientBuild, place: CacheOptions, token: str) -> str:
    """Give the client the blobs of a cache, its manifest last; return the manifest's descriptor."""
    async with build.service.cache_exports.files(token) as directory:
        store = ClientContentStore(build.session, f"local:{place.context}")
        index = json.loads(await executors.storage.run((directory / "index.json").read_bytes))
        (manifest,) = index["manifests"]
        last = manifest["digest"].removeprefix("sha256:")
        blobs = await executors.storage.run(lambda: sorted(directory.iterdir(), key=lambda path: path.name == last))
        for path in blobs:
            if path.name != "index.json":
                await store.write(f"sha256:{path.name}", path)
    return json.dumps(manifest)
