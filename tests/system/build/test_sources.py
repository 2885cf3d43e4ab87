"""URLs and git repositories as sources."""

from __future__ import annotations

import hashlib
import http.server
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.builds import Builder
from tests.support.git_server import git, served_repositories

from darse.build.solver import OutcomeKind, SolveError

pytestmark = pytest.mark.asyncio(loop_scope="module")


class _Server(http.server.ThreadingHTTPServer):
    """Serves `content` at any path, with an ETag, and counts what it has sent."""

    content = b"content\n"
    sent = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        tag = f'"{hashlib.sha256(self.server.content).hexdigest()}"'
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.end_headers()
            return
        self.server.sent += 1
        self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    found = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


async def test_a_url_is_a_file_with_the_servers_time(builder: Builder, server: _Server) -> None:
    url = f"http://127.0.0.1:{server.server_port}/dir/file.txt"
    built = await builder.build(f"FROM scratch\nADD {url} /d/\n")
    found = builder.layer(built.image) / "d" / "file.txt"
    assert found.read_bytes() == b"content\n"
    assert found.stat().st_mtime == 1640995200
    assert stat.S_IMODE(found.stat().st_mode) == 0o600


async def test_what_has_not_changed_is_not_downloaded_again(builder: Builder, server: _Server) -> None:
    text = f"FROM scratch\nADD http://127.0.0.1:{server.server_port}/file /file\n"
    await builder.build(text)
    again = await builder.build(text)
    assert server.sent == 1
    assert OutcomeKind.EXECUTED not in {one.kind for one in again.outcomes.values()}
    server.content = b"other\n"
    changed = await builder.build(text)
    assert builder.read(changed.image, "file") == b"other\n"


async def test_a_file_must_have_its_checksum(builder: Builder, server: _Server) -> None:
    digest = hashlib.sha256(server.content).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/sum"
    built = await builder.build(f"FROM scratch\nADD --checksum=sha256:{digest} {url} /sum\n")
    assert builder.read(built.image, "sum") == server.content
    with pytest.raises(SolveError, match="digest mismatch"):
        await builder.build(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} {url} /sum\n")


async def test_a_url_that_is_not_there_is_said(builder: Builder, server: _Server) -> None:
    with pytest.raises(SolveError, match=r"cannot download .*/missing"):
        await builder.build(f"FROM scratch\nADD http://127.0.0.1:{server.server_port}/missing /file\n")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a repository that a server has, and its work tree."""
    work = tmp_path / "served" / "project.git"
    work.mkdir(parents=True)
    tmp_path.chmod(0o755)
    git("init", "-q", cwd=work)
    (work / "file").write_text("1\n")
    (work / "sub").mkdir()
    (work / "sub" / "inner").write_text("inner\n")
    (work / "sub" / "run").write_text("#!/bin/sh\n")
    (work / "sub" / "run").chmod(0o755)
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "one", cwd=work)
    git("tag", "-a", "-m", "first", "v1", cwd=work)
    (work / "file").write_text("2\n")
    git("commit", "-q", "-a", "-m", "two", cwd=work)
    with served_repositories(tmp_path / "served") as url:
        yield f"{url}/project.git", work


async def test_a_commit_is_a_tree(builder: Builder, repository: tuple[str, Path]) -> None:
    url, work = repository
    built = await builder.build(f"FROM scratch\nADD {url} /all/\nADD {url}#v1 /tagged/\nADD {url}#main:sub /part/\n")
    assert builder.read(built.image, "all/file") == b"2\n"
    assert builder.read(built.image, "tagged/file") == b"1\n"
    part = builder.layer(built.image) / "part"
    assert sorted(path.name for path in part.iterdir()) == ["inner", "run"]
    assert (part / "run").stat().st_uid == 0
    assert stat.S_IMODE((part / "run").stat().st_mode) == 0o755
    assert not (builder.layer(built.image, 0) / "all" / ".git").exists()
    del work


async def test_a_branch_that_moves_is_fetched_again(builder: Builder, repository: tuple[str, Path]) -> None:
    url, work = repository
    text = f"FROM scratch\nADD {url}#main /all/\n"
    await builder.build(text)
    again = await builder.build(text)
    assert OutcomeKind.EXECUTED not in {one.kind for one in again.outcomes.values()}
    (work / "file").write_text("3\n")
    git("commit", "-q", "-a", "-m", "three", cwd=work)
    assert builder.read((await builder.build(text)).image, "all/file") == b"3\n"


async def test_the_repository_is_kept_where_that_is_asked_for(builder: Builder, repository: tuple[str, Path]) -> None:
    url, work = repository
    commit = git("rev-parse", "HEAD", cwd=work)
    built = await builder.build(f"FROM scratch\nADD --keep-git-dir --checksum={commit} {url} /all/\n")
    assert (builder.layer(built.image) / "all" / ".git" / "config").exists()
    with pytest.raises(SolveError, match="expected checksum to match"):
        await builder.build(f"FROM scratch\nADD --checksum={'0' * 40} {url} /all/\n")


async def test_what_a_repository_does_not_have_is_said(builder: Builder, repository: tuple[str, Path]) -> None:
    url, _ = repository
    with pytest.raises(SolveError, match="does not contain ref nothing"):
        await builder.build(f"FROM scratch\nADD {url}#nothing /all/\n")
    with pytest.raises(SolveError, match="invalid subdirectory"):
        await builder.build(f"FROM scratch\nADD {url}#main:absent /all/\n")
    with pytest.raises(SolveError, match="git ls-remote failed"):
        await builder.build(f"FROM scratch\nADD {url.replace('project', 'other')} /all/\n")
    repositories = builder.engine.config.data_root / "build" / "git"
    assert not list(repositories.iterdir())
