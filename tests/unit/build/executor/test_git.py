"""Git sources, without git: the directory that it works in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from unittest import mock

import pytest

from darse.build.errors import BuildError
from darse.build.executor.git import GitSources
from darse.build.executor.session import BuildSession
from darse.build.graph.sources import GitSource
from darse.images.snapshots.snapshotter import Snapshotter
from darse.linux.fs.mounts import NamespaceThreads
from darse.testing.blocking import on_this_thread


class _Sources(GitSources):
    """Git checks out a file, and says that there is no such commit."""

    async def _run(
        self, session: BuildSession, source: GitSource, work: Path, commands: Sequence[Sequence[str]]
    ) -> str:
        def check_out() -> None:
            (work / "tree").mkdir()
            (work / "tree" / "file").write_text("")

        await asyncio.to_thread(check_out)
        raise BuildError("no such commit")


@pytest.mark.parametrize("what", ["resolve", "fetch"])
async def test_a_checkout_is_removed_beside_the_event_loop(tmp_path: Path, what: str) -> None:
    directory = tmp_path / "git"
    snapshotter = mock.Mock(discard=mock.AsyncMock())
    sources = _Sources(cast(NamespaceThreads, None), cast(Snapshotter, snapshotter), directory, tmp_path)
    session, source = cast(BuildSession, None), GitSource(remote="host/repository")
    with (
        mock.patch("shutil.which", return_value="/bin/git"),
        mock.patch.object(os, "chown"),
        on_this_thread(directory) as seen,
        pytest.raises(BuildError),
    ):
        await (sources.resolve(session, source) if what == "resolve" else sources.fetch(session, source, "0" * 40))
    assert [one.split()[0] for one in seen if one != f"os.mkdir {directory}"] == ["os.mkdir"]
    assert list(directory.iterdir()) == []
