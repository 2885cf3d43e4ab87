"""A pull that does not fit says where and how much, and takes nothing of the disk with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from tests.support.registry import Registry, needs_registry
from tests.support.small_images import Made, tar
from tests.support.waiting import wait_until
from tests.system.starvation.conftest import Starved


def _used(starved: Starved) -> int:
    """Bytes in use on the disk."""
    os.sync()
    disk = os.statvfs(starved.disk.mount)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


@needs_registry
def test_a_pull_that_does_not_fit_leaves_nothing(starve: Callable[..., Starved]) -> None:
    starved = starve("data")
    # The first layer fits, the second one does not.
    image = Made(tar({"small": os.urandom(8 << 20)}), tar({"large": os.urandom(80 << 20)}))
    with Registry() as registry:
        image.push(registry.address, "team/large", "1")
        before = _used(starved)
        for client in (starved.docker, starved.engine.darse):
            done = client("pull", f"{registry.address}/team/large:1")
            assert done.status == 1
            said = f"no space left on device: {starved.engine.data_root}" + r"(/\S+)?, \d+ bytes needed\n"
            assert re.search(said, done.err), done.err
            assert "Errno" not in done.err
            wait_until(lambda: _used(starved) - before < 1 << 20, what="the end of what was fetched")
        assert starved.engine.api("GET", "/images/json").json() == []
    starved.end()
