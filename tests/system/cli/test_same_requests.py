"""`darse` asks an engine what docker's client asks, and prints the same of its answers: images and registries.

The engine is one of canned answers, so that both are told the same, and everything that they send can be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BIN, Client, Done, docker_program
from tests.support.fake_engine import Answer, Asked, FakeEngine

pytestmark = pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")

_ID = "sha256:" + "ab" * 32
_PULL = [
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaaaaaaaaaaa"},
    {"status": "Downloading", "progressDetail": {"current": 5, "total": 100}, "id": "aaaaaaaaaaaa", "progress": "x"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaaaaaaaaaaa"},
    {"status": "Digest: sha256:1"},
    {"status": "Status: Downloaded newer image for x:latest"},
]
_DENIED = [*_PULL[:2], {"error": "denied: no", "errorDetail": {"message": "denied: no"}}]
_PUSH = [
    {"status": "The push refers to repository [docker.io/library/x]"},
    {"status": "Preparing", "progressDetail": {}, "id": "aaaaaaaaaaaa"},
    {"status": "latest: digest: sha256:1 size: 2"},
    {"progressDetail": {}, "aux": {"Tag": "latest", "Digest": "sha256:1", "Size": 2}},
]
_PARTIAL = [
    *_PUSH,
    {
        "aux": {
            "manifestPushedInsteadOfIndex": True,
            "originalIndex": {"digest": "sha256:1"},
            "selectedManifest": {"digest": "sha256:2"},
        }
    },
]
_FOUND = [
    {"name": "few", "description": "two\nlines \u00e4", "star_count": 3, "is_official": False, "is_automated": False},
    {"name": "many", "description": "d" * 80, "star_count": 9, "is_official": True, "is_automated": True},
]
_REMOVED = [{"Untagged": "x:1"}, {"Deleted": _ID}]
_HISTORY = [{"Id": _ID, "Created": 1_000_000_000, "CreatedBy": "RUN x", "Tags": None, "Size": 5, "Comment": ""}]


def _image(number: int, **members: Any) -> dict[str, Any]:
    return {
        "Id": f"sha256:{number:064x}",
        "ParentId": "",
        "RepoTags": [f"app{number}:1"],
        "RepoDigests": [],
        "Created": 1_700_000_000 + number,
        "Size": 12_345_678 * number,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
        **members,
    }


def _manifest(architecture: str, *, available: bool = True, used: bool = False, kind: str = "image") -> dict[str, Any]:
    digest = "sha256:" + architecture.encode().hex().ljust(64, "0")
    platform = {"os": "linux", "architecture": architecture}
    data = {"Platform": platform, "Containers": ["c"] if used else [], "Size": {"Unpacked": 100}}
    return {
        "ID": digest,
        "Descriptor": {"mediaType": "x", "digest": digest, "size": 5, "platform": platform},
        "Available": available,
        "Kind": kind,
        "Size": {"Content": 1000 if available else 0, "Total": 12_000 if available else 0},
        **({"ImageData": data} if kind == "image" else {"AttestationData": {"For": digest}}),
    }


_IMAGES = [
    _image(1, RepoTags=["registry.example.com:5000/a/very/long/name/of/an/image:with-a-tag"] * 2),
    _image(
        2,
        Manifests=[
            _manifest("amd64", used=True),
            _manifest("arm64", available=False),
            _manifest("unknown", kind="attestation"),
        ],
    ),
    _image(3, RepoTags=[], Containers=2, Manifests=[_manifest("s390x")]),
]
_USAGE = {
    "LayersSize": 1000,
    "Images": [_image(1, Containers=1, SharedSize=5, Size=900), _image(2, Containers=0, SharedSize=0, Size=100)],
    "Containers": [],
    "Volumes": [],
    "BuildCache": [],
}
_ANSWERS: dict[tuple[str, str], Any] = {
    ("POST", "/images/create"): _PULL,
    ("POST", "/images/docker.io/library/x/push"): _PUSH,
    ("POST", "/images/docker.io/library/partial/push"): _PARTIAL,
    ("POST", "/images/host:5000/a/push"): _DENIED,
    ("GET", "/images/search"): _FOUND,
    ("DELETE", "/images/x"): _REMOVED,
    ("GET", "/images/x/history"): _HISTORY,
    ("GET", "/images/x/json"): {"Id": _ID, "Created": "2024-01-01T00:00:00Z"},
    ("GET", "/images/x/get"): Answer(b"archive", content_type="application/x-tar"),
    ("GET", "/images/get"): Answer(b"archives", content_type="application/x-tar"),
    ("GET", "/images/json"): Answer(json.dumps(_IMAGES).encode()),
    ("GET", "/system/df"): _USAGE,
    ("POST", "/images/load"): [{"stream": "Loaded image: x:1\n"}],
    ("POST", "/images/prune"): {"ImagesDeleted": _REMOVED, "SpaceReclaimed": 5},
    ("POST", "/containers/create"): Answer({"message": "No such image: x:latest"}, 404),
}
_LINES = [
    ["pull", "x"],
    ["pull", "-q", "x"],
    ["pull", "-a", "x"],
    ["pull", "-a", "x:1"],
    ["pull", "--platform", "linux/ARM64", "host:5000/a/b:1"],
    ["pull", "x:1@sha256:" + "1" * 64],
    ["pull", "gcr.io/a/b@sha256:" + "1" * 64],
    ["pull", "docker.io/library/x"],
    ["pull", "index.docker.io/x"],
    ["pull", "Host/x"],
    ["pull", "localhost/x"],
    ["pull", "name:a:b"],
    ["pull", "Name"],
    ["pull", "a b"],
    ["pull", "x@md5:abcd"],
    ["pull", "a" * 64],
    ["push", "x::1"],
    ["pull"],
    ["push", "x"],
    ["push", "-q", "x:2"],
    ["push", "-a", "x"],
    ["push", "-a", "x:1"],
    ["push", "partial"],
    ["push", "-q", "partial"],
    ["push", "host:5000/a:2"],
    ["push", "-q", "host:5000/a:2"],
    ["push", "--platform", "linux/arm64/v8", "x"],
    ["push", "nothing"],
    ["search", "x"],
    ["search", "--no-trunc", "--limit", "7", "-f", "is-official=true", "-f", "stars=3", "host:5000/x"],
    ["search", "--format", "{{.Name}}: {{.StarCount}} {{.IsOfficial}} {{.Description}}", "x"],
    ["search", "--format", "json", "x"],
    ["search", "--format", "table {{.Name}}\\t{{.IsOfficial}}", "x"],
    ["search"],
    ["rmi", "x"],
    ["rmi", "-f", "--no-prune", "x", "nothing"],
    ["rmi", "--platform", "linux/amd64", "--platform", "linux/arm/v7,linux/arm", "x"],
    ["rmi", "--platform", "a/b/c/d", "x"],
    ["history", "--platform", "linux/amd64", "-q", "x"],
    ["history", "--platform", "plan10", "x"],
    ["image", "inspect", "--platform", "linux/arm64", "x"],
    ["image", "inspect", "--platform", "linux/ä", "x"],
    ["save", "x"],
    ["save", "x", "y"],
    ["save", "--platform", "linux/386", "x"],
    ["save", "--platform", "linux/386", "x", "y"],
    ["save", "--platform", "a/b/c/d", "x"],
    ["save", "-o", "/nonexistent/file", "x"],
    ["load", "--platform", "linux/x86_64"],
    ["load", "--platform", "*"],
    ["load", "-q"],
    ["images", "--tree"],
    ["images", "--tree", "-a", "-f", "dangling=true", "app"],
    ["images", "--tree", "-q"],
    ["images", "--tree", "--no-trunc"],
    ["images", "--tree", "--digests"],
    ["images", "--tree", "--format", "json"],
    ["images", "-f", "label=a", "-f", "label=b"],
    ["image", "prune", "-f", "--filter", "until=24h"],
    ["image", "prune", "-a", "-f", "--filter", "label!=x"],
    ["system", "df", "-v"],
    ["import", "-m", "msg", "-c", "ENV A=b", "-c", "CMD x", "--platform", "linux/amd64", "-", "host:5000/x:y"],
    ["import", "http://example.com/x.tar", "x"],
    ["import", "/nonexistent"],
    ["create", "x"],
    ["create", "--pull", "never", "x"],
    ["create", "-q", "--platform", "linux/amd64", "x"],
    ["create", "--pull", "always", "host:5000/a@sha256:" + "1" * 64],
    ["create", "--pull", "sometimes", "x"],
    ["run", "x"],
]
_AUTHS = {
    "auths": {
        "https://index.docker.io/v1/": {"auth": "aHVidXNlcjpodWJwYXNz"},
        "https://gcr.io/v1/": {"auth": "b2xkOnN0eWxl"},
        "host:5000": {"identitytoken": "token"},
    }
}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    """The engine, with its answers."""
    with FakeEngine(tmp_path) as engine:
        engine.answers |= _ANSWERS
        yield engine


def _clients(fake: FakeEngine, config: Path) -> tuple[Client, Client]:
    program = docker_program()
    assert program
    return Client(program, fake.host, config), Client(str(BIN / "darse"), fake.host, config)


def _sent(asked: Asked) -> tuple[Any, ...]:
    """What of a request must be the same."""
    query = {name: _meaning(value) for name, value in asked.query.items() if value not in ("0", "false", "null", "")}
    body = b"" if asked.path == "/containers/create" else asked.body
    return asked.line, query, asked.headers.get("x-registry-auth"), body


def _meaning(value: str) -> Any:
    if value[:1] not in ("{", "["):
        return value
    document = json.loads(value)
    if isinstance(document, dict):
        return {name: sorted(one) if isinstance(one, list | dict) else one for name, one in document.items()}
    return document


def _said(done: Done) -> tuple[int, str, str]:
    out, err = (text.replace("Docker", "darse").replace("docker", "darse") for text in (done.out, done.err))
    # docker colours the headings of `--tree` in pipes, too.
    return done.status, re.sub("\x1b\\[\\d+m", "", out), err.replace("SRun", "Run")


def test_images_and_registries(fake: FakeEngine, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.json").write_text(json.dumps(_AUTHS))
    docker, darse = _clients(fake, config)
    different = []
    for line in _LINES:
        results = []
        for client in (docker, darse):
            said = _said(client(*line, input=b"archive"))
            results.append((said, [_decoded(_sent(one)) for one in fake.requests()]))
        if results[0] != results[1]:
            different.append(f"{line}:\n  docker {results[0]}\n  darse  {results[1]}")
    assert not different, f"{len(different)} of {len(_LINES)}:\n" + "\n".join(different)


_EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m"


def test_a_terminal_obeys_nothing_of_what_the_engine_says(fake: FakeEngine, tmp_path: Path) -> None:
    """Names, descriptions, progress and errors; a pipe gets them as they are."""
    _, darse = _clients(fake, tmp_path)
    fake.answers["GET", "/images/json"] = Answer(json.dumps([_image(1, RepoTags=[f"{_EVIL}:1"])]).encode())
    fake.answers["GET", "/images/search"] = [{"name": "x", "description": _EVIL, "star_count": 1, "is_official": False}]
    fake.answers["POST", "/images/create"] = [
        {"status": _EVIL, "id": "a", "progressDetail": {}},
        {"status": _EVIL},
        {"error": _EVIL, "errorDetail": {"message": _EVIL}},
    ]
    fake.answers["DELETE", "/images/x"] = Answer({"message": _EVIL}, 409)
    for line in (["images"], ["images", "--tree"], ["search", "x"], ["pull", "x"], ["rmi", "x"]):
        with darse.terminal(*line, columns=200, timeout=60) as terminal:
            shown = terminal.read().decode()
        assert "\\x1b]0;owned\\x07\\x1b[2J" in shown, (line, shown)
        for part in ("\x1b]0", "\x07", "\x1b[2J", "\x9b"):
            assert part not in shown, (line, shown)
    assert _EVIL in darse("search", "--no-trunc", "x").ok().out


def _decoded(sent: tuple[Any, ...]) -> tuple[Any, ...]:
    import base64

    line, query, auth, body = sent
    return line, query, json.loads(base64.urlsafe_b64decode(auth)) if auth else auth, body
