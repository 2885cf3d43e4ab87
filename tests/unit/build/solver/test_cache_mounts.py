"""Who may use which directory of a cache mount."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from darse.build.graph import CacheMount, CacheSharing, ExecMount, ExecOperation, MountKind, ProcessMeta
from darse.build.solver import CacheMountPool


def _operation(*caches: CacheMount) -> ExecOperation:
    mounts = [ExecMount(f"/m{index}", kind=MountKind.CACHE, cache=cache) for index, cache in enumerate(caches)]
    return ExecOperation(ProcessMeta(("true",)), (ExecMount("/", output=0), *mounts))


_SHARED, _PRIVATE, _LOCKED = (_operation(CacheMount("x", sharing)) for sharing in CacheSharing)


async def _is_free(pool: CacheMountPool, operation: ExecOperation) -> bool:
    async def use() -> None:
        async with pool.acquire(operation):
            pass

    task = asyncio.create_task(use())
    for _ in range(5):
        await asyncio.sleep(0)
    free = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return free


async def test_everybody_uses_a_shared_directory() -> None:
    pool = CacheMountPool()
    async with pool.acquire(_SHARED) as one, pool.acquire(_SHARED) as other:
        assert one == other == {1: "x"}


async def test_whoever_comes_gets_a_private_directory_and_it_is_used_again() -> None:
    pool = CacheMountPool()
    async with pool.acquire(_PRIVATE) as one, pool.acquire(_PRIVATE) as other:
        assert (one, other) == ({1: "x"}, {1: "x#1"})
    async with pool.acquire(_PRIVATE) as one, pool.acquire(_PRIVATE) as other:
        assert (one, other) == ({1: "x"}, {1: "x#1"})


async def test_whoever_comes_waits_for_a_locked_directory() -> None:
    pool = CacheMountPool()
    async with pool.acquire(_LOCKED):
        assert not await _is_free(pool, _LOCKED)
        assert not await _is_free(pool, _SHARED)
        assert await _is_free(pool, _operation(CacheMount("y", CacheSharing.LOCKED)))
    assert await _is_free(pool, _LOCKED)
    async with pool.acquire(_SHARED):
        assert not await _is_free(pool, _LOCKED)


async def test_several_directories_are_taken_in_one_order() -> None:
    pool = CacheMountPool()
    one = _operation(CacheMount("x", CacheSharing.LOCKED), CacheMount("y", CacheSharing.LOCKED))
    other = _operation(CacheMount("y", CacheSharing.LOCKED), CacheMount("x", CacheSharing.LOCKED))
    count = 0

    async def use(operation: ExecOperation) -> None:
        nonlocal count
        async with pool.acquire(operation):
            await asyncio.sleep(0)
            count += 1

    await asyncio.wait_for(asyncio.gather(*(use(operation) for operation in [one, other] * 20)), 10)
    assert count == 40


async def test_one_process_may_mount_a_locked_directory_twice() -> None:
    twice = _operation(CacheMount("x", CacheSharing.LOCKED), CacheMount("x", CacheSharing.LOCKED))
    async with AsyncExitStack() as stack:
        assert await stack.enter_async_context(CacheMountPool().acquire(twice)) == {1: "x", 2: "x"}


async def test_who_is_cancelled_while_waiting_leaves_nothing_taken() -> None:
    pool = CacheMountPool()
    both = _operation(CacheMount("a", CacheSharing.LOCKED), CacheMount("x", CacheSharing.LOCKED))
    async with pool.acquire(_LOCKED):
        assert not await _is_free(pool, both)
        assert await _is_free(pool, _operation(CacheMount("a", CacheSharing.LOCKED)))
    assert await _is_free(pool, both)


async def test_the_destination_is_the_name_of_a_mount_without_one() -> None:
    async with CacheMountPool().acquire(_operation(CacheMount())) as directories:
        assert directories == {1: "/m0"}
