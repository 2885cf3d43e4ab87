"""Volumes: drivers, mount points, and populating."""

from darse.volumes.service import VolumeService

__all__ = ["VolumeService"]
