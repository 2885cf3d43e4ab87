"""Fixtures of the course's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.hub import Hub


@pytest.fixture
def no_images(hub: Hub) -> Iterator[None]:
    """No image is in the hub's engine when a test begins, and none is left for others to find."""
    hub.remove_images()
    yield
    hub.engine.remove_all()
    hub.remove_images()
