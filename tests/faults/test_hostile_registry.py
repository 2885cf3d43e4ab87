"""Registries that lie, drip, loop and refuse: a clear error, in bounded time and memory, and the store unchanged."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.hostile_registry import CHUNK, Answer, Behaviour, Handler, HostileRegistry, refusal
from tests.faults.puller import Puller
from tests.support.small_images import Made, document, tar

from darse.core.errors import EngineError
from darse.distribution import Credentials
from darse.image_spec.digests import digest_of
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from darse.images.progress import LayerProgress

MADE = Made(tar({"etc/one": os.urandom(400_000)}), tar({"etc/two": b"2" * 1000}))
FIRST, SECOND = MADE.layers
# A hostile answer may cost buffers, and no more.
MEMORY = 64 * 1024 * 1024


@pytest.fixture
async def puller(tmp_path: Path) -> AsyncIterator[Puller]:
    made = Puller(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry(MADE) as started:
        yield started


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """The most memory that a test may use more than there was."""
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark is now what there is
    yield
    assert _memory("VmHWM") - before < MEMORY


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def changed(**members: Any) -> Answer:
    """The manifest with other members."""
    made = document({**MADE.manifest, **members}, OCI_MANIFEST)
    return Answer(body=made.content, headers={"Content-Type": OCI_MANIFEST})


def with_layer(**members: Any) -> Answer:
    """The manifest with a first layer that is described otherwise."""
    first, second = MADE.manifest["layers"]
    return changed(layers=[{**first, **members}, second])


def with_config(**members: Any) -> tuple[Answer, Answer]:
    """A config with other members, and the manifest of it."""
    config = json.dumps({**json.loads(MADE.config), **members}).encode()
    described = {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)}
    return changed(config=described), Answer(body=config)


def index_of(*entries: dict[str, Any]) -> Answer:
    """An index."""
    made = document({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}, OCI_INDEX)
    return Answer(body=made.content, headers={"Content-Type": OCI_INDEX})


def deep_index(depth: int) -> tuple[Answer, dict[str, Answer]]:
    """An index of an index of an index."""
    answer, below = index_of({"mediaType": OCI_MANIFEST, "digest": digest_of(b""), "size": 2}), {}
    for _ in range(depth):
        assert isinstance(answer.body, bytes)
        below[digest_of(answer.body)] = answer
        platform = {"os": "linux", "architecture": os.uname().machine}
        entry = {"mediaType": OCI_INDEX, "digest": digest_of(answer.body), "size": len(answer.body)}
        answer = index_of({**entry, "platform": platform})
    return answer, below


def only_first(answer: Behaviour) -> Behaviour:
    """For the first layer only."""

    def choose(handler: Handler) -> Answer | None:
        path = handler.path.partition("?")[0]
        if not path.endswith(FIRST):
            return handler.registry.right("layer", path)
        return answer(handler) if callable(answer) else answer

    return choose


BLOB = MADE.blobs[FIRST]
FLIPPED = BLOB[:-1] + bytes([BLOB[-1] ^ 1])
PARTIAL = BLOB[: len(BLOB) // 2]


def truncated(handler: Handler) -> Answer:
    return Answer(body=PARTIAL, headers={"Content-Length": str(len(BLOB))})


def in_chunks(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data


LAYERS: dict[str, tuple[Behaviour, str]] = {
    "another content": (Answer(body=FLIPPED), "filesystem layer verification failed"),
    "an empty answer": (Answer(body=b""), "was said to have"),
    "longer than it says": (Answer(body=BLOB + b"more"), "was said to have"),
    "shorter than it says": (Answer(body=PARTIAL), "was said to have"),
    "without end": (lambda handler: Answer(body=handler.endless(), length=False), "has more than the"),
    "without end, in chunks": (
        lambda handler: handler.raw([in_chunks(b""), *[b"10000\r\n" + CHUNK + b"\r\n"] * 40]),
        "has more than the",
    ),
    "cut off every time": (truncated, "unexpected EOF|Range|sent others"),
    "reset": (lambda handler: handler.break_off(), "EOF|reset"),
    "a drip": (lambda handler: Answer(body=handler.endless(b"x", 0.02), length=False), "too slowly"),
    "silence": (lambda handler: handler.registry.stopped.wait(10) and None, "Client.Timeout"),
    "chunks of a malformed size": (lambda handler: handler.raw(in_chunks(b"zz\r\nabc")), "malformed|EOF"),
    "chunks of a negative size": (
        lambda handler: handler.raw(in_chunks(b"-5\r\n" + CHUNK * 20)),
        "more than|malformed|EOF",
    ),
    "endless trailers": (
        lambda handler: handler.raw(
            piece for piece in (in_chunks(b"0\r\n"), *[b"X: " + b"y" * 60_000 + b"\r\n"] * 100)
        ),
        "EOF|malformed|verification",
    ),
    "a redirect to itself": (lambda handler: Answer(307, headers={"Location": handler.path}), "stopped after 10"),
    "a redirect to a file": (Answer(307, headers={"Location": "file:///etc/passwd"}), "no URL of http"),
    "a redirect to credentials": (Answer(307, headers={"Location": "http://a:b@127.0.0.1/"}), "no URL of http"),
    "a redirect to nowhere": (Answer(307), "missing Location"),
    "a redirect with a line break": (Answer(307, headers={"Location": "/a%0d%0ab\tc d"}), "no URL|404|EOF|more"),
}


@pytest.mark.parametrize("name", LAYERS)
async def test_layers(puller: Puller, registry: HostileRegistry, name: str) -> None:
    behaviour, text = LAYERS[name]
    registry.replace("layer", only_first(behaviour))
    said = await puller.refused(f"{registry.address}/some/image:1")
    assert any(one in said for one in text.split("|")), said
    # What was found out to be wrong is not kept for another try.
    if "verification" in said or "than the" in said:
        assert FIRST not in await puller.partials()


CONFUSED = {**MADE.manifest, "manifests": []}
MANIFESTS: dict[str, tuple[Behaviour, str]] = {
    "no JSON": (Answer(body=b"<html>hello</html>", headers={"Content-Type": OCI_MANIFEST}), "no JSON"),
    "nested without end": (Answer(body=b"[" * 500_000, headers={"Content-Type": OCI_MANIFEST}), "no JSON"),
    "without end": (lambda handler: Answer(body=handler.endless(), length=False), "more than"),
    "huge, it says": (Answer(body=CHUNK, headers={"Content-Length": str(10**10)}), "more than|EOF|Timeout"),
    "a drip": (lambda handler: Answer(body=handler.endless(b" ", 0.02), length=False), "Client.Timeout"),
    "of another digest, it says": (
        Answer(body=MADE.document.content, headers={"Docker-Content-Digest": digest_of(b"other")}),
        "the registry calls what it sent",
    ),
    "a manifest and an index": (
        Answer(body=json.dumps(CONFUSED).encode(), headers={"Content-Type": OCI_MANIFEST}),
        "at once",
    ),
    "an index by its header": (Answer(body=MADE.document.content, headers={"Content-Type": OCI_INDEX}), "calls itself"),
    "a list": (Answer(body=b"[]", headers={"Content-Type": OCI_MANIFEST}), "no JSON object"),
    "a layer of negative size": (with_layer(size=-1), "impossible size"),
    "a layer of a size beyond everything": (with_layer(size=1 << 63), "malformed|impossible"),
    "a layer of a size as text": (with_layer(size="4"), "malformed"),
    "a layer with a path for a digest": (with_layer(digest="sha256:../../../../etc/passwd"), "unsupported digest"),
    "a layer of another algorithm": (with_layer(digest="md5:" + "0" * 32), "unsupported digest"),
    "a layer of an absurd size": (with_layer(size=1 << 50), "was said to have"),
    "a layer that is somebody's picture": (with_layer(mediaType="image/png"), "is an artifact"),
    "more layers than the config": (changed(layers=[*MADE.manifest["layers"], MADE.manifest["layers"][0]]), "layers"),
    "no layers": (changed(layers=[]), "layers"),
    "a config that is huge": (changed(config={**MADE.manifest["config"], "size": 1 << 40}), "may have"),
    "an artifact": (changed(artifactType="application/vnd.example"), "is an artifact"),
    "schema 1": (Answer(body=b'{"schemaVersion": 1, "fsLayers": []}'), "schema 1"),
    "schema 7": (changed(schemaVersion=7), "no known schema"),
    "an index of nothing": (index_of(), "no matching manifest"),
    "an index of other platforms": (
        index_of(
            {"mediaType": OCI_MANIFEST, "digest": FIRST, "size": 1, "platform": {"os": "plan9", "architecture": "z80"}}
        ),
        "no matching manifest",
    ),
    "endless headers": (
        lambda handler: handler.raw(
            piece for piece in (b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"y" * 1000 + b"\r\n"] * 500)
        ),
        "malformed",
    ),
    "a header without end": (lambda handler: handler.raw([b"HTTP/1.1 200 OK\r\nX: ", *[CHUNK] * 10]), "malformed"),
    "interim answers without end": (
        lambda handler: handler.raw(handler.endless(b"HTTP/1.1 100 Continue\r\n\r\n")),
        "malformed|does not come to",
    ),
    "no HTTP": (lambda handler: handler.raw(b"SSH-2.0-OpenSSH\r\n"), "malformed"),
    "nothing": (lambda handler: handler.raw(b""), "EOF"),
    "a head that drips": (lambda handler: handler.raw(handler.endless(b"H", 0.02)), "Client.Timeout|malformed"),
}


@pytest.mark.parametrize("name", MANIFESTS)
async def test_manifests(puller: Puller, registry: HostileRegistry, name: str) -> None:
    behaviour, text = MANIFESTS[name]
    registry.replace("manifest", behaviour)
    said = await puller.refused(f"{registry.address}/some/image:1")
    assert any(one in said for one in text.split("|")), said


async def test_a_manifest_by_digest_is_held_to_it(puller: Puller, registry: HostileRegistry) -> None:
    said = await puller.refused(f"{registry.address}/some/image@{digest_of(b'wanted')}")
    assert "manifest verification failed for digest" in said


async def test_indexes_of_indexes(puller: Puller, registry: HostileRegistry) -> None:
    top, below = deep_index(6)
    registry.replace("manifest", top)
    registry.replace("child", lambda handler: below[handler.path.rpartition("/")[2]])
    assert "nested more than" in await puller.refused(f"{registry.address}/some/image:1")
    assert len(registry.requests) < 10


async def test_a_child_of_another_size(puller: Puller, registry: HostileRegistry) -> None:
    content = MADE.document.content
    platform = {"os": "linux", "architecture": os.uname().machine}
    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(content), "platform": platform}
    for size in (len(content) - 1, len(content) + 1):
        registry.replace("manifest", index_of({**entry, "size": size}))
        said = await puller.refused(f"{registry.address}/some/image:1")
        assert "more than" in said or "was said to have" in said


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "fewer diff IDs": ({"rootfs": {"type": "layers", "diff_ids": MADE.diff_ids[:1]}}, "layers"),
    "other diff IDs": ({"rootfs": {"type": "layers", "diff_ids": MADE.diff_ids[::-1]}}, "unpacks to"),
    "diff IDs that are none": (
        {"rootfs": {"type": "layers", "diff_ids": ["../../x", "sha256:1"]}},
        "digest|invalid|unpacks",
    ),
    "a root file system that is none": ({"rootfs": "none"}, "invalid image config"),
    "a config that is none": ({"config": ["x"]}, "invalid image config"),
}


@pytest.mark.parametrize("name", CONFIGS)
async def test_configs(puller: Puller, registry: HostileRegistry, name: str) -> None:
    members, text = CONFIGS[name]
    manifest, config = with_config(**members)
    registry.replace("manifest", manifest)
    assert isinstance(config.body, bytes)
    other = digest_of(config.body)
    registry.replace(
        "layer",
        lambda handler: config if handler.path.endswith(other) else handler.registry.right("layer", handler.path),
    )
    said = await puller.refused(f"{registry.address}/some/image:1")
    assert any(one in said for one in text.split("|")), said


async def test_a_config_of_another_content(puller: Puller, registry: HostileRegistry) -> None:
    registry.replace("config", Answer(body=MADE.config[:-1] + b" "))
    assert "verification failed" in await puller.refused(f"{registry.address}/some/image:1")
    registry.replace("config", lambda handler: Answer(body=handler.endless(), length=False))
    assert "more than" in await puller.refused(f"{registry.address}/some/image:1")


async def test_a_layer_that_is_no_archive(puller: Puller, registry: HostileRegistry) -> None:
    garbage = os.urandom(100_000)
    registry.replace("manifest", with_layer(digest=digest_of(garbage), size=len(garbage)))
    registry.replace(
        "layer",
        lambda handler: (
            Answer(body=garbage)
            if handler.path.endswith(digest_of(garbage))
            else handler.registry.right("layer", handler.path)
        ),
    )
    assert "refused" in await puller.refused(f"{registry.address}/some/image:1")
    assert digest_of(garbage) not in await puller.partials()


REFUSALS = {
    401: (refusal(401, "UNAUTHORIZED", "authentication required"), "unauthorized: authentication required"),
    403: (refusal(403, "DENIED", "requested access to the resource is denied"), "pull access denied for"),
    404: (refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"), "not found: manifest unknown"),
    429: (refusal(429, "TOOMANYREQUESTS", "slow down"), "toomanyrequests: slow down"),
    500: (Answer(500, b"<html>oops</html>"), "received unexpected HTTP status: 500 Internal Server Error"),
}


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("step", ["manifest", "config", "layer"])
async def test_refusals_at_each_step(puller: Puller, registry: HostileRegistry, step: str, status: int) -> None:
    answer, text = REFUSALS[status]
    registry.replace(step, answer)
    assert text in await puller.refused(f"{registry.address}/some/image:1")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_refusals_of_the_token_server(puller: Puller, registry: HostileRegistry, status: int) -> None:
    registry.replace("manifest", challenge(registry))
    registry.replace("token", Answer(status, b'{"details": "incorrect username or password"}'))
    said = await puller.refused(f"{registry.address}/some/image:1", credentials=Credentials("ada", "wrong"))
    assert "incorrect username or password" in said


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"errors": [{"code": "UNAUTHORIZED", "message": "no such user"}]}, "unauthorized: no such user"),
        ({"Errors": [{"Code": "UNAUTHORIZED", "Message": "no such user"}]}, "unauthorized: no such user"),
        ({"ERRORS": [{"CODE": "DENIED", "mEsSaGe": "not for you"}]}, "denied: not for you"),
        ({"Details": "incorrect username or password"}, "incorrect username or password"),
    ],
)
async def test_members_of_a_refusal_are_matched_without_case(
    puller: Puller, registry: HostileRegistry, document: dict[str, object], said: str
) -> None:
    registry.replace("manifest", challenge(registry))
    registry.replace("token", Answer(401, json.dumps(document).encode()))
    told = await puller.refused(f"{registry.address}/some/image:1", credentials=Credentials("ada", "wrong"))
    assert said in told
    assert "unknown:" not in told


async def test_members_of_a_token_are_matched_without_case(puller: Puller, registry: HostileRegistry) -> None:
    registry.replace("manifest", challenge(registry))
    registry.replace("token", Answer(body=b'{"Token": "good", "EXPIRES_IN": 60}'))
    await puller.pull(f"{registry.address}/some/image:1", credentials=Credentials("ada", "secret"))
    assert len(list(puller.images.stores.images)) == 1


def challenge(registry: HostileRegistry, realm: str = "") -> Callable[[Handler], Answer]:
    """Ask for a token, until the right one is shown."""
    wanted = {"Www-Authenticate": f'Bearer realm="{realm or registry.url + "/token"}",service="s",scope="x"'}

    def answer(handler: Handler) -> Answer:
        if handler.headers.get("Authorization") == "Bearer good":
            return handler.registry.right(handler.kind(), handler.path)
        return Answer(401, b"{}", wanted)

    return answer


TOKENS: dict[str, tuple[Behaviour, str]] = {
    "without end": (lambda handler: Answer(body=handler.endless(), length=False), "more than"),
    "a drip": (lambda handler: Answer(body=handler.endless(b" ", 0.02), length=False), "Client.Timeout"),
    "no JSON": (Answer(body=b"token"), "no token"),
    "no token": (Answer(body=b"{}"), "did not include a token"),
    "a number": (Answer(body=b'{"token": 7}'), "no token"),
    "a line break": (Answer(body=json.dumps({"token": "a\r\nX-Evil: 1"}).encode()), "did not include a token"),
    "never the right one": (Answer(body=b'{"token": "bad"}'), "unauthorized"),
    "a redirect": (Answer(302, headers={"Location": "/token"}), "302"),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_tokens(puller: Puller, registry: HostileRegistry, name: str) -> None:
    behaviour, text = TOKENS[name]
    registry.replace("manifest", challenge(registry))
    registry.replace("token", behaviour)
    assert text in await puller.refused(f"{registry.address}/some/image:1", credentials=Credentials("ada", "secret"))
    assert len(registry.requests) < 20


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "ftp://a/", "http://[", "http://user:x@127.0.0.1/"])
async def test_token_servers_that_are_none(puller: Puller, registry: HostileRegistry, realm: str) -> None:
    registry.replace("manifest", challenge(registry, realm))
    assert "no URL of http" in await puller.refused(f"{registry.address}/some/image:1")


async def test_credentials_stay_with_the_registry(puller: Puller, registry: HostileRegistry) -> None:
    """A redirect to another host carries nothing that was shown to the registry."""

    def wants_password(handler: Handler) -> Answer:
        if "Authorization" not in handler.headers:
            return Answer(401, b"", {"Www-Authenticate": 'Basic realm="r"'})
        return handler.registry.right(handler.kind(), handler.path.partition("?")[0])

    with HostileRegistry(MADE) as storage:
        for step in ("manifest", "config"):
            registry.replace(step, wants_password)
        registry.replace(
            "layer", lambda handler: Answer(307, headers={"Location": f"{storage.url}/blobs/{handler.path[-71:]}"})
        )
        await puller.pull(f"{registry.address}/some/image:1", credentials=Credentials("ada", "secret"))
        assert len(storage.requests) == 2
        for _, path, headers in storage.requests:
            assert "Authorization" not in headers, path
    layers = [headers for _, path, headers in registry.requests if "/blobs/" in path]
    assert all("Authorization" in headers for headers in layers)


async def test_pages_without_end(puller: Puller, registry: HostileRegistry) -> None:
    page = Answer(body=b'{"tags": ["1"]}', headers={"Link": '</v2/some/image/tags/list>; rel="next"'})
    registry.replace("tags", page)
    assert "does not end" in await puller.refused(f"{registry.address}/some/image", all_tags=True)


# What is odd, and goes well all the same


async def test_what_breaks_off_is_resumed(puller: Puller, registry: HostileRegistry) -> None:
    def part(handler: Handler) -> Answer:
        return Answer(body=PARTIAL, headers={"Content-Length": str(len(BLOB))})

    def rest(handler: Handler) -> Answer:
        begin = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        where = f"bytes {begin}-{len(BLOB) - 1}/{len(BLOB)}"
        return Answer(206, BLOB[begin:], {"Content-Range": where})

    count: list[None] = []

    def layer(handler: Handler) -> Answer:
        count.append(None)
        return part(handler) if len(count) == 1 else rest(handler)

    registry.replace("layer", only_first(layer))
    said = await puller.pull(f"{registry.address}/some/image:1")
    assert any(isinstance(one, LayerProgress) and one.retry_in == 1 for one in said)
    assert len(list(puller.images.stores.images)) == 1
    assert await puller.partials() == []


async def test_the_whole_after_a_part_is_taken(puller: Puller, registry: HostileRegistry) -> None:
    """A registry that knows no ranges."""
    count: list[None] = []

    def layer(handler: Handler) -> Answer:
        count.append(None)
        return (
            Answer(body=PARTIAL, headers={"Content-Length": str(len(BLOB))}) if len(count) == 1 else Answer(body=BLOB)
        )

    registry.replace("layer", only_first(layer))
    await puller.pull(f"{registry.address}/some/image:1")
    assert len(list(puller.images.stores.images)) == 1


async def test_the_next_pull_goes_on(puller: Puller, registry: HostileRegistry) -> None:
    registry.replace("layer", only_first(truncated))
    await puller.refused(f"{registry.address}/some/image:1")
    assert FIRST in await puller.partials()
    asked: list[str] = []

    def layer(handler: Handler) -> Answer:
        asked.append(handler.headers.get("Range", ""))
        begin = int(asked[-1].removeprefix("bytes=").removesuffix("-") or 0)
        return Answer(206, BLOB[begin:], {"Content-Range": f"bytes {begin}-{len(BLOB) - 1}/{len(BLOB)}"})

    registry.replace("layer", only_first(layer))
    await puller.pull(f"{registry.address}/some/image:1")
    assert asked == [f"bytes={len(PARTIAL)}-"]
    assert await puller.partials() == []


async def test_a_damaged_partial_is_fetched_anew(puller: Puller, registry: HostileRegistry) -> None:
    """The power went out: what is on the disk is not what was written."""
    with puller.images.stores.content.open_ingest(FIRST) as partial:
        partial.write(b"\0" * 1000)
    await puller.pull(f"{registry.address}/some/image:1")
    assert len(list(puller.images.stores.images)) == 1


async def test_retry_after(puller: Puller, registry: HostileRegistry) -> None:
    busy = refusal(429, "TOOMANYREQUESTS", "slow down", Retry_After="0")
    registry.replace("manifest", busy, registry.right("manifest", ""))
    await puller.pull(f"{registry.address}/some/image:1")
    # An hour is more than anybody waits: the registry is not asked again.
    registry.requests.clear()
    registry.replace("manifest", refusal(429, "TOOMANYREQUESTS", "slow down", Retry_After="3600"))
    with pytest.raises(EngineError, match="toomanyrequests: slow down"):
        await puller.pull(f"{registry.address}/some/image:2")
    assert len(registry.requests) == 1


async def test_lengths_that_are_none(puller: Puller, registry: HostileRegistry) -> None:
    registry.replace(
        "layer",
        only_first(Answer(body=BLOB, headers={"Content-Length": "-1"})),
    )
    await puller.pull(f"{registry.address}/some/image:1")
    assert len(list(puller.images.stores.images)) == 1
