"""Exporters: what a build's trees become.

image         an image in the engine's store, or an index of several
layers        trees' layers as layers of images: squashed, with other times, compressed
attestations  statements about an image, in its index, or about a tree, among its files
archive       a tree as an archive
"""

from darse.build.exporter.archive import export_archive
from darse.build.exporter.attestations import with_attestations
from darse.build.exporter.image import Exported, export_image, export_images
from darse.build.exporter.options import BillOfMaterials, ExportOptions, PlatformResult, parse_annotations

__all__ = [
    "BillOfMaterials",
    "ExportOptions",
    "Exported",
    "PlatformResult",
    "export_archive",
    "export_image",
    "export_images",
    "parse_annotations",
    "with_attestations",
]
