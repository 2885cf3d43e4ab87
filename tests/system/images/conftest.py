"""An image service on a root of its own."""

import pytest

from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.images import ImageService
from darse.recovery.startup import Recovery


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    yield state
    state.close()


@pytest.fixture
def images(tmp_path, state):
    service = ImageService(tmp_path, state, EventLog(state))
    service.open([], Recovery(tmp_path, state))
    return service
