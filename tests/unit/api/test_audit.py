"""Which requests are recorded, and what of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darse.api.audit import RequestAudit, open_audit
from darse.audit import AuditLog
from darse.core.config import EngineConfig


def recorded(tmp_path: Path, method: str, path: str, **headers: str) -> list[dict[str, Any]]:
    """What one request leaves."""
    audit = RequestAudit(AuditLog(tmp_path / "log"))
    request: Any = SimpleNamespace(
        method=method,
        path=path,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        transport=None,
    )
    if (begun := audit.begin(request)) is not None:
        audit.end(begun, 204)
    audit.close()
    return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/containers/create"),
        ("POST", "/v1.51/containers/one/start"),
        ("DELETE", "/images/busybox"),
        ("PUT", "/containers/one/archive"),
        ("POST", "/containers/wait/start"),
        ("POST", "/build"),
        ("POST", "/grpc"),
        ("POST", "/exec/one/start"),
        ("GET", "/v1.51/containers/one/attach/ws"),
    ],
)
def test_what_changes_something_is_recorded(tmp_path: Path, method: str, path: str) -> None:
    (record,) = recorded(tmp_path, method, path)
    assert (record["door"], record["method"], record["path"], record["status"]) == ("api", method, path, 204)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/containers/json"),
        ("HEAD", "/_ping"),
        ("POST", "/containers/one/wait"),
        ("POST", "/v1.51/containers/one/resize"),
        ("POST", "/exec/one/resize"),
    ],
)
def test_what_changes_nothing_is_not(tmp_path: Path, method: str, path: str) -> None:
    assert recorded(tmp_path, method, path) == []


def test_whom_a_request_is_for_is_recorded(tmp_path: Path) -> None:
    (record,) = recorded(tmp_path, "POST", "/containers/one/stop", Darse_User="a" * 100)
    assert record["user"] == "a" * 64


def test_there_is_no_log_by_default(tmp_path: Path) -> None:
    assert open_audit(EngineConfig()) is None
    audit = open_audit(EngineConfig(audit_log=tmp_path / "log"))
    assert audit is not None
    audit.close()
