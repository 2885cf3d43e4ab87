"""The audit log of the API."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until


def test_who_changed_what_is_recorded(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    engine = new_engine("--audit-log", str(log))
    client = engine.darse.popen("run", "--name", "one", "-e", "SECRET=hidden", BUSYBOX, "true")
    client.communicate(timeout=60)
    engine.darse("rm", "one").ok()
    engine.darse("ps", "-a").ok()
    assert engine.darse("rm", "none").status == 1
    wait_until(lambda: "/containers/none" in log.read_text(), what="the record of the last request")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    done = [
        (one["method"], one["path"].partition("/containers/")[2].rpartition("/")[2], one["status"]) for one in records
    ]
    assert ("POST", "create", 201) in done
    assert ("POST", "start", 204) in done
    assert ("DELETE", "one", 204) in done
    assert ("DELETE", "none", 404) in done
    assert {one["uid"] for one in records} == {os.geteuid()}
    assert client.pid in {one["pid"] for one in records}
    assert {one["method"] for one in records} <= {"POST", "DELETE"}
    assert "hidden" not in log.read_text()
    assert records[-1]["time"][:4] == time.strftime("%Y", time.gmtime())
