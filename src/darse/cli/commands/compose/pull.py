"""`darse compose pull`: the images of a project's services, from their registries."""

from __future__ import annotations

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.projects import load
from darse.cli.errors import CliError
from darse.client.errors import ClientError
from darse.compose.desired.names import image_name
from darse.compose.operations.images import images_of, pull
from darse.compose.operations.progress import DONE, WARNING
from darse.compose.operations.session import ProjectSession, together


def pull_images(invocation: Invocation) -> int:
    """Pull the images of services; one image once."""
    options = invocation.options
    if options.policy not in ("", "missing", "always"):
        raise CliError(f'invalid --policy value "{options.policy}"')
    project = load(invocation, invocation.arguments, without_dependencies=not options.include_deps)

    async def operation(session: ProjectSession) -> None:
        there = await images_of(session, project.services)
        requested: dict[str, str] = {}
        for name, service in project.services.items():
            image = image_name(project, name)
            policy = options.policy or service.pull_policy
            if not service.image or (service.build is not None and options.ignore_buildable):
                session.report(name, "Skipped - No image to be pulled", DONE)
            elif policy in ("never", "build"):
                session.report(name, f"Skipped - pull_policy is {policy}", DONE)
            elif policy == "missing" and name in there:
                session.report(name, "Skipped - Image is already present locally", DONE)
            elif image in requested:
                session.report(name, f"Skipped - Image is already being pulled by {requested[image]}", DONE)
            else:
                requested[image] = name
        await together(_one(session, image, name) for image, name in requested.items())

    async def _one(session: ProjectSession, image: str, name: str) -> None:
        service = project.services[name]
        try:
            await pull(session, image, name, platform=service.platform, quiet=invocation.options.quiet)
        except ClientError as error:
            if service.build is None and not invocation.options.ignore_pull_failures:
                raise
            session.report(name, f"Warning {error}", WARNING)

    return run(invocation, project.name, project, operation)
