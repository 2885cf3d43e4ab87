"""What a request asks of the conversion of its Dockerfile, and of the export of its image."""

from __future__ import annotations

from darse.build.dockerfile.convert import ConvertOptions
from darse.build.dockerfile.convert.git import parse_git
from darse.build.exporter import ExportOptions, parse_annotations
from darse.build.graph import GitSource
from darse.build.request import BuildRequest
from darse.image_spec import platforms


def git_context(remote: str) -> GitSource | None:
    """The repository that a context is in; None where the URL is that of a file. Raises DockerfileError."""
    if remote.startswith("github.com/"):
        path, mark, fragment = remote.partition("#")
        remote = f"https://{path.removesuffix('.git')}.git{mark}{fragment}"
    reference = parse_git(remote) if remote else None
    return reference.source() if reference is not None else None


def export_options(request: BuildRequest) -> ExportOptions:
    """The part of a request that is about the image. Raises BuildError."""
    options = ExportOptions(
        names=[str(name) for name in request.names],
        epoch=request.source_date_epoch,
        squash=request.squash,
        annotations=parse_annotations(request.annotations),
    )
    return options.with_attributes(request.attributes)


def convert_options(request: BuildRequest, context: GitSource | None = None, platform: str = "") -> ConvertOptions:
    """The part of a request that makes the graph of a platform; `context` stands for the client's directory."""
    return ConvertOptions(
        context=context,
        build_arguments=request.arguments,
        target=request.target,
        platform=platform,
        show_platform=len(request.platforms) > 1,
        build_platform=str(platforms.host()),
        labels=request.labels,
        contexts=request.contexts,
        no_cache=request.no_cache,
        no_cache_stages=request.no_cache_stages,
        network=request.network,
        extra_hosts=request.extra_hosts,
        shm_size=request.shm_size,
        ulimits=request.ulimits,
        cgroup_parent=request.cgroup_parent,
        source_date_epoch=request.source_date_epoch,
        check=request.check,
        scans=request.sbom is not None,
    )
