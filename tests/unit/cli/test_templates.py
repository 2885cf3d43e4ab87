"""Templates print what Go prints.

`data/templates.jsonl` was made by running Go's own text/template, with docker's functions, on these templates and on
the data of its first line: decoded as Go decodes JSON into `any`, and (`strict`) with Decoder.UseNumber and the
option missingkey=error, as `docker inspect` does it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.cli.output.inspect import Found, inspect
from darse.cli.templates import Methods, ParseError, Template, TemplateError, values
from darse.cli.templates.docker_types import type_of
from darse.cli.templates.quoting import quote, unquote

_LINES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "templates.jsonl").read_text(encoding="utf-8").split("\n")
    if line
]
_DATA, _CASES = _LINES[0]["data"], _LINES[1:]


def _outcome(template: str, data: Any, *, strict: bool = False) -> dict[str, str]:
    value = values.of_json(data, exact_numbers=strict)
    try:
        return {"output": Template(template).execute(value, missing_key_is_error=strict)}
    except TemplateError as error:
        return {"error": str(error)}


def test_prints_and_fails_as_go_does() -> None:
    wrong = []
    for case in _CASES:
        wanted = {key: case[key] for key in ("output", "error") if key in case}
        got = _outcome(case["template"], _DATA, strict=case.get("strict", False))
        if got != wanted:
            wrong.append(f"{case['template']!r}: wanted {wanted}, got {got}")
    assert not wrong, "\n".join(wrong)
    assert len(_CASES) > 1000


class _Row(Methods):
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
    assert Template(template).of_object(_Row()) == text


def test_a_row_has_no_other_fields() -> None:
    with pytest.raises(TemplateError) as caught:
        Template("{{.Foo}}").of_object(_Row())
    assert str(caught.value) == (
        'template: :1:2: executing "" at <.Foo>: can\'t evaluate field Foo in type *formatter.ContainerContext'
    )


def test_deep_nesting_is_refused_not_a_crash() -> None:
    with pytest.raises(ParseError, match="max expression depth exceeded"):
        Template("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}")
    with pytest.raises(TemplateError):
        Template('{{define "R"}}{{template "R" .}}{{end}}{{template "R" .}}').execute(None)


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
    text = Template("{{.}}").execute(values.Value(values.FLOAT_TYPE, number))
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
    value = values.typed(info, type_of("system.dockerInfo"))
    assert Template("{{.RegistryConfig.InsecureRegistryCIDRs}}").execute(value) == "[::1/128 127.0.0.0/8]"
