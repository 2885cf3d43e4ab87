"""`darse compose publish`: the files of a project to a registry, as an artifact that `-f oci://` reads."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.config import pin_images
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.flags import project_files
from darse.cli.commands.compose.projects import load
from darse.cli.commands.compose.resources import push_all
from darse.cli.errors import CliError
from darse.cli.remote_projects import applications, publication, sensitive
from darse.cli.remote_projects.artifacts import PublishedFile, published
from darse.compose.errors import ComposeError
from darse.compose.loading.loader import LoadSettings
from darse.compose.model.project import Project
from darse.compose.operations.progress import DONE
from darse.compose.operations.session import ProjectSession
from darse.image_spec.references import split


def publish(invocation: Invocation) -> int:
    """Write the project's files to a registry; with its images where that is asked for. Raises CliError."""
    options = invocation.options
    (reference,) = invocation.arguments
    project = load(invocation, [])
    try:
        publication.refuse_without_images(project)
        if not options.with_env and not options.yes:
            publication.refuse_variables(project_files(invocation).project([], LoadSettings(), resolve=False))
        files = publication.files_of(project.files, project.directory, with_env=options.with_env)
    except ComposeError as error:
        raise CliError(str(error)) from error
    questions = [*publication.questions(project, with_env=options.with_env), *_sensitive(files)]
    if not options.yes and not all(map(_is_agreed, questions)):
        return 0

    async def operation(session: ProjectSession) -> None:
        await push_all(session, project, quiet=True, ignore_failures=True)
        session.report(reference, "publishing")
        if not session.dry_run:
            await asyncio.to_thread(_publish, invocation, session, project, files)
        session.report(reference, "published", DONE)

    return run(invocation, project.name, project, operation)


def _publish(invocation: Invocation, session: ProjectSession, project: Project, files: list[PublishedFile]) -> None:
    """Write the artifact, and the application that its images and it are. Blocks."""
    options, settings = invocation.options, invocation.settings
    (reference,) = invocation.arguments
    images: dict[str, str] = {}
    if options.resolve_image_digests or options.app:
        pin_images(invocation, project)
        images = {name: one.image for name, one in project.services.items() if one.image}
        files = [*files, PublishedFile(*applications.digests_file(images))]
    artifact = published(settings, reference, files, options.oci_version)
    if options.app:
        names = [split(one) for one in sorted(set(images.values()))]

        def report(text: str) -> None:
            session.report(reference, "publishing", detail=text)

        applications.push_application(settings, split(reference).tagged(), artifact, names, report)


def _sensitive(files: Sequence[PublishedFile]) -> list[str]:
    """The question about what looks like secrets in the files, where there is any."""
    found = [one for file in files for one in sensitive.findings(file.name, file.content.decode(errors="replace"))]
    if not found:
        return []
    lines = "\n".join(f"{one.kind}\n{one.file}:{one.line}: {one.beginning}" for one in found)
    return [
        "you are about to publish sensitive data within your OCI artifact.\n"
        "please double check that you are not leaking sensitive data\n"
        f"{lines}\nAre you ok to publish these sensitive data?"
    ]


def _is_agreed(question: str) -> bool:
    sys.stdout.write(f"{question} [y/N]: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
