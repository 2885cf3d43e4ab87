"""Events of images, with docker's attributes: the image's labels, and a `name`."""

from __future__ import annotations

from darse.core.events import EventLog
from darse.images.model import Image


def publish_image_event(events: EventLog, action: str, image: Image, name: str = "") -> None:
    """Publish an event of an image; without a `name` it is the id, as in moby. Call it inside the transaction."""
    labels = image.container_config().Labels or {}
    events.publish("image", action, image.id, {**labels, "name": name or image.id})
