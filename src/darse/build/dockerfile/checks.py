"""`--check`: BuildKit's documented rules (docs.docker.com/reference/build-checks), by their names.

`# check=skip=Rule,Rule;experimental=Rule;error=true` in a Dockerfile, or the same as an option of a build, says which
count. A rule only reports: whether a report is an error is the options' choice.
"""

from __future__ import annotations

import re

import msgspec

from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.values import boolean
from darse.quoting import quote

_PAGE = "https://docs.docker.com/go/dockerfile/rule/"


class CheckRule(msgspec.Struct, frozen=True):
    """A rule."""

    name: str
    description: str
    experimental: bool = False
    has_page: bool = True

    @property
    def url(self) -> str:
        """Its page in docker's documentation."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", self.name).lower()
        return f"{_PAGE}{words}/" if self.has_page else ""


RULES = {
    rule.name: rule
    for rule in (
        CheckRule("StageNameCasing", "Stage names should be lowercase"),
        CheckRule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
        CheckRule("NoEmptyContinuation", "Empty continuation lines will become errors in a future release"),
        CheckRule(
            "ConsistentInstructionCasing",
            "All commands within the Dockerfile should use the same casing (either upper or lower)",
        ),
        CheckRule("DuplicateStageName", "Stage names should be unique"),
        CheckRule("ReservedStageName", "Reserved words should not be used as stage names"),
        CheckRule(
            "JSONArgsRecommended",
            "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        ),
        CheckRule(
            "MaintainerDeprecated",
            "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        ),
        CheckRule("UndefinedArgInFrom", "FROM command must use declared ARGs"),
        CheckRule(
            "WorkdirRelativePath",
            "Relative workdir without an absolute workdir declared within the build can have unexpected results if the "
            "base image changes",
        ),
        CheckRule("UndefinedVar", "Variables should be defined before their use"),
        CheckRule(
            "MultipleInstructionsDisallowed",
            "Multiple instructions of the same type should not be used in the same stage",
        ),
        CheckRule("LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used"),
        CheckRule(
            "InvalidBaseImagePlatform", "Base image platform does not match expected target platform", has_page=False
        ),
        CheckRule(
            "RedundantTargetPlatform",
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        ),
        CheckRule("SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"),
        CheckRule(
            "InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base image name"
        ),
        CheckRule("FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"),
        CheckRule("CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", experimental=True),
        CheckRule(
            "InvalidDefinitionDescription",
            "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this "
            "is not intended to be a description comment, add an empty line or comment between the instruction and the "
            "comment.",
            experimental=True,
        ),
        CheckRule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
        CheckRule(
            "ExposeInvalidFormat",
            "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a "
            "future release",
        ),
    )
}


class CheckWarning(msgspec.Struct, frozen=True):
    """What a rule found."""

    rule: CheckRule
    detail: str
    lines: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.detail} (line {self.lines[0]})"


class CheckOptions(msgspec.Struct, frozen=True):
    """Which rules count."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False


def parse_check_options(text: str) -> CheckOptions:
    """Read `skip=…;experimental=…;error=…`. Raises DockerfileError."""
    fields: dict[str, object] = {}
    for part in text.strip().split(";", 2) if text.strip() else []:
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if not equals:
            raise DockerfileError(f"invalid check option {quote(part)}")
        if key in ("skip", "experimental"):
            fields[f"{key}_all" if value == "all" else key] = (
                True if value == "all" else frozenset(rule.strip() for rule in value.split(","))
            )
        elif key == "error":
            try:
                fields[key] = boolean(value)
            except ValueError:
                raise DockerfileError(f"failed to parse check option {quote(part)}: {value} is no boolean") from None
        else:
            raise DockerfileError(f"invalid check option {quote(key)}")
    return CheckOptions(**fields)  # type: ignore[arg-type]


class Checks:
    """Collects what rules find."""

    def __init__(self, options: CheckOptions) -> None:
        self.warnings: list[CheckWarning] = []
        self._options = options

    def report(self, name: str, lines: tuple[int, int], detail: str) -> None:
        """Note that a rule found something, unless the options leave the rule out."""
        rule, options = RULES[name], self._options
        if rule.experimental:
            counts = options.experimental_all or name in options.experimental
        else:
            counts = not options.skip_all and name not in options.skip
        warning = CheckWarning(rule, detail, lines)
        if counts and warning not in self.warnings:
            self.warnings.append(warning)

    def raise_error(self) -> None:
        """Raise DockerfileError where the options make warnings an error."""
        if self._options.error and self.warnings:
            names = ", ".join(sorted({warning.rule.name for warning in self.warnings}))
            raise DockerfileError(f"lint violation found for rules: {names}", self.warnings[0].lines)


_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)public(?:_|$)", re.IGNORECASE)


def check_secret_name(checks: Checks, instruction: str, name: str, lines: tuple[int, int]) -> None:
    """Report a variable that is called as a secret is."""
    if _SECRET.search(name) and not _NO_SECRET.search(name):
        detail = f"Do not use ARG or ENV instructions for sensitive data ({instruction} {quote(name)})"
        checks.report("SecretsUsedInArgOrEnv", lines, detail)
