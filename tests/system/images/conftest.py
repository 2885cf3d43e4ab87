"""An image service on a root of its own."""

import pytest

from darse.engine.events import SCHEMA as EVENTS
from darse.engine.events import EventLog
from darse.engine.state import State
from darse.images import ImageService, disk_usage, layers, snapshots, store


@pytest.fixture
def images(tmp_path):
    state = State(tmp_path / "state.sqlite", [EVENTS, store.SCHEMA, layers.SCHEMA, disk_usage.SCHEMA, snapshots.SCHEMA])
    service = ImageService(tmp_path, state, EventLog(state))
    service.open([])
    yield service
    state.close()
