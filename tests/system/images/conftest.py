"""An image service on a root of its own."""

import pytest

from darse.engine.engine import SCHEMAS
from darse.engine.events import EventLog
from darse.engine.recovery import Recovery
from darse.engine.state import State
from darse.images import ImageService


@pytest.fixture
def images(tmp_path):
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    service = ImageService(tmp_path, state, EventLog(state))
    service.open([], Recovery(tmp_path, state))
    yield service
    state.close()
