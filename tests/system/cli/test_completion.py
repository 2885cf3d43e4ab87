"""Completion of files inside containers, running or not, with `ls` or without."""

from __future__ import annotations

import pytest
from tests.support.engine import BUSYBOX, Engine

from darse.cli.command_line.completion import complete
from darse.cli.settings.config import Settings


@pytest.fixture
def settings(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DARSE_HOST", engine.host)
    return Settings()


def test_files_inside_containers(engine: Engine, settings: Settings) -> None:
    program = "mkdir -p /data/sub; touch /data/'a b'; sleep 60"
    engine.darse("run", "-d", "--name", "web", BUSYBOX, "sh", "-c", program).ok()
    engine.darse("create", "--name", "still", BUSYBOX).ok()
    engine.darse("exec", "web", "ls", "/data/sub").ok()
    assert complete(["cp", ""], settings) == ["still:", "web:"]
    assert complete(["cp", "web:/etc/pass"], settings) == ["web:/etc/passwd"]
    assert complete(["cp", "web:/data/"], settings) == ["web:/data/a b", "web:/data/sub/"]
    assert complete(["cp", "still:/etc/pass"], settings) == ["still:/etc/passwd"]
    assert complete(["cp", "still:/et"], settings) == ["still:/etc/"]
    assert complete(["cp", "web:/nonexistent/"], settings) == []
    assert complete(["cp", "none:/"], settings) == []
