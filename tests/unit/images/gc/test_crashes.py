"""What a start removes, and what it sets aside, of content that an engine before it has left."""

from __future__ import annotations

import pytest

from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.image_spec.digests import digest_of
from darse.images.service import ImageService
from darse.recovery.startup import Recovery


@pytest.mark.parametrize("noted", [True, False])
async def test_a_blob_that_was_not_recorded_is_removed_where_it_was_noted(tmp_path, noted):
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    killed = ImageService(tmp_path, state, EventLog(state))
    killed.open([], Recovery(tmp_path, state))
    digest = digest_of(b"a layer")
    archive = tmp_path / "archive"
    archive.write_bytes(b"a layer")
    if noted:
        killed.stores.gc.note_blobs([digest])
    killed.stores.content.share(archive, digest)

    recovery = Recovery(tmp_path, state)
    started = ImageService(tmp_path, state, EventLog(state))
    started.open([], recovery)
    assert not started.stores.content.has(digest)
    assert [orphan.name for orphan in recovery.orphans.all()] == ([] if noted else [digest.removeprefix("sha256:")])
    state.close()
