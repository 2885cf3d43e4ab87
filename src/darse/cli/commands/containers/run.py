"""`run` and `create`: a new container, whose image is pulled where it is missing; `run` is its terminal, too."""

from __future__ import annotations

import os
import sys

from darse.cli.command_line.flags import Command, Options, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.creating.body import create_body
from darse.cli.creating.flags import SHARED
from darse.cli.errors import ApiError, CliError, ConnectionFailed, InvalidArgument
from darse.cli.settings import content_trust
from darse.cli.terminal.attach import follow
from darse.cli.terminal.modes import require_terminal_for, size
from darse.client.requests import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from darse.client.documents.containers import CreateRequestDocument

_FAILED, _NOT_EXECUTABLE, _NOT_FOUND = 125, 126, 127


def run(invocation: Invocation) -> int:
    """Create a container, start it, and be its terminal."""
    options = invocation.options
    _refuse_windows(options)
    if not options.detach:
        require_terminal_for(options.interactive, options.tty)
    elif options.attach:
        raise CliError("conflicting options: cannot specify both --attach and --detach")
    try:
        _check(options)
        content_trust.refuse(options, invocation.arguments[0])
        body = create_body(options, invocation.arguments, invocation.settings)
        if options.tty:
            body["HostConfig"]["ConsoleSize"] = list(size())
    except CliError as error:
        raise _run_failed(invocation, error, _FAILED) from error
    try:
        container_id = _create(invocation, body)
    except CliError as error:
        raise _run_failed(invocation, error, _status(str(error))) from error
    if options.detach:
        _start(invocation, container_id)
        sys.stdout.write(f"{container_id}\n")
        return 0
    return _attached(invocation, container_id, body)


def _attached(invocation: Invocation, container_id: str, body: CreateRequestDocument) -> int:
    client, options = invocation.client, invocation.options
    return follow(
        client,
        container_id,
        name=options.name or container_id[:12],
        tty=options.tty,
        stdin=body["AttachStdin"],
        stdout=body["AttachStdout"],
        stderr=body["AttachStderr"],
        keys=options.detach_keys or invocation.settings.member("detachKeys", str),
        proxy_signals=options.sig_proxy,
        condition="removed" if options.rm else "next-exit",
        begin=lambda: _start(invocation, container_id),
    )


def _start(invocation: Invocation, container_id: str) -> None:
    try:
        invocation.client.do(containers.start(container_id))
    except CliError as error:
        raise _run_failed(invocation, error, _status(str(error))) from error


def _status(text: str) -> int:
    """docker's client tells by the words, whatever was not there."""
    if "executable file not found" in text or "no such file or directory" in text:
        return _NOT_FOUND
    return _NOT_EXECUTABLE if "permission denied" in text or "is a directory" in text else _FAILED


def _run_failed(invocation: Invocation, error: CliError, status: int) -> CliError:
    if isinstance(error, InvalidArgument):
        return error
    if error.status == _FAILED and "\n\nUsage:" in str(error):
        return error
    if isinstance(error, ConnectionFailed):
        return CliError(f"darse: {error}", status)
    return CliError(f"darse: {error}\n\nRun 'darse {invocation.path} --help' for more information", status)


def create(invocation: Invocation) -> int:
    """Create a container and print its id."""
    _refuse_windows(invocation.options)
    try:
        _check(invocation.options)
        content_trust.refuse(invocation.options, invocation.arguments[0])
        body = create_body(invocation.options, invocation.arguments, invocation.settings)
    except CliError as error:
        raise _run_failed(invocation, error, _FAILED) from error
    sys.stdout.write(f"{_create(invocation, body)}\n")
    return 0


def _refuse_windows(options: Options) -> None:
    for flag in ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"):
        if flag in options.given:
            where = "is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
            raise CliError(f'"--{flag}" {where}')


def _check(options: Options) -> None:
    if options.pull not in ("always", "missing", "never"):
        raise CliError(
            f'invalid pull option: \'{options.pull}\': must be one of "always", "missing" or "never"', _FAILED
        )


