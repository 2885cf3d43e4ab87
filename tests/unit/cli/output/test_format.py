"""Lists: docker's columns, placeholders and alignment."""

from __future__ import annotations

import time
from typing import Any

import pytest

from darse.cli.errors import CliError
from darse.cli.output.container_rows import HEADINGS, ContainerRow, ports_text
from darse.cli.output.format import Format, ago, local_time, short_id
from darse.cli.output.table import align, ellipsis, fit, width
from darse.durations import go_duration, go_time, human_duration
from darse.natural_order import natural
from darse.units import binary_size, human_size
from tests.unit.cli.fake import run

_NOW = int(time.time())
_CONTAINERS: list[dict[str, Any]] = [
    {
        "Id": "0123456789abcdef" * 4,
        "Names": ["/other/alias", "/web"],
        "Image": "nginx:1@sha256:" + "a" * 64,
        "ImageID": "sha256:" + "b" * 64,
        "Command": "nginx -g 'daemon off;'",
        "Created": _NOW - 7200,
        "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
        "State": "running",
        "Status": "Up 2 hours",
        "Labels": {"b": "2", "a.b-c": "<1>"},
        "Mounts": [{"Name": "data", "Driver": "local"}, {"Source": "/a/very/long/directory"}],
        "NetworkSettings": {"Networks": {"z": {}, "bridge": {}}},
        "SizeRw": 1234,
        "SizeRootFs": 187_000_000,
    },
    {
        "Id": "f" * 64,
        "Names": ["/db"],
        "Image": "sha256:" + "c" * 64,
        "ImageID": "sha256:" + "c" * 64,
        "Command": "db",
        "Created": _NOW - 3 * 86400 - 60,
        "Ports": [],
        "State": "exited",
        "Status": "Exited (0) 1 second ago",
        "Labels": {},
        "Mounts": [],
    },
]
_ANSWERS = {("GET", "/containers/json"): _CONTAINERS}


def test_ps(capsys: pytest.CaptureFixture[str]) -> None:
    client = run(["ps"], _ANSWERS)
    assert client.asked == [("GET", "/containers/json", {}, None)]
    assert capsys.readouterr().out.splitlines() == [
        "CONTAINER ID   IMAGE          COMMAND                  CREATED       STATUS                    "
        "PORTS                  NAMES",
        '0123456789ab   nginx:1        "nginx -g \'daemon of…"   2 hours ago   Up 2 hours                '
        "0.0.0.0:8080->80/tcp   web",
        'ffffffffffff   cccccccccccc   "db"                     3 days ago    Exited (0) 1 second ago   '
        "                       db",
    ]


def test_ps_options_are_passed_on() -> None:
    client = run(["ps", "-a", "-s", "-n", "3", "-f", "status=exited", "-f", "status=created", "-q"], _ANSWERS)
    assert client.asked[0][2] == {
        "all": True,
        "size": True,
        "limit": 3,
        "filters": {"status": ["exited", "created"]},
    }
    assert run(["ps", "-l"], _ANSWERS).asked[0][2] == {"limit": 1}


