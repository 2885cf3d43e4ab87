"""The text of metrics: Prometheus' format 0.0.4, and OpenMetrics 1.0 for those who ask for it.

https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md. Samples are written alike in both;
the heads of families differ, and OpenMetrics has an end. The text is put together here and by no library:
prometheus_client takes ten times as long (61 against 6 ms for 5,000 samples), which a thousand containers make twelve
times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Family(msgspec.Struct, frozen=True):
    """All samples of one name. `kind` is `counter`, `gauge`, `histogram` or `unknown`; counters end in `_total`."""

    name: str
    kind: str
    help: str

    def head(self, *, open_metrics: bool) -> str:
        """The lines before the samples."""
        name, kind = self.name, self.kind
        if open_metrics:
            name = name.removesuffix("_total") if kind == "counter" else name
        elif kind == "unknown":
            kind = "untyped"
        return f"# HELP {name} {self.help.translate(_HELP_ESCAPES)}\n# TYPE {name} {kind}\n"


def accepts_open_metrics(accept: str) -> bool:
    """Whether a client that sends this `Accept` header prefers OpenMetrics, in a version that there is here."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind in best and (kind == "text/plain" or given.get("version", "1.0.0") in ("0.0.1", "1.0.0")):
            best[kind] = max(best[kind], _quality(given.get("q", "1")))
    return best["application/openmetrics-text"] > 0 and best["application/openmetrics-text"] >= best["text/plain"]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def labels_text(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as samples carry them, without the braces. The names are sound; of two equal ones the first is kept."""
    kept: dict[str, str] = {}
    for name, value in labels:
        kept.setdefault(name, value)
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in kept.items())


def label_name(text: str) -> str:
    """A text as part of a label's name, as cAdvisor writes it."""
    return _NO_LABEL.sub("_", text)


def sample(name: str, value: float, labels: str = "") -> str:
    """One line; `labels` as from `labels_text`."""
    return f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n"


class Histogram:
    """Counts how long things took, by one label's values."""

    def __init__(self, family: Family, label: str, bounds: tuple[float, ...], values: Iterable[str] = ()) -> None:
        """bounds: seconds, ascending. values: those of the label that are shown from the beginning."""
        self.family = family
        self._label = label
        self._bounds = bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        for value in values:
            self._row(value)

    def observe(self, value: str, seconds: float) -> None:
        """Count one."""
        row = self._row(value)
        place = next((number for number, bound in enumerate(self._bounds) if seconds <= bound), len(self._bounds))
        row[place] += 1
        self._sums[value] += seconds

    def _row(self, value: str) -> list[int]:
        self._sums.setdefault(value, 0.0)
        return self._counts.setdefault(value, [0] * (len(self._bounds) + 1))

    def samples(self) -> list[str]:
        """The lines."""
        lines = []
        for value, counts in sorted(self._counts.items()):
            label = labels_text([(self._label, value)])
            total = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                lines.append(sample(f"{self.family.name}_bucket", total, f'{label},le="{bound}"'))
            lines.append(sample(f"{self.family.name}_sum", self._sums[value], label))
            lines.append(sample(f"{self.family.name}_count", total, label))
        return lines


def gauge_samples(name: str, label: str, values: Mapping[str, float]) -> list[str]:
    """The lines of a family with one label."""
    return [sample(name, value, labels_text([(label, key)])) for key, value in values.items()]
