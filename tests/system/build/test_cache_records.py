"""What builds keep: cache mounts and base images are counted, and go with a prune."""

from __future__ import annotations

import pytest
from tests.support.builds import Builder

from darse.build.cache_records import CacheRecords
from darse.build.solver import CacheFilter, PrunePolicy, RecordKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MOUNTS = (PrunePolicy((CacheFilter.parse("type==exec.cachemount"),)),)


def _kept(builder: Builder) -> CacheRecords:
    trees = builder.engine.builds.service.transfers.trees
    return CacheRecords(builder.executor, builder.storage, builder.solver, trees)


async def test_cache_mounts_are_counted_and_pruned(builder: Builder) -> None:
    process = "head -c 500000 /dev/zero >>/kept/f && ls -s /kept/f"
    text = f"FROM builtin/busybox\nRUN --mount=type=cache,target=/kept {process}\n"
    await builder.build(text, no_cache=True)
    kept = _kept(builder)
    (mount,) = [one for one in await kept.all() if one.kind is RecordKind.CACHE_MOUNT]
    assert mount.size >= 500_000
    assert "/kept" in mount.description
    assert mount.last_used >= mount.created > 0
    assert await kept.prune(*_MOUNTS) == [mount]
    assert not [one for one in await kept.all() if one.kind is RecordKind.CACHE_MOUNT]
    again = await builder.build(text, no_cache=True)
    assert b"488 /kept/f" in again.log or b"492 /kept/f" in again.log  # it began anew
    assert len(await kept.prune(*_MOUNTS)) == 1


async def test_a_cache_mount_that_a_process_uses_stays(builder: Builder) -> None:
    directories = builder.executor.cache_directories
    async with directories.used("some/name", "", (), "") as path:
        (path / "file").write_text("1")
        assert await _kept(builder).prune(*_MOUNTS) == []
        assert path.exists()
    assert len(await _kept(builder).prune(*_MOUNTS)) == 1
    assert not path.exists()


async def test_a_base_counts_when_no_image_has_it(builder: Builder) -> None:
    kept = _kept(builder)
    await kept.prune(PrunePolicy(all=True))
    first = await builder.build("FROM builtin/busybox\nRUN head -c 700000 /dev/urandom >/own\n", names=("base",))
    await builder.build("FROM base\nRUN true\n", names=("derived",))

    def of_base(records: object) -> int:
        return sum(one.size for one in records if "FROM" in one.description)  # type: ignore[attr-defined]

    assert of_base(await kept.all()) == 0
    for name in ("derived", "base"):
        await builder.engine.images.deletion.remove_image(name, force=True, prune=True)
    await builder.engine.images.deletion.remove_image("builtin/busybox", force=True, prune=True)
    assert of_base(await kept.all()) > 0
    await kept.prune(PrunePolicy(all=True))
    await builder.engine.images.stores.gc.collect()
    assert not builder.engine.images.stores.layers.exists(first.image.chain_ids[-1])
