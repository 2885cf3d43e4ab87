"""Images of what is built: layers taken where they are, whole and shared."""

from __future__ import annotations

import asyncio
import io
import tarfile

import pytest
from tests.support.builds import Builder

from darse.build.exporter import export_archive
from darse.build.solver import OutcomeKind, Snapshot

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TEXT = (
    "FROM builtin/busybox\nRUN mkdir /d && echo 1 >/d/one && ln /d/one /d/two\nRUN rm /d/one && ln -s two /d/three\n"
)
_LARGE = "FROM builtin/busybox\nRUN head -c 9000000 /dev/urandom >/large\n"


async def _verify(builder: Builder) -> None:
    async for message in builder.engine.images.fsck.check([], repair=False):
        assert message.doing == "done" or message.level != "problem", message


@pytest.mark.parametrize("text", [_TEXT, _LARGE], ids=["small", "large"])
async def test_layers_give_their_archives_back(builder: Builder, text: str) -> None:
    built = await builder.build(text)
    for layer in built.image.layers:
        await builder.engine.images.stores.layers.verify(layer.chain_id)
    await _verify(builder)
    again = await builder.build(text)
    assert again.image.chain_ids == built.image.chain_ids


async def test_a_layer_is_on_the_disk_once(builder: Builder) -> None:
    await builder.build(_TEXT.replace("echo 1", "echo once"))
    committed = builder.engine.config.data_root / "snapshots-committed"
    assert all(path.is_symlink() for path in committed.iterdir())


async def test_what_is_built_goes_on_from_layers_that_an_image_has_taken(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN echo base >/base\n"
    await builder.build(text)
    built = await builder.build(f"{text}RUN cat /base /base >/twice\n")
    assert builder.read(built.image, "twice") == b"base\nbase\n"
    assert [one.kind for one in built.outcomes.values()].count(OutcomeKind.EXECUTED) == 1


async def test_the_cache_outlives_the_image_and_the_image_the_cache(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN echo kept >/kept\n"
    built = await builder.build(text)
    await builder.engine.images.deletion.remove_image(built.image.id, force=True, prune=True)
    again = await builder.build(text)
    assert OutcomeKind.EXECUTED not in {one.kind for one in again.outcomes.values()}
    for record in list(builder.storage.records()):
        builder.storage.remove(record.id)
        await builder.executor.remove(record.id)
    await _verify(builder)
    assert builder.read(again.image, "kept") == b"kept\n"


async def test_two_builds_export_the_same_layers_at_the_same_time(builder: Builder) -> None:
    text = "FROM builtin/busybox\nRUN echo both >/both\nLABEL n="
    first, second = await asyncio.gather(builder.build(f"{text}1\n"), builder.build(f"{text}2\n"))
    assert first.image.chain_ids == second.image.chain_ids
    assert first.image.id != second.image.id
    await _verify(builder)


async def test_a_linked_copy_is_one_layer_on_any_base(builder: Builder) -> None:
    other = "FROM builtin/busybox AS other\nRUN echo linked >/linked\n"
    first = await builder.build(f"{other}FROM builtin/busybox\nCOPY --link --from=other /linked /to/\n")
    text = f"{other}FROM builtin/busybox\nRUN echo more >/more\nCOPY --link --from=other /linked /to/\n"
    second = await builder.build(text)
    assert first.image.layers[-1].diff_id == second.image.layers[-1].diff_id
    assert builder.read(second.image, "to/linked") == b"linked\n"
    await _verify(builder)


async def test_a_tree_is_an_archive_without_what_is_hidden(builder: Builder) -> None:
    text = "FROM builtin/busybox AS b\nRUN mkdir /out && echo 1 >/out/a && echo 2 >/out/b\nRUN rm /out/a\n"
    built = await builder.build(f"{text}FROM scratch\nCOPY --from=b /out /\n")
    snapshot = builder.executor.snapshotter.view(built.image.chain_ids)
    pieces = [piece async for piece in export_archive(builder.executor, {"": Snapshot(snapshot.id)})]
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        assert [(one.name, one.size) for one in archive] == [("b", 2)]
    assert len(b"".join([piece async for piece in export_archive(builder.executor, {"": None})])) >= 1024
    # Who stops early leaves nobody who waits.
    await anext(stopped := export_archive(builder.executor, {"": Snapshot(snapshot.id)}))
    await stopped.aclose()
