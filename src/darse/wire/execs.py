"""Requests and responses of execs."""

from __future__ import annotations

from darse.wire.base import NullableStrings, Wire


class ExecConfig(Wire):
    """Body of `POST /containers/{id}/exec`."""

    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ConsoleSize: list[int] | None = None
    DetachKeys: str = ""
    Tty: bool = False
    Env: NullableStrings = None
    Cmd: NullableStrings = None
    Privileged: bool = False
    User: str = ""
    WorkingDir: str = ""
    Detach: bool = False


class ExecStartRequest(Wire):
    """Body of `POST /exec/{id}/start`."""

    Detach: bool = False
    Tty: bool = False
    ConsoleSize: list[int] | None = None


class ExecProcess(Wire):
    """The process of an exec inspect."""

    tty: bool
    entrypoint: str
    arguments: list[str]
    privileged: bool | None = None
    user: str = ""


class ExecInspect(Wire, kw_only=True):
    """Answer to an exec inspect."""

    ID: str
    Running: bool
    ExitCode: int | None
    ProcessConfig: ExecProcess
    OpenStdin: bool
    OpenStderr: bool
    OpenStdout: bool
    CanRemove: bool = False
    ContainerID: str
    DetachKeys: str = ""
    Pid: int
