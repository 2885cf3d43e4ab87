"""Checkpoints as the API has them (moby's api/types/checkpoint)."""

from __future__ import annotations

import msgspec


class CheckpointCreate(msgspec.Struct):
    """What a client asks for. With `Exit` the container ends."""

    CheckpointID: str = ""
    CheckpointDir: str = ""
    Exit: bool = False


class CheckpointSummary(msgspec.Struct):
    """A checkpoint in a list."""

    Name: str