@pytest.mark.parametrize(
    ("format_", "first"),
    [
        ("{{.ID}} {{.Names}} {{.Image}} {{.State}}", "0123456789ab web nginx:1 running"),
        ("{{.Networks}} {{.Mounts}} {{.LocalVolumes}}", "bridge,z data,/a/very/long/d… 1"),
        ('{{.Labels}} {{.Label "a.b-c"}} {{.Label "no"}}|', "a.b-c=<1>,b=2 <1> |"),
        ("{{.Size}}", "1.23kB (virtual 187MB)"),
        ("{{.Platform}}", "<nil>"),
        (r"{{.ID}}\t{{upper .Names}}", "0123456789ab\tWEB"),
    ],
)
def test_placeholders(format_: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ps", "--format", format_], _ANSWERS)
    assert capsys.readouterr().out.splitlines()[0] == first


def test_size_is_asked_for_when_the_format_shows_it() -> None:
    assert run(["ps", "--format", "{{.Size}}"], _ANSWERS).asked[0][2] == {"size": True}
    assert run(["ps", "--format", "{{.ID}}"], _ANSWERS).asked[0][2] == {}
    assert run(["ps", "--format", "{{.Size}}", "--size=false"], _ANSWERS).asked[0][2] == {}


def test_table_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    run(["ps", "--format", r'table {{.Names}}\t{{.Label "com.x.my-name"}}\t{{json .Image}}'], _ANSWERS)
    assert capsys.readouterr().out.splitlines() == [
        "NAMES     my name   IMAGE",
        'web                 "nginx:1"',
        'db                  "cccccccccccc"',
    ]


def test_json_escapes_what_html_could_misread(capsys: pytest.CaptureFixture[str]) -> None:
    run(["ps", "--format", "json"], _ANSWERS)
    line = capsys.readouterr().out.splitlines()[0]
    assert r'"Labels":"a.b-c=\u003c1\u003e,b=2"' in line
    assert line.startswith('{"Command":')
    assert '"Platform":null' in line


def test_format_of_the_users_settings(capsys: pytest.CaptureFixture[str]) -> None:
    run(["ps"], _ANSWERS, {"psFormat": "{{.Names}}!"})
    assert capsys.readouterr().out == "web!\ndb!\n"
    run(["ps", "-q"], _ANSWERS, {"psFormat": "{{.Names}}!"})
    assert capsys.readouterr().out == "0123456789ab\nffffffffffff\n"


def test_wrong_formats() -> None:
    with pytest.raises(CliError, match=r"^failed to parse template: template: :1: unclosed action$"):
        run(["ps", "--format", "{{.ID"], _ANSWERS)
    with pytest.raises(CliError, match=r"can't evaluate field Foo in type \*formatter.ContainerContext"):
        run(["ps", "--format", "{{.Foo}}"], _ANSWERS)


def test_ports() -> None:
    def port(private: int, public: int = 0, ip: str = "", kind: str = "tcp") -> dict[str, Any]:
        return {"PrivatePort": private, "Type": kind, **({"IP": ip, "PublicPort": public} if ip else {})}

    assert ports_text([port(81), port(80), port(82), port(90)]) == "80-82/tcp, 90/tcp"
    assert ports_text([port(80, 80, "0.0.0.0"), port(81, 81, "0.0.0.0")]) == "0.0.0.0:80-81->80-81/tcp"
    assert ports_text([port(53, 53, "::", "udp"), port(80, 8080, "::")]) == "[::]:53->53/udp, [::]:8080->80/tcp"


def test_alignment() -> None:
    assert align("A\tB\nlonger than ten\tx\n") == "A                 B\nlonger than ten   x\n"
    assert align("a\tb\tc\nno cells\nlonger text\td") == "a         b         c\nno cells\nlonger text   d"
    assert align("a\t\tc") == "a                   c"
    assert align("世界\tx", minimum=1, padding=1) == "世界 x"
    assert align("Version:\t1\n OS:\tx", minimum=20, padding=1) == "Version:            1\n OS:                x"


def test_ellipsis() -> None:
    assert ellipsis("abcdef", 4) == "abc…"
    assert ellipsis("abcd", 4) == "abcd"
    assert ellipsis("世界世界", 5) == "世界…"
    assert width("e\u0301世") == 3


def test_a_table_is_made_to_fit_without_loss_of_names() -> None:
    text = Format("table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.Ports}}\t{{.Names}}").render(
        [ContainerRow(one) for one in _CONTAINERS], HEADINGS, columns=78
    )
    assert max(map(width, text.splitlines())) <= 78
    assert text.splitlines()[1].endswith("web")
    assert "…" in text
    too_long = "NAMES\tSTATE\n" + "n" * 80 + "\t" + "c" * 80
    assert fit(too_long, 40).splitlines()[1] == f"{'n' * 18}… {'c' * 19}…"
    assert fit("A\tB\n1\t2\n", 80) == align("A\tB\n1\t2\n")


@pytest.mark.parametrize(
    ("size", "decimal", "binary"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1000B"),
        (1024, "1.024kB", "1KiB"),
        (1_983_000, "1.983MB", "1.891MiB"),
        (25_276_063_744, "25.28GB", "23.54GiB"),
        (10**18, "1EB", "888.2PiB"),
    ],
)
def test_sizes(size: int, decimal: str, binary: str) -> None:
    assert human_size(size) == decimal
    assert binary_size(size) == binary


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_times_of_go() -> None:
    assert go_time("2026-01-02T03:04:05.6Z") == "2026-01-02 03:04:05.6 +0000 UTC"
    assert go_time("2026-01-02T03:04:05+02:00") == "2026-01-02 03:04:05 +0200 +0200"
    assert go_duration(90_000_000_000) == "1m30s"
    assert go_duration(3_600_000_000_000) == "1h0m0s"
    assert go_duration(1_500_000) == "1.5ms"
    assert go_duration(0) == "0s"


def test_ids_and_order() -> None:
    assert short_id("sha256:" + "ab" * 32) == "ab" * 6
    assert sorted(["a10", "a2", "b", "1"], key=natural) == ["1", "a2", "a10", "b"]


def test_an_image_without_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """docker's client prints Go's zero time with four digits, and no time that has passed since."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert (local_time(-62_135_596_800), ago(-62_135_596_800)) == ("0001-01-01 00:00:00 +0000 UTC", "")
    assert local_time(0) == "1970-01-01 00:00:00 +0000 UTC"
