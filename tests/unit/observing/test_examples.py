"""The shipped dashboard and rules name metrics that there are, and functions that Prometheus has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from darse.observing.alerts import service as alerts
from darse.observing.metrics import containers, engine, operations
from darse.observing.metrics.exposition import Family
from darse.observing.traces import exporter
from tests.support.engine import REPOSITORY

EXAMPLES = REPOSITORY / "examples" / "monitoring"
# What Prometheus itself has, and the labels and words of its language.
NO_METRICS = set(
    "up sum by rate increase histogram_quantile count vector time on and or name le action method code id".split()
) | {"label_values"}
NAME = re.compile(r"(?<![\w\"$:.])[a-zA-Z_:][a-zA-Z0-9_:]*")
ASIDE = re.compile(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"')


def known() -> set[str]:
    modules = (engine, operations, exporter, alerts)
    families = [
        *containers.families(),
        *(one for module in modules for one in vars(module).values() if isinstance(one, Family)),
    ]
    return {
        name for one in families for name in (one.name, *(f"{one.name}{end}" for end in ("_bucket", "_sum", "_count")))
    }


def expressions() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    yaml = pytest.importorskip("yaml")
    for group in yaml.safe_load((EXAMPLES / "alert-rules.yml").read_text())["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


def test_every_expression_names_metrics_that_there_are() -> None:
    names = known() | NO_METRICS
    found = list(expressions())
    assert len(found) > 30
    for title, expression in found:
        unknown = set(NAME.findall(ASIDE.sub("", expression))) - names
        assert not unknown, (title, expression, unknown)


def test_panels_have_titles_and_do_not_cover_each_other() -> None:
    panels = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize(("what", "file"), [("rules", "alert-rules.yml"), ("config", "prometheus.yml")])
def test_prometheus_takes_them(what: str, file: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: package prometheus")
    done = subprocess.run([promtool, "check", what, str(EXAMPLES / file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
