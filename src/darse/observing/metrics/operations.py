"""What the engine did, counted as it ends: histograms of operations, builds and requests. An observer of spans."""

from __future__ import annotations

import threading
from collections import Counter

from darse.core.spans import Span
from darse.core.trace import Operation
from darse.observing.metrics.exposition import Family, Histogram, labels_text, sample

# dockerd's: those that its client library uses by default.
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUILD_BOUNDS = (0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
# By the names that dockerd has for them.
_ACTIONS = {"rm": "delete"}
_OF_IMAGES = frozenset({"pull"})
_BUILD = "build"

CONTAINER_ACTIONS = Family(
    "engine_daemon_container_actions_seconds", "histogram", "Seconds that operations on containers took"
)
IMAGE_ACTIONS = Family("engine_daemon_image_actions_seconds", "histogram", "Seconds that operations on images took")
FAILED = Family("darse_operations_failed_total", "counter", "Operations that failed, by action")
BUILDS = Family("builder_builds_triggered_total", "counter", "Builds that have ended")
BUILDS_FAILED = Family("builder_builds_failed_total", "counter", "Builds that failed, by reason")
BUILD_SECONDS = Family("darse_build_duration_seconds", "histogram", "Seconds that builds took, by what became of them")
REQUESTS = Family("darse_api_requests_total", "counter", "Requests of the API, by method and status")
REQUEST_SECONDS = Family(
    "darse_api_request_duration_seconds", "histogram", "Seconds to the head of the answer, by method"
)


class OperationMetrics:
    """Counts; operations may end in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        shown = ("changes", "commit", "create", "delete", "start")
        self._containers = Histogram(CONTAINER_ACTIONS, "action", _BOUNDS, shown)
        self._images = Histogram(IMAGE_ACTIONS, "action", _BOUNDS, ("pull",))
        self._builds = Histogram(BUILD_SECONDS, "outcome", _BUILD_BOUNDS, ("done", "failed"))
        self._requests = Histogram(REQUEST_SECONDS, "method", _BOUNDS)
        self._by_status: Counter[tuple[str, str]] = Counter()
        self._failed: Counter[str] = Counter()
        self._ended_builds = 0

    def operation_ended(self, operation: Operation, span: Span) -> None:
        """Count it."""
        seconds, failed = operation.duration_ns / 1e9, operation.outcome.startswith("failed")
        action = _ACTIONS.get(operation.name, operation.name)
        with self._lock:
            if span.kind == "request":
                method = str(span.attributes.get("http.request.method", ""))
                self._by_status[method, str(span.attributes.get("http.response.status_code", ""))] += 1
                self._requests.observe(method, seconds)
            elif operation.name == _BUILD:
                self._ended_builds += 1
                self._builds.observe("failed" if failed else "done", seconds)
            else:
                (self._images if operation.name in _OF_IMAGES else self._containers).observe(action, seconds)
            if failed and span.kind != "request":
                self._failed[action] += 1

    def lines(self) -> list[tuple[Family, list[str]]]:
        """All samples."""
        with self._lock:
            failed = [sample(FAILED.name, count, labels_text([("action", key)])) for key, count in self._failed.items()]
            requests = [
                sample(REQUESTS.name, count, labels_text([("code", status), ("method", method)]))
                for (method, status), count in self._by_status.items()
            ]
            failed_builds = sample(BUILDS_FAILED.name, self._failed[_BUILD], 'reason="build_failed"')
            return [
                (CONTAINER_ACTIONS, self._containers.samples()),
                (IMAGE_ACTIONS, self._images.samples()),
                (FAILED, failed),
                (BUILDS, [sample(BUILDS.name, self._ended_builds)]),
                (BUILDS_FAILED, [failed_builds]),
                (BUILD_SECONDS, self._builds.samples()),
                (REQUESTS, requests),
                (REQUEST_SECONDS, self._requests.samples()),
            ]
