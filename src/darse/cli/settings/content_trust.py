"""Docker Content Trust (Notary): asked for, it is refused; nothing unsigned is ever taken for signed."""

from __future__ import annotations

import os

from darse.cli.command_line.flags import Flag
from darse.cli.errors import CliError

# As Go reads a boolean; what is none counts as true, which is the safe side.
_FALSE = ("", "0", "f", "F", "false", "FALSE", "False")
FLAG = Flag("disable-content-trust", "bool", "Skip image verification", default=True, hidden=True)


def refuse(options: object, image: str, *, pushes: bool = False) -> None:
    """Raise CliError when the flag or `DOCKER_CONTENT_TRUST` asks for signatures; the flag goes first."""
    if "disable-content-trust" in options.given:  # type: ignore[attr-defined]
        if options.disable_content_trust:  # type: ignore[attr-defined]
            return
        what = "--disable-content-trust=false asks"
        go_on = "leave it out"
    else:
        if os.environ.get("DOCKER_CONTENT_TRUST", "") in _FALSE or "@" in image:
            return  # a digest says what the content is
        what, go_on = "DOCKER_CONTENT_TRUST asks", "unset it, or use --disable-content-trust"
    if pushes:
        raise CliError(
            f"{what} for a signature, and Docker Content Trust (Notary) is not there: to push {image} unsigned, {go_on}"
        )
    raise CliError(
        f"{what} for a signed image, and Docker Content Trust (Notary) is not there: to use {image} unsigned, {go_on}; "
        "to be sure of the content, name its digest (IMAGE@sha256:...)"
    )