# How the engine says that there is no image, or none for the platform.
_MISSING = ("No such image", "does not provide the specified platform")


def _create(invocation: Invocation, body: CreateRequestDocument) -> str:
    options = invocation.options
    secrets = {}
    if options.use_api_socket:
        from darse.cli.creating import api_socket

        secrets = api_socket.add(body, invocation.settings)
    with _ContainerIdFile(options.cidfile) as file:
        container_id = _created(invocation, body)
        file.write(container_id)
    if secrets:
        api_socket.put(invocation.client, container_id, secrets)
    return container_id


class _ContainerIdFile:
    """`--cidfile`, taken before the container is made; the block writes its id, or the file goes again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> _ContainerIdFile:
        """Make the file, where one is asked for. Raises CliError."""
        path = self._path
        if path and os.path.exists(path):
            text = f"container ID file found, make sure the other container isn't running or delete {path}"
            raise CliError(text)
        try:
            self._file = open(path, "x", encoding="utf-8") if path else None
        except OSError as error:
            raise self._failed(error) from error
        return self

    def write(self, container_id: str) -> None:
        """Write the id. Raises CliError."""
        try:
            if self._file is not None:
                self._file.write(container_id)
                self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> CliError:
        reason = f"open {self._path}: {(error.strerror or '').lower()}"
        return CliError(f"failed to create the container ID file: {reason}")

    def __exit__(self, *_: object) -> None:
        """Close it; an empty one goes."""
        if self._file is None:
            return
        try:
            self._file.close()
            if not os.path.getsize(self._path):
                os.unlink(self._path)
        except OSError:
            return  # it is not there any more, or its disk is full: `write` has said so


def _created(invocation: Invocation, body: CreateRequestDocument) -> str:
    options, client = invocation.options, invocation.client
    if not body["Image"]:
        raise CliError("invalid reference format")
    if options.pull == "always":
        _pull(invocation, body["Image"])
    request = containers.create(body, name=options.name, platform=options.platform)
    try:
        created = client.do(request)
    except ApiError as error:
        from darse.cli.images.names import in_docker_words
        from darse.image_spec.references import split

        is_missing = error.http_status == 404 and any(words in error.reason for words in _MISSING)
        if not is_missing or options.pull != "missing":
            raise in_docker_words(error) from error
        if not options.quiet:
            sys.stderr.write(f"Unable to find image '{split(body['Image']).tagged().familiar}' locally\n")
        _pull(invocation, body["Image"])
        created = client.do(request)
    for warning in created.get("Warnings") or ():
        sys.stderr.write(f"WARNING: {warning}\n")
    return created["Id"]


def _pull(invocation: Invocation, image: str) -> None:
    """Get an image; its progress goes to standard error, where it cannot mix with the container's output."""
    from darse.cli.engine import pull
    from darse.image_spec.references import split

    options = invocation.options
    pull.pull(
        invocation.client,
        invocation.settings,
        split(image).tagged(),
        platform=options.platform,
        quiet=options.quiet,
        stream=sys.stderr,
    )


_RUN_FLAGS = (
    *SHARED,
    switch("detach", "Run container in background and print container ID", "d"),
    string("detach-keys", "Override the key sequence for detaching a container"),
    switch("sig-proxy", "Proxy received signals to the process", default=True),
)
COMMANDS = {
    "container run": (
        Command(
            "container run",
            "[OPTIONS] IMAGE [COMMAND] [ARG...]",
            "Create and run a new container from an image",
            _RUN_FLAGS,
            minimum=1,
            maximum=None,
            interspersed=False,
            examples="darse run --rm builtin/busybox echo hello\ndarse run -it builtin/busybox sh\n"
            "darse run -d --name web -p 8080:80 IMAGE",
        ),
        run,
    ),
    "container create": (
        Command(
            "container create",
            "[OPTIONS] IMAGE [COMMAND] [ARG...]",
            "Create a new container",
            SHARED,
            minimum=1,
            maximum=None,
            interspersed=False,
        ),
        create,
    ),
}
