"""Asking the engine to pull an image: for `pull`, and for `run` and `create` of an image that is missing."""

from __future__ import annotations

from typing import TextIO

from darse.cli.errors import ApiError
from darse.cli.images.names import in_docker_words
from darse.cli.output import progress
from darse.cli.settings import credentials
from darse.cli.settings.config import Settings
from darse.client.blocking import Client
from darse.client.requests import images
from darse.image_spec.references import Reference


def pull(
    client: Client,
    settings: Settings,
    name: Reference,
    *,
    platform: str = "",
    quiet: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Pull; show the progress on `stream` (standard output) unless `quiet`. Without tag and digest pull all tags.

    Raises CliError.
    """
    auth = credentials.registry_auth(settings, name.domain)
    request = images.pull(name.name, tag=name.digest or name.tag, platform=platform.lower(), credentials=auth)
    try:
        response = client.open(request)
    except ApiError as error:
        raise in_docker_words(error) from error
    messages = response.messages()
    if quiet:
        for message in messages:
            progress.raise_error(message)
    else:
        progress.display(messages, stream)
    response.close()
