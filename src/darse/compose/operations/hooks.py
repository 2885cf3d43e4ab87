"""Commands that are run in a container after its start and before its stop, and files that are put into it."""

from __future__ import annotations

import io

from darse.client.requests import archives as archive_requests
from darse.client.requests import execs as exec_requests
from darse.compose.desired.create_request import CREDENTIALS_DIRECTORY
from darse.compose.desired.mounts import FileContent
from darse.compose.errors import ComposeError
from darse.compose.model.build import ServiceHook
from darse.compose.model.service import Service
from darse.compose.operations.session import ProjectSession
from darse.wire.execs import ExecConfig


async def run_hooks(session: ProjectSession, container: str, service: str, hooks: list[ServiceHook]) -> None:
    """Run hooks one after another. Raises ComposeError for one that ends with another status than 0."""
    for hook in hooks:
        if session.dry_run:
            continue
        created = exec_requests.create(container, exec_config(hook))
        identifier = (await session.client.do(created))["Id"]
        printed = bytearray()
        async with session.client.attach(exec_requests.start(identifier)) as streams:
            async for _, data in streams.output():
                printed += data
        ended = await session.client.do(exec_requests.inspect(identifier))
        if ended.ExitCode:
            tail = printed[-400:].decode(errors="replace").strip()
            text = f"{service} hook exited with status {ended.ExitCode}"
            raise ComposeError(f"{text}: {tail}" if tail else text)


def exec_config(hook: ServiceHook) -> ExecConfig:
    """The process of a hook."""
    return ExecConfig(
        AttachStdout=True,
        AttachStderr=True,
        Cmd=hook.command,
        User=hook.user,
        Privileged=hook.privileged,
        WorkingDir=hook.working_dir,
        Env=[key if value is None else f"{key}={value}" for key, value in hook.environment.items()] or None,
    )


async def put_files(session: ProjectSession, container: str, files: list[FileContent]) -> None:
    """Write configs and secrets into a container that does not run yet."""
    if files:
        await session.change(archive_requests.put_archive(container, "/", _archive(files)))


def credentials(session: ProjectSession, service: Service) -> list[FileContent]:
    """The file of registries' credentials for a service that speaks to the engine as its user does."""
    if not service.use_api_socket or not session.docker_config:
        return []
    return [FileContent(f"{CREDENTIALS_DIRECTORY}/config.json", session.docker_config, 0o600, 0, 0)]


def _archive(files: list[FileContent]) -> bytes:
    import tarfile  # noqa: PLC0415 - a command that packs nothing starts without it

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for one in files:
            entry = tarfile.TarInfo(one.path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(one.content), one.mode, one.uid, one.gid
            archive.addfile(entry, io.BytesIO(one.content))
    return buffer.getvalue()
