"""Third-party clients are brought once for each version, and one that cannot be brought does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support import clients

# Like Go: `go mod download` says where the module is, `go build … -o FILE PACKAGE` makes a program.
GO = """#!/bin/sh
echo "$@" >> {log}
case "$1 $*" in
mod*crane*|mod*go-containerregistry*) exit {status} ;;
mod*) printf '{{"Dir": "{module}"}}' ;;
build*) while [ "$1" != -o ]; do shift; done; printf '#!/bin/sh' > "$2"; chmod 755 "$2" ;;
esac
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go that knows no crane; the file with its command lines."""
    module, programs, log = tmp_path / "module", tmp_path / "programs", tmp_path / "log"
    for directory in (module, programs):
        directory.mkdir()
    for name in ("go.mod", "go.sum"):
        (module / name).touch()
    log.touch()
    (programs / "go").write_text(GO.format(log=log, module=module, status=1))
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(clients, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(clients, "REPOSITORY", tmp_path)
    return log


def test_the_others_are_brought_when_one_cannot_be(go: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert clients.main(["crane", "docker-buildx"]) == 1
    assert "crane is left out: go ended with 1" in capfd.readouterr().out
    assert clients.found("crane") is None
    assert clients.found("docker-buildx") == str(clients.CACHE / "bin" / "docker-buildx")


def test_go_compiles_few_packages_at_a_time(go: Path) -> None:
    clients.main(["docker-buildx"])
    assert "build -p=2 " in go.read_text()


def test_a_client_is_brought_once_for_each_version(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients.main(["docker-buildx"])
    clients.main(["docker-buildx"])
    assert go.read_text().count("build ") == 1
    newer = clients.SOURCES["docker-buildx"]._replace(version="v9.9.9")
    monkeypatch.setitem(clients.SOURCES, "docker-buildx", newer)
    clients.main(["docker-buildx"])
    assert go.read_text().count("build ") == 2


def test_what_was_installed_by_other_means_is_taken(go: Path, tmp_path: Path) -> None:
    installed = tmp_path / "programs" / "docker-buildx"
    installed.write_text("#!/bin/sh")
    installed.chmod(0o755)
    assert clients.main(["docker-buildx"]) == 0
    assert go.read_text() == ""


def test_without_the_tool_a_client_is_left_out_by_name(
    go: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert clients.main(["docker-buildx"]) == 0
    assert capsys.readouterr().out == "docker-buildx is left out: go is not installed\n"


def test_a_package_of_npm_has_a_version(go: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clients, "NODE_MODULES", tmp_path)
    assert not clients.is_there("dockerode")
    (tmp_path / "dockerode").mkdir()
    (tmp_path / "dockerode" / "package.json").write_text(json.dumps({"version": "4.0.9"}))
    assert clients.is_there("dockerode")
    (tmp_path / "dockerode" / "package.json").write_text(json.dumps({"version": "3.0.0"}))
    assert not clients.is_there("dockerode")
