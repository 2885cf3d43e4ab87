"""Platforms of flags (`darse.image_spec.platforms`), in the form that the API wants."""

from __future__ import annotations

from darse.cli.errors import CliError

# For the help of flags.
FORM = 'Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'


def parse(text: str) -> dict[str, str]:
    """The platform that `text` names, as the API's JSON has it. Raises CliError."""
    import msgspec

    from darse.image_spec import platforms

    try:
        found: dict[str, str] = msgspec.to_builtins(platforms.parse(text))
    except platforms.InvalidPlatform as error:
        raise CliError(str(error)) from None
    return found


def given(text: str) -> dict[str, str] | None:
    """The platform of a flag that may be empty. Raises CliError in the words of most commands."""
    try:
        return parse(text) if text else None
    except CliError as error:
        raise CliError(f"invalid platform: {error}") from error


def shown(platform: dict[str, str]) -> str:
    """`linux/arm/v7`."""
    parts = [platform.get("os") or "unknown", platform.get("architecture", ""), platform.get("variant", "")]
    return "/".join(part for part in parts if part)
