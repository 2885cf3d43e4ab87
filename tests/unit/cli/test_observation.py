"""top, stats and update: what they print, and what they ask for."""

from __future__ import annotations

from typing import Any

import pytest

from darse.cli.errors import CliError
from tests.unit.cli.fake import run


def sample(**changes: Any) -> dict[str, Any]:
    """A sample of a container that used half of one of two processors."""

    def cpu(used: int, system: int) -> dict[str, Any]:
        return {"cpu_usage": {"total_usage": used}, "system_cpu_usage": system, "online_cpus": 2}

    return {
        "id": "0123456789abcdef" * 4,
        "name": "/busy",
        "cpu_stats": cpu(1_500_000_000, 12_000_000_000),
        "precpu_stats": cpu(1_000_000_000, 10_000_000_000),
        "memory_stats": {"usage": 3 << 20, "limit": 64 << 20, "stats": {"inactive_file": 1 << 20}},
        "pids_stats": {"current": 7},
        "networks": {"eth0": {"rx_bytes": 1500, "tx_bytes": 20}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "read", "value": 4096},
                {"major": 8, "minor": 0, "op": "write", "value": 8192},
                {"major": 8, "minor": 0, "op": "total", "value": 12288},
            ]
        },
        **changes,
    }


def printed(line: list[str], samples: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> str:
    run(line, {("GET", "/containers/busy/stats"): samples})
    return capsys.readouterr().out


def test_stats_table(capsys: pytest.CaptureFixture[str]) -> None:
    header, row = printed(["stats", "--no-stream", "busy"], [sample()], capsys).splitlines()
    assert header.split("  ")[0] == "CONTAINER ID"
    cells = [cell for cell in row.split("  ") if cell]
    assert [cell.strip() for cell in cells] == [
        *("0123456789ab", "busy", "50.00%", "2MiB / 64MiB", "3.12%", "2kB / 20B", "4.1kB / 8.19kB", "7"),
    ]


def test_stats_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(["stats", "--no-stream", "--format", "json", "busy"], [sample()], capsys)
    assert out == (
        '{"BlockIO":"4.1kB / 8.19kB","CPUPerc":"50.00%","Container":"busy","ID":"0123456789ab","MemPerc":"3.12%",'
        '"MemUsage":"2MiB / 64MiB","Name":"busy","NetIO":"2kB / 20B","PIDs":"7"}\n'
    )


@pytest.mark.parametrize(
    ("changes", "format_", "text"),
    [
        ({"memory_stats": {}, "pids_stats": {}}, "{{.MemUsage}} {{.MemPerc}} {{.PIDs}}", "0B / 0B 0.00% 0"),
        ({"blkio_stats": {"io_service_bytes_recursive": None}}, "{{.BlockIO}}", "0B / 0B"),
        ({"networks": None}, "{{.NetIO}}", "0B / 0B"),
        # Counters of a container that was started again are lower than before.
        ({"precpu_stats": sample()["cpu_stats"]}, "{{.CPUPerc}}", "0.00%"),
        (
            {
                "memory_stats": {
                    "usage": 4096,
                    "limit": 8192,
                    "stats": {"total_inactive_file": 1024, "inactive_file": 1},
                }
            },
            "{{.MemUsage}}",
            "3KiB / 8KiB",
        ),
    ],
)
def test_stats_cells(changes: dict[str, Any], format_: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["stats", "--no-stream", "--format", format_, "busy"], [sample(**changes)], capsys) == f"{text}\n"


def test_stats_of_a_container_without_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["stats", "--no-stream", "--format", "{{.CPUPerc}} {{.MemUsage}}", "busy"], [], capsys) == (
        "-- -- / --\n"
    )


def test_stats_of_nobody() -> None:
    with pytest.raises(CliError, match="No such object"):
        run(["stats", "--no-stream", "nobody"], {})


def test_stats_of_all_that_run(capsys: pytest.CaptureFixture[str]) -> None:
    answers: dict[tuple[str, str], Any] = {
        ("GET", "/containers/json"): [{"Id": "0123456789abcdef" * 4}],
        ("GET", "/containers/0123456789ab/stats"): [sample()],
    }
    client = run(["stats", "--no-stream", "--no-trunc", "--format", "{{.Container}} {{.ID}}"], answers)
    assert capsys.readouterr().out == f"0123456789ab {'0123456789abcdef' * 4}\n"
    assert ("GET", "/containers/json", {}, None) in client.asked


def test_top_passes_its_arguments_on(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {("GET", "/containers/web/top"): {"Titles": ["PID", "CMD"], "Processes": [["1", "sleep 5"]]}}
    client = run(["top", "web", "-o", "pid,cmd"], answers)
    assert client.asked == [("GET", "/containers/web/top", {"ps_args": "-o pid,cmd"}, None)]
    assert capsys.readouterr().out == f"{'PID':<20}CMD\n{'1':<20}sleep 5\n"


def test_update_sends_what_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {("POST", "/containers/web/update"): {"Warnings": ["careful"]}}
    client = run(["update", "-m", "64m", "--memory-swap=-1", "--cpus", "0.29", "--restart", "always", "web"], answers)
    ((_, _, _, body),) = client.asked
    assert {key: value for key, value in body.items() if value} == {
        "Memory": 64 << 20,
        "MemorySwap": -1,
        "NanoCpus": 290_000_000,
        "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
    }
    out, err = capsys.readouterr()
    assert (out, err) == ("web\ncareful\n", "")


def test_update_without_a_limit_is_a_mistake() -> None:
    with pytest.raises(CliError, match="you must provide one or more flags"):
        run(["update", "web"], {})
