"""From a Dockerfile's stages to a graph, and to the configuration of the image.

    options.py    what a build is asked for
    image.py      an image's configuration, and its history
    nodes.py      the graph while it grows: the build context's paths are known only at the end
    scopes.py     variables: predefined, before the first stage, in a stage
    stages.py     stages, what they are made from, and which are needed
    settings.py   instructions that change the configuration
    files.py      COPY and ADD
    processes.py  RUN
    convert.py    all of it, in order
    steps.py      the instructions that are needed, as docker's classic builder counts them
    outline.py    `--call outline` and `--call targets`

What the result is called, how it is exported and where the context comes from are the caller's. Base images are
resolved by the caller's `ImageResolver`.
"""

from darse.build.dockerfile.convert.convert import Converted, check_dockerfile, convert
from darse.build.dockerfile.convert.image import ImageDocument
from darse.build.dockerfile.convert.options import ContextInput, ConvertOptions, ImageResolver, ResolvedImage
from darse.build.dockerfile.convert.outline import BuildTarget, Outline, list_targets
from darse.build.dockerfile.convert.steps import DockerfileStep

__all__ = [
    "BuildTarget",
    "ContextInput",
    "ConvertOptions",
    "Converted",
    "DockerfileStep",
    "ImageDocument",
    "ImageResolver",
    "Outline",
    "ResolvedImage",
    "check_dockerfile",
    "convert",
    "list_targets",
]
