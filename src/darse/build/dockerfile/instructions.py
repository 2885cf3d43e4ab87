"""The instructions of a Dockerfile as structs.

`expanded` gives an instruction with variables replaced, for those that replace variables; it takes the function that
does so, because scopes are the conversion's. Text that a shell will read (RUN, CMD, ENTRYPOINT, HEALTHCHECK) is left as
it is: its variables are the shell's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeAlias

import msgspec

from darse.build.dockerfile.heredocs import Heredoc
from darse.build.dockerfile.source import SourceToken

Expand: TypeAlias = Callable[[str], str]


class StageInstruction(msgspec.Struct, frozen=True, kw_only=True):
    """What all have."""

    keyword: str
    """As it is written, `RUN` or `run`."""
    code: str
    """The logical line."""
    lines: tuple[int, int]
    place: SourceToken
    """The keyword's."""

    def expanded(self, expand: Expand) -> StageInstruction:
        """The same with variables replaced."""
        return self


class InlineFile(msgspec.Struct, frozen=True):
    """A here-document as a file."""

    name: str
    data: str
    expand: bool


class Argument(msgspec.Struct, frozen=True):
    """One variable of an ARG."""

    name: str
    value: str | None = None
    """None where it has no default."""
    comment: str = ""


class ArgInstruction(StageInstruction, frozen=True, kw_only=True):
    """ARG NAME[=VALUE]…"""

    arguments: tuple[Argument, ...]

    def expanded(self, expand: Expand) -> ArgInstruction:
        """Names and defaults."""
        return msgspec.structs.replace(
            self,
            arguments=tuple(
                Argument(expand(one.name), None if one.value is None else expand(one.value), one.comment)
                for one in self.arguments
            ),
        )


class PairsInstruction(StageInstruction, frozen=True, kw_only=True):
    """What ENV and LABEL share."""

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False

    def expanded(self, expand: Expand) -> Self:
        """Names and values."""
        pairs = tuple((expand(name), expand(value)) for name, value in self.pairs)
        return msgspec.structs.replace(self, pairs=pairs)


class EnvInstruction(PairsInstruction, frozen=True, kw_only=True):
    """ENV NAME=VALUE…"""


class LabelInstruction(PairsInstruction, frozen=True, kw_only=True):
    """LABEL NAME=VALUE…"""


class FileInstruction(StageInstruction, frozen=True, kw_only=True):
    """What ADD and COPY share."""

    sources: tuple[str, ...]
    files: tuple[InlineFile, ...] = ()
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    json: bool = False

    def expanded(self, expand: Expand) -> Self:
        """Paths, owner, mode, patterns."""
        return msgspec.structs.replace(
            self,
            sources=tuple(map(expand, self.sources)),
            destination=expand(self.destination),
            chown=expand(self.chown),
            chmod=expand(self.chmod),
            exclude=tuple(map(expand, self.exclude)),
        )


class AddInstruction(FileInstruction, frozen=True, kw_only=True):
    """ADD [flags] SOURCE… DESTINATION"""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None
    """None: archives of the context are unpacked, downloaded ones are not."""

    def expanded(self, expand: Expand) -> Self:
        """And the checksum."""
        return msgspec.structs.replace(super().expanded(expand), checksum=expand(self.checksum))


class CopyInstruction(FileInstruction, frozen=True, kw_only=True):
    """COPY [flags] SOURCE… DESTINATION"""

    source_stage: str = ""
    """`--from`: a stage, a named context or an image."""
    parents: bool = False


class InstructionCommand(msgspec.Struct, frozen=True):
    """A command in one of its forms."""

    words: tuple[str, ...]
    """One text for the shell, or the arguments of the JSON form."""
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


class RunInstruction(StageInstruction, frozen=True, kw_only=True):
    """RUN [flags] COMMAND"""

    command: InstructionCommand
    mounts: tuple[str, ...] = ()
    """Values of `--mount`; `darse.build.dockerfile.mounts` reads them when their variables are known."""
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()


class CmdInstruction(StageInstruction, frozen=True, kw_only=True):
    """CMD COMMAND"""

    command: InstructionCommand


class EntrypointInstruction(StageInstruction, frozen=True, kw_only=True):
    """ENTRYPOINT COMMAND"""

    command: InstructionCommand


class ShellInstruction(StageInstruction, frozen=True, kw_only=True):
    """SHELL ["PROGRAM", …]"""

    shell: tuple[str, ...]


class ExposeInstruction(StageInstruction, frozen=True, kw_only=True):
    """EXPOSE PORT[/PROTOCOL]…"""

    ports: tuple[str, ...]


class HealthcheckInstruction(StageInstruction, frozen=True, kw_only=True):
    """HEALTHCHECK [flags] CMD COMMAND, or HEALTHCHECK NONE"""

    test: tuple[str, ...]
    """As in the image's configuration: `NONE`, or `CMD` or `CMD-SHELL` with the command."""
    interval: int = 0
    """Nanoseconds, as the following; 0 is the engine's."""
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class MaintainerInstruction(StageInstruction, frozen=True, kw_only=True):
    """MAINTAINER NAME (deprecated)"""

    maintainer: str


class OnbuildInstruction(StageInstruction, frozen=True, kw_only=True):
    """ONBUILD INSTRUCTION"""

    trigger: str
    """The instruction as text, with its here-documents."""


class StopsignalInstruction(StageInstruction, frozen=True, kw_only=True):
    """STOPSIGNAL SIGNAL"""

    signal: str

    def expanded(self, expand: Expand) -> StopsignalInstruction:
        """The signal."""
        return msgspec.structs.replace(self, signal=expand(self.signal))


class UserInstruction(StageInstruction, frozen=True, kw_only=True):
    """USER USER[:GROUP]"""

    user: str

    def expanded(self, expand: Expand) -> UserInstruction:
        """The user."""
        return msgspec.structs.replace(self, user=expand(self.user))


class VolumeInstruction(StageInstruction, frozen=True, kw_only=True):
    """VOLUME PATH…"""

    paths: tuple[str, ...]

    def expanded(self, expand: Expand) -> VolumeInstruction:
        """The paths."""
        return msgspec.structs.replace(self, paths=tuple(map(expand, self.paths)))


class WorkdirInstruction(StageInstruction, frozen=True, kw_only=True):
    """WORKDIR PATH"""

    path: str

    def expanded(self, expand: Expand) -> WorkdirInstruction:
        """The path."""
        return msgspec.structs.replace(self, path=expand(self.path))


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """FROM [--platform=PLATFORM] BASE [AS NAME], and what follows it."""

    keyword: str
    as_keyword: str = ""
    code: str
    lines: tuple[int, int]
    place: SourceToken
    base: str
    name: str = ""
    """In small letters."""
    written_name: str = ""
    platform: str = ""
    comments: tuple[str, ...] = ()
    instructions: tuple[StageInstruction, ...] = ()

    def comment(self) -> str:
        """What a comment `# NAME …` before it says."""
        return comment_for(self.comments, self.name)


def comment_for(comments: tuple[str, ...], name: str) -> str:
    """The description of a stage or an argument in the comments before it."""
    for line in comments:
        if name and line.startswith(f"{name} "):
            return line[len(name) + 1 :]
    return ""
