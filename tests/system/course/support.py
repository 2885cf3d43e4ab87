"""What the course's tests ask of a command again and again."""

from __future__ import annotations

import json
from typing import Any

from tests.support.engine import Client


def images(cli: Client, *options: str) -> list[str]:
    """The names with tags that are there."""
    return cli("images", "--format", "{{.Repository}}:{{.Tag}}", *options).ok().out.split()


def inspect(cli: Client, image: str) -> dict[str, Any]:
    """What `image inspect` tells of one image."""
    (seen,) = json.loads(cli("image", "inspect", image).ok().out)
    return dict(seen)
