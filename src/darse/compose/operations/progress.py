"""What is reported of the resources of a project while they change."""

from __future__ import annotations

WORKING, DONE, WARNING, FAILED = "working", "done", "warning", "failed"


class ResourceProgress:
    """What is happening to a resource: `Container shop-web-1`, `Creating`. `state` says whether it goes on.

    `detail` is how far it is, for who can show that in place.
    """

    __slots__ = ("detail", "resource", "state", "text")

    def __init__(self, resource: str, text: str, state: str = WORKING, detail: str = "") -> None:
        self.resource = resource
        self.text = text
        self.state = state
        self.detail = detail
