"""The history of builds as JSON."""

from __future__ import annotations

from typing import Any

from darse.build.history import BuildSummary, ExplainedStep, Explanation, StepLog
from darse.core.times import rfc3339


def summary_document(build: BuildSummary) -> dict[str, Any]:
    """A build as it is listed."""
    return {
        "ID": build.id,
        "State": build.state.value,
        "Names": list(build.names),
        "Image": build.image,
        "Dockerfile": build.dockerfile,
        "Remote": build.remote,
        "Target": build.target,
        "Error": build.error,
        "StartedAt": rfc3339(build.begun_ns),
        "CompletedAt": rfc3339(build.ended_ns),
        "DurationNs": build.ended_ns - build.begun_ns if build.ended_ns else 0,
        "Steps": build.steps,
        "CachedSteps": build.cached,
    }


def explanation_document(found: Explanation) -> dict[str, Any]:
    """A build with what became of its steps, and why."""
    return {**summary_document(found.summary), "Steps": [_step(one, found.summary) for one in found.steps]}


def _step(explained: ExplainedStep, build: BuildSummary) -> dict[str, Any]:
    step, cause = explained.step, explained.cause
    return {
        "Vertex": step.vertex,
        "Name": step.name,
        "State": step.state.value,
        "Internal": step.operation is None,
        "Inputs": list(dict.fromkeys(step.inputs)),
        "Lines": [list(lines) for lines in step.lines],
        "BeginNs": step.begun_ns - build.begun_ns if step.begun_ns else 0,
        "DurationNs": step.ended_ns - step.begun_ns if step.begun_ns and step.ended_ns else 0,
        "Error": step.error,
        "Cause": cause.text,
        "Details": list(cause.details),
        "Because": list(cause.inputs),
    }


def log_document(log: StepLog) -> dict[str, Any]:
    """What a step said."""
    text = log.data.decode("utf-8", "replace")
    return {"Vertex": log.vertex, "Name": log.name, "Clipped": log.clipped, "Text": text}
