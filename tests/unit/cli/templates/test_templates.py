"""Templates print what docker prints.

`cases.jsonl` is the table of all cases. Its first line has the documents: `data`, which the templates look at, and the
`answers` of an engine. Lines with a `template` have what Go's text/template with docker's functions printed of it, or
said: `data` being decoded as Go decodes JSON into `any`, or (`strict`) with Decoder.UseNumber and missingkey=error, as
`docker inspect` does it. Lines with a `line` have what docker 28.2 printed on these answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.cli.errors import CliError
from darse.cli.output.format import Row
from darse.cli.output.inspect import Found, inspect
from darse.cli.templates import Template, TemplateError
from darse.cli.templates.values import of_json
from darse.quoting import quote, unquote
from tests.unit.cli.fake import run

_DOCUMENTS, *_CASES = [
    json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text(encoding="utf-8").split("\n") if line
]
_TEMPLATES = [case for case in _CASES if "template" in case]
_LINES = [case for case in _CASES if "line" in case]


def _outcome(template: str, data: Any, *, strict: bool = False) -> dict[str, str]:
    try:
        return {"output": Template(template).execute(data, lambda one: of_json(one, exact=strict), strict=strict)}
    except TemplateError as error:
        return {"error": str(error)}


def test_prints_and_fails_as_go_does() -> None:
    wrong = []
    for case in _TEMPLATES:
        wanted = {key: case[key] for key in ("output", "error") if key in case}
        got = _outcome(case["template"], _DOCUMENTS["data"], strict=case.get("strict", False))
        if got != wanted:
            wrong.append(f"{case['template']!r}: wanted {wanted}, got {got}")
    assert not wrong, "\n".join(wrong)
    assert len(_TEMPLATES) > 1700


@pytest.mark.parametrize("case", _LINES, ids=lambda case: " ".join(case["line"]))
def test_commands_print_and_fail_as_docker_does(case: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    status, error = 0, ""
    try:
        run(case["line"], {("GET", path): answer for path, answer in _DOCUMENTS["answers"].items()})
    except CliError as caught:
        status, error = caught.status, f"{caught}\n"
    assert (status, capsys.readouterr().out, error) == (case["status"], case["out"], case["err"])


class _Row(Row):
    GO_NAME = "*formatter.ContainerContext"

    def ID(self) -> str:  # noqa: N802
        return "0123"

    def Networks(self) -> list[str]:  # noqa: N802
        return ["a", "b"]

    def Label(self, name: str) -> str:  # noqa: N802
        return f"<{name}>"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.ID}} {{.Networks}}", "0123 [a b]"),
        ('{{.Label "x"}}', "<x>"),
        ('{{"x" | .Label}}', "<x>"),
        ('{{join .Networks ","}}', "a,b"),
        ("{{with .Networks}}{{index . 1}}{{end}}", "b"),
    ],
)
def test_looks_into_rows(template: str, text: str) -> None:
    assert Template(template).execute(_Row({})) == text


def test_a_row_has_no_other_fields() -> None:
    with pytest.raises(TemplateError) as caught:
        Template("{{.Foo}}").execute(_Row({}))
    assert str(caught.value) == (
        'template: :1:2: executing "" at <.Foo>: can\'t evaluate field Foo in type *formatter.ContainerContext'
    )


def test_deep_nesting_is_refused_not_a_crash() -> None:
    with pytest.raises(TemplateError, match="max expression depth exceeded"):
        Template("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}")
    with pytest.raises(TemplateError, match="exceeded maximum template depth"):
        Template('{{define "R"}}{{template "R" .}}{{end}}{{template "R" .}}').execute(None)
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(TemplateError, match="exceeded maximum template depth"):
        Template("{{.}}").of_json(deep)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{range 1000000000}}{{end}}", "takes more than 1000000 steps"),
        ('{{define "a"}}{{range 9}}{{template "b"}}{{end}}{{end}}{{define "b"}}{{range 9999999}}{{end}}{{end}}'
         '{{template "a"}}', "takes more than 1000000 steps"),
        ('{{range 1000000}}{{printf "%99999s" .}}{{end}}', "output is longer than 67108864 characters"),
        ('{{$x := "ab"}}{{range 99}}{{$x = print $x $x}}{{end}}', "error calling print: the text is longer"),
        ('{{$x := "ab"}}{{range 99}}{{$x = json $x}}{{end}}', "error calling json: the text is longer"),
        ('{{$x := pad "a" 9999999 1}}{{join (split $x "") $x}}', "error calling join: the text is longer"),
        ('{{pad "a" 99999999999 1}}', "error calling pad: the text is longer"),
        ('{{printf "%9999999d%9999999d" 1 2}}', "error calling printf: the text is longer"),
        ('{{printf "%*d" 99999999999 1}}', None),
    ],
)  # fmt: skip
def test_templates_are_bounded(template: str, message: str | None) -> None:
    outcome = _outcome(template, None)
    assert message is None or message in outcome["error"]
    assert len(outcome.get("output", "")) < 100


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_json_reads_back(document: Any) -> None:
    assert json.loads(Template("{{json .}}").of_json(document)) == document


@given(st.text())
def test_quoted_strings_read_back(text: str) -> None:
    assert unquote(quote(text)) == text
    assert Template("{{" + quote(text) + "}}").execute(None) == text


@given(st.text(alphabet=st.characters(blacklist_characters="{", blacklist_categories=("Cs",))))
def test_text_is_kept(text: str) -> None:
    assert Template(text).execute(None) == text


_PIECES = [
    "{{",
    "}}",
    "{{-",
    "-}}",
    " ",
    ".",
    ".A",
    "$x",
    ":=",
    "=",
    "|",
    "(",
    ")",
    '"s"',
    "1",
    "-1.5",
    "range ",
    "if ",
]
_PIECES += [
    "else",
    "end",
    "with ",
    "json ",
    "index ",
    "printf ",
    "define ",
    "template ",
    "/*",
    "*/",
    "'",
    "`",
    ",",
    "é",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join), _JSON)
def test_anything_gives_text_or_an_error_in_words(template: str, document: Any) -> None:
    outcome = _outcome(template, document)
    assert "output" in outcome or outcome["error"].startswith("template: ")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back(number: float) -> None:
    text = Template("{{.}}").execute(number)
    assert float(text) == number


_CONTAINER = {
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "18081"}]}},
    "Config": {"ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}},
    "HostConfig": {
        "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
        "BlkioWeightDevice": [{"Path": "/dev/vda", "Weight": 300}],
        "BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 1048576}],
        "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Mode": 0o1770}}],
    },
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        # A string is no nat.Port, so that docker shows the JSON itself, and all of the template of it.
        ('{{index .NetworkSettings.Ports "80/tcp"}}', "[map[HostIp:0.0.0.0 HostPort:18081]]"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "18081"),
        ('{{index .Config.ExposedPorts "80/tcp"}} {{.Config.ExposedPorts}}', "map[] map[80/tcp:map[]]"),
        ("{{.NetworkSettings.Ports}} {{.Config.ExposedPorts}}", "map[80/tcp:[{0.0.0.0 18081}]] map[80/tcp:{}]"),
        ("{{range $p, $c := .NetworkSettings.Ports}}{{index $.NetworkSettings.Ports $p}}{{end}}", "[{0.0.0.0 18081}]"),
        ('{{index .Config.Labels "a"}}', "b"),
        # What shows itself.
        ("{{.HostConfig.Ulimits}} {{index .HostConfig.Ulimits 0}}", "[nofile=100:200] nofile=100:200"),
        ("{{(index .HostConfig.Ulimits 0).String}}", "nofile=100:200"),
        ("{{.HostConfig.BlkioWeightDevice}} {{.HostConfig.BlkioDeviceReadBps}}", "[/dev/vda:300] [/dev/vda:1048576]"),
        ("{{(index .HostConfig.Mounts 0).TmpfsOptions}}", "{0 -rwxrwx--- []}"),
    ],
)
def test_inspect_shows_what_docker_s_types_show(template: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    inspect(["c"], template, lambda _: Found(_CONTAINER, "container.InspectResponse"))
    assert capsys.readouterr().out == f"{text}\n"


def test_addresses_of_registries_show_themselves() -> None:
    info = {"RegistryConfig": {"InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"]}}
    text = Template("{{.RegistryConfig.InsecureRegistryCIDRs}}").of_type(info, "system.dockerInfo")
    assert text == "[::1/128 127.0.0.0/8]"
