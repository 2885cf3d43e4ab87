"""`--check`: each of BuildKit's rules, and which count."""

from __future__ import annotations

import pytest

from darse.build.dockerfile import DockerfileError
from darse.build.dockerfile.checks import RULES, CheckOptions, parse_check_options
from darse.build.dockerfile.convert import ConvertOptions, check_dockerfile
from tests.unit.build.dockerfile.convert.support import FakeImages, converted, document

_CASES = [
    ("StageNameCasing", "FROM a AS Build", "Stage name 'Build' should be lowercase", 1),
    ("FromAsCasing", "FROM a as b", "'as' and 'FROM' keywords' casing do not match", 1),
    ("NoEmptyContinuation", "FROM a\nRUN b \\\n\n c", "Empty continuation line", 4),
    (
        "ConsistentInstructionCasing",
        "FROM a\nRUN b\nrun c",
        "Command 'run' should match the case of the command majority (uppercase)",
        3,
    ),
    (
        "DuplicateStageName",
        "FROM a AS b\nFROM a AS b",
        'Duplicate stage name "b", stage names should be unique',
        2,
    ),
    (
        "ReservedStageName",
        "FROM a AS scratch",
        'Stage name should not use the same name as reserved stage "scratch"',
        1,
    ),
    (
        "JSONArgsRecommended",
        "FROM a\nCMD b",
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        2,
    ),
    ("MaintainerDeprecated", "FROM a\nMAINTAINER b", "Maintainer instruction is deprecated in favor of using label", 2),
    (
        "UndefinedArgInFrom",
        "ARG VERSION=1\nFROM a:1$VERSIN",
        "FROM argument 'VERSIN' is not declared (did you mean VERSION?)",
        2,
    ),
    (
        "WorkdirRelativePath",
        "FROM a\nWORKDIR b\nWORKDIR c",
        'Relative workdir "b" can have unexpected results if the base image changes',
        2,
    ),
    ("UndefinedVar", "FROM a\nENV HOME=1\nENV X=$HOM", "Usage of undefined variable '$HOM' (did you mean $HOME?)", 3),
    (
        "MultipleInstructionsDisallowed",
        'FROM a\nCMD ["b"]\nCMD ["c"]',
        "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        2,
    ),
    (
        "LegacyKeyValueFormat",
        "FROM a\nENV b c",
        '"ENV key=value" should be used instead of legacy "ENV key value" format',
        2,
    ),
    (
        "InvalidBaseImagePlatform",
        "FROM arm",
        'Base image arm was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
        1,
    ),
    (
        "RedundantTargetPlatform",
        "FROM --platform=$TARGETPLATFORM a",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        1,
    ),
    (
        "SecretsUsedInArgOrEnv",
        "FROM a\nARG API_TOKEN\nENV PUBLIC_KEY=1",
        'Do not use ARG or ENV instructions for sensitive data (ARG "API_TOKEN")',
        2,
    ),
    (
        "InvalidDefaultArgInFrom",
        "ARG V\nFROM a:$V",
        "Default value for ARG a:$V results in empty or invalid base image name",
        2,
    ),
    (
        "FromPlatformFlagConstDisallowed",
        "FROM --platform=linux/amd64 a",
        'FROM --platform flag should not use constant value "linux/amd64"',
        1,
    ),
    ("CopyIgnoredFile", "FROM a\nCOPY b.md /", 'Attempting to Copy file "b.md" that is excluded by .dockerignore', 2),
    (
        "InvalidDefinitionDescription",
        "# what\nFROM a AS b",
        "Comment for FROM should follow the format: `# b <description>`",
        2,
    ),
    (
        "ExposeProtoCasing",
        "FROM a\nEXPOSE 80/TCP",
        "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
        2,
    ),
    (
        "ExposeInvalidFormat",
        "FROM a\nEXPOSE 80:80",
        "EXPOSE instruction should not define an IP address or host-port mapping, found '80:80'",
        2,
    ),
]
_ARM = {**document(), "architecture": "arm64"}


async def _check(text: str, **options: object) -> list[tuple[str, str, int]]:
    given = ConvertOptions(
        build_platform="linux/amd64", ignore_patterns=("*.md",), build_arguments={"V": "1"}, **options
    )  # type: ignore[arg-type]
    report = await check_dockerfile(text, given, FakeImages({"arm": _ARM}))
    assert report.error is None
    return [(one.rule.name, one.detail, one.lines[0]) for one in report.warnings]


