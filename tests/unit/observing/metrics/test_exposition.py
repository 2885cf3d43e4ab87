"""The text of metrics is what Prometheus and OpenMetrics read: by the parsers of Prometheus' own library."""

from __future__ import annotations

import pytest

from darse.observing.metrics import containers, engine, operations
from darse.observing.metrics.exposition import (
    Family,
    Histogram,
    accepts_open_metrics,
    label_name,
    labels_text,
    sample,
)

HOSTILE = 'a"b\\c\nd } 1\n# EOF\n\u202e😀'
COUNTER = Family("things_total", "counter", 'What "things"\nthere were \\')
UNKNOWN = Family("odd_total", "unknown", "a gauge that is called a total")
SECONDS = Family("took_seconds", "histogram", "How long")


def families_of_modules() -> list[Family]:
    return [
        *containers.families(),
        *(one for module in (engine, operations) for one in vars(module).values() if isinstance(one, Family)),
    ]


def parsed(text: str, *, open_metrics: bool) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as of_open_metrics
    from prometheus_client.parser import text_string_to_metric_families as of_prometheus

    found = (of_open_metrics if open_metrics else of_prometheus)(text)
    return {one.name: [(s.name, s.labels, s.value) for s in one.samples] for one in found}


@pytest.mark.parametrize("open_metrics", [False, True])
def test_families_come_back_as_they_were(open_metrics: bool) -> None:
    histogram = Histogram(SECONDS, "action", (0.1, 1.0), ("none",))
    for seconds in (0.05, 0.1, 0.5, 7):
        histogram.observe("start", seconds)
    text = COUNTER.head(open_metrics=open_metrics)
    text += sample("things_total", 3, labels_text([("name", HOSTILE), ("image", "b"), ("image", "c")]))
    text += UNKNOWN.head(open_metrics=open_metrics) + sample("odd_total", 2)
    text += SECONDS.head(open_metrics=open_metrics) + "".join(histogram.samples())
    found = parsed(text + "# EOF\n" * open_metrics, open_metrics=open_metrics)
    assert found["things"] == [("things_total", {"name": HOSTILE, "image": "b"}, 3)]
    assert found["odd_total"] == [("odd_total", {}, 2)]
    counted = {(name, labels["action"], labels.get("le", "")): value for name, labels, value in found["took_seconds"]}
    assert [counted["took_seconds_bucket", "start", bound] for bound in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert counted["took_seconds_count", "start", ""] == 4
    assert counted["took_seconds_sum", "start", ""] == pytest.approx(7.65)
    assert counted["took_seconds_count", "none", ""] == 0


@pytest.mark.parametrize(
    ("accept", "is_open"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text; version=1.0.0", True),
        # Prometheus 2.42's own, and 3's with versions that are not there.
        ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),  # noqa: E501
        ("application/openmetrics-text;version=2.0.0;q=0.9,text/plain;version=0.0.4;q=0.2", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
    ],
)  # fmt: skip
def test_the_format_is_the_one_that_the_client_prefers(accept: str, is_open: bool) -> None:
    assert accepts_open_metrics(accept) == is_open


def test_labels_of_containers_have_names_that_prometheus_takes() -> None:
    assert label_name("com.docker.compose/project-é") == "com_docker_compose_project__"


def test_every_counter_says_so_by_its_name_and_no_family_is_there_twice() -> None:
    found = families_of_modules()
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert one.help
        assert one.kind in ("counter", "gauge", "histogram", "unknown")
        if one.kind != "unknown":
            assert one.name.endswith("_total") == (one.kind == "counter"), one.name
