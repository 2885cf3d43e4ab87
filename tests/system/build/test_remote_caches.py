"""Results of builds on another engine: through a registry, inside an image, in a directory; and caches that lie."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Done, Engine
from tests.support.files import write_files
from tests.support.registry import Registry

_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
_TEXT = (
    f"FROM {BUSYBOX} AS b\nCOPY given /given\nRUN head -c 9 /dev/urandom | od -An -tx1 > /random && echo stage\n"
    f"FROM {BUSYBOX}\nCOPY --from=b /random /random\nRUN cat /random > /copied\nCMD cat /copied\n"
)


@pytest.fixture
def engines() -> Iterator[tuple[Engine, Engine]]:
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(2):
            found.append(Engine.start())
            stack.callback(found[-1].close)
        yield found[0], found[1]


def build(engine: Engine, context: Path, *arguments: str) -> Done:
    return engine.darse("build", "-t", "built", *arguments, str(context)).ok()


def printed(engine: Engine) -> str:
    return engine.darse("run", "--rm", "built").ok().out


def executed(done: Done) -> int:
    """How many steps ran: those that are not in the cache are done after some time."""
    steps = [line.split()[0] for line in done.err.splitlines() if " RUN " in line]
    return sum(f"{step} CACHED" not in done.err for step in steps)


@pytest.mark.parametrize("way", ["max", "min", "inline", "local"])
def test_another_engine_uses_what_one_has_made(
    engines: tuple[Engine, Engine], registry: Registry, tmp_path: Path, way: str
) -> None:
    context = write_files(tmp_path / "c", {"Dockerfile": _TEXT, "given": "1"})
    one, other = engines
    name = f"{registry.address}/cache-{way}:1"
    match way:
        case "inline":
            build(one, context, "--cache-to", "type=inline")
            one.darse("tag", "built", name).ok()
            one.darse("push", name).ok()
            source = name
        case "local":
            build(one, context, "--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
            source = f"type=local,src={tmp_path}/cache"
        case _:
            build(one, context, "--cache-to", f"type=registry,ref={name},mode={way}")
            manifest = registry.get(f"cache-{way}/manifests/1")
            assert manifest["config"]["mediaType"] == _CONFIG
            source = f"type=registry,ref={name}"
    expected = printed(one)
    done = build(other, context, "--cache-from", source)
    assert printed(other) == expected
    assert executed(done) == 0, done.err
    # A changed input is a miss.
    write_files(context, {"given": "2"})
    assert executed(build(other, context, "--cache-from", source)) > 0
    assert printed(other) != expected


def test_what_a_cache_claims_is_known_to_those_who_name_it_alone(
    engines: tuple[Engine, Engine], registry: Registry, tmp_path: Path
) -> None:
    context = write_files(tmp_path / "c", {"Dockerfile": _TEXT, "given": "1"})
    one, other = engines
    name = f"{registry.address}/named:1"
    build(one, context, "--cache-to", f"type=registry,ref={name},mode=max")
    build(other, context, "--cache-from", name)
    claimed = printed(other)
    # What was fetched once is not fetched again.
    before = len(registry.requests())
    assert executed(build(other, context, "--cache-from", name)) == 0
    assert printed(other) == claimed
    fetched = [one for one in registry.requests()[before:] if one.startswith("GET") and "/blobs/" in one]
    assert len(fetched) == 1, fetched  # the document
    # Who does not name it makes its own, which is better than any claim.
    assert executed(build(other, context)) == 2
    honest = printed(other)
    assert honest != claimed
    build(other, context, "--cache-from", name)
    assert printed(other) == honest


def _blobs(layout: Path) -> list[Path]:
    """The archives of the layers."""
    digests = [one["digest"].removeprefix("sha256:") for one in _manifest(layout)["layers"]]
    return [layout / "blobs/sha256" / digest for digest in digests]


def _changed_layer(layout: Path) -> None:
    """Give the layers other bytes."""
    for path in _blobs(layout):
        path.write_bytes(path.read_bytes()[:-9] + b"something")


def _other_layer(layout: Path) -> None:
    """Say of every layer that it is what another one is."""

    def change(manifest: dict[str, Any]) -> None:
        layers = manifest["layers"]
        contents = [one["annotations"]["containerd.io/uncompressed"] for one in layers]
        for one, content in zip(layers, reversed(contents), strict=True):
            one["annotations"]["containerd.io/uncompressed"] = content

    _rewrite(layout, change)


def _missing_layer(layout: Path) -> None:
    for path in _blobs(layout):
        path.unlink()


def _link_out(layout: Path) -> None:
    """Have the layers be links to a file of the engine's host."""
    for path in _blobs(layout):
        path.unlink()
        path.symlink_to("/etc/passwd")


def _manifest(layout: Path) -> dict[str, Any]:
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    found: dict[str, Any] = json.loads((layout / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).read_bytes())
    return found


def _rewrite(layout: Path, change: Any) -> None:
    manifest = _manifest(layout)
    change(manifest)
    content = json.dumps(manifest).encode()
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(content)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(content)}
    (layout / "index.json").write_text(json.dumps(index))


def test_a_cache_that_lies_is_used_no_more(engines: tuple[Engine, Engine], tmp_path: Path) -> None:
    context = write_files(tmp_path / "c", {"Dockerfile": _TEXT, "given": "1"})
    one, other = engines
    build(one, context, "--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
    for change in (_changed_layer, _other_layer, _missing_layer, _link_out):
        lying = tmp_path / change.__name__
        shutil.copytree(tmp_path / "cache", lying)
        change(lying)
        other.darse("rmi", "-f", "built")
        other.darse("builder", "prune", "-af").ok()
        done = build(other, context, "--cache-from", f"type=local,src={lying}")
        assert executed(done) > 0, (change.__name__, done.err)
        assert "ERROR" in done.err, (change.__name__, done.err)
        assert len(printed(other).split()) == 9
    for content in ("", "{}", '{"manifests": [{"digest": "sha256:../../x"}]}'):
        broken = write_files(tmp_path / "broken", {"index.json": content, "oci-layout": "{}"})
        assert "ERROR" in build(other, context, "--cache-from", f"type=local,src={broken}").err
    checked = other.darse("system", "check").ok()
    assert " 0 problems left" in checked.out, checked.out


def test_a_cache_that_is_not_there_is_no_failure(
    engines: tuple[Engine, Engine], registry: Registry, tmp_path: Path
) -> None:
    context = write_files(tmp_path / "c", {"Dockerfile": f"FROM {BUSYBOX}\nRUN echo 1 > /copied\nCMD cat /copied\n"})
    one, _ = engines
    build(one, context, "--cache-from", f"{registry.address}/none:1", "--cache-from", f"type=local,src={tmp_path}/none")
    failed = one.darse("build", "--cache-to", "type=registry,ref=127.0.0.1:1/none", str(context))
    assert failed.status == 1
    assert "failed to export the cache" in failed.err
    build(one, context, "--cache-to", "type=registry,ref=127.0.0.1:1/none,ignore-error=true")
    assert "unsupported cache type" in one.darse("build", "--cache-to", "type=gha", str(context)).err