@pytest.mark.parametrize(("rule", "text", "detail", "line"), _CASES, ids=[case[0] for case in _CASES])
async def test_rules(rule: str, text: str, detail: str, line: int) -> None:
    found = await _check(text, check="experimental=all")
    assert (rule, detail, line) in found
    assert [one for one in found if one[0] == rule] == [(rule, detail, line)]


def test_every_rule_has_a_case() -> None:
    assert sorted(RULES) == sorted(case[0] for case in _CASES)


@pytest.mark.parametrize(
    "text",
    [
        "# syntax=docker/dockerfile:1\n\nARG V=1\nFROM alpine:$V AS build\nARG GIT_HASH\nWORKDIR /x\nRUN $GIT_HASH\n"
        'FROM --platform=$BUILDPLATFORM alpine\nCOPY --from=build /x /y\nCMD ["x"]',
        "from a as b\nrun c",
        "FROM --platform=linux/arm64 arm AS arm64\nRUN x",
        "FROM a\nRUN echo $HOME",
        'FROM a\nSHELL ["x"]\nCMD y',
        "FROM a\nCOPY --from=b c.md /",
    ],
)
async def test_nothing_to_report(text: str) -> None:
    assert await _check(text, check="experimental=CopyIgnoredFile") == []


async def test_every_stage_is_checked_unless_a_target_is_given() -> None:
    text = 'FROM a AS one\nCMD x\nFROM b AS two\nCMD ["y"]'
    assert [rule for rule, *_ in await _check(text)] == ["JSONArgsRecommended"]
    assert await _check(text, target="two") == []


async def test_an_error_is_part_of_the_report() -> None:
    options = ConvertOptions(build_platform="linux/amd64")
    report = await check_dockerfile("from a\nCOPY b", options, FakeImages())
    assert "COPY requires at least two arguments" in str(report.error)
    later = await check_dockerfile("FROM a as b\nRUN --mount=x true", options, FakeImages())
    assert later.error is not None
    assert [one.rule.name for one in later.warnings] == ["FromAsCasing"]


@pytest.mark.parametrize(
    ("directive", "rules"),
    [
        ("skip=all", []),
        ("skip=FromAsCasing", ["JSONArgsRecommended"]),
        ("skip=FromAsCasing, JSONArgsRecommended", []),
        ("skip=Other", ["FromAsCasing", "JSONArgsRecommended"]),
    ],
)
async def test_the_dockerfile_says_which_rules_count(directive: str, rules: list[str]) -> None:
    assert sorted(rule for rule, *_ in await _check(f"# check={directive}\nFROM a as b\nCMD c")) == rules


async def test_options_go_before_the_dockerfile() -> None:
    assert await _check("# check=error=false\nFROM a as b", check="skip=all") == []


async def test_warnings_as_errors() -> None:
    with pytest.raises(DockerfileError, match="lint violation found for rules: FromAsCasing, JSONArgsRecommended"):
        await converted("# check=error=true\nFROM a as b\nCMD c")
    assert (await converted('# check=error=true\nFROM a AS b\nCMD ["c"]')).warnings == ()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", CheckOptions()),
        ("skip=A,B;error=true", CheckOptions(frozenset({"A", "B"}), error=True)),
        ("experimental=all;skip=all", CheckOptions(skip_all=True, experimental_all=True)),
        ("experimental=A", CheckOptions(experimental=frozenset({"A"}))),
    ],
)
def test_options(text: str, options: CheckOptions) -> None:
    assert parse_check_options(text) == options


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("skip", 'invalid check option "skip"'),
        ("x=1", 'invalid check option "x"'),
        ("error=1x", "failed to parse check"),
    ],
)
def test_refuses_options(text: str, error: str) -> None:
    with pytest.raises(DockerfileError, match=error):
        parse_check_options(text)


def test_pages() -> None:
    assert RULES["JSONArgsRecommended"].url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    assert RULES["UndefinedArgInFrom"].url == "https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/"
    assert RULES["SecretsUsedInArgOrEnv"].url.endswith("/secrets-used-in-arg-or-env/")
    assert RULES["InvalidBaseImagePlatform"].url == ""
