"""Exporters: what a build's tree becomes.

image       an image in the engine's store
"""

from darse.build.exporter.archive import export_archive
from darse.build.exporter.image import export_image

__all__ = ["export_archive", "export_image"]
