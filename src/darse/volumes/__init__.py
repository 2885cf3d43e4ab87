"""Volumes: drivers, mount points and copy-up."""

from darse.volumes.service import VolumeService

__all__ = ["VolumeService"]
