"""A data root with one of everything, kept as it was, to be damaged again and again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.engine import BUSYBOX, Done, Engine
from tests.support.waiting import wait_until

# Where objects are, each in an entry of its own.
OBJECTS = ("containers", "snapshots", "volumes", "images/layers", "images/blobs/sha256")


class Bench:
    """An engine, and copies of its data root: `stopped` in order, and `killed`, with a change in the log only."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.data = self.engine.data_root
        self._copies = self.engine.root / "copies"
        self.database = self.data / "state.sqlite"
        self.container = self.layer = ""

    def prepare(self) -> None:
        """Make one of everything, and the copies."""
        engine = self.engine
        engine.up()
        docker = engine.docker
        docker("network", "create", "net").ok()
        docker("volume", "create", "--label", "kept=yes", "data").ok()
        script = "echo rows > /v/table; echo mine > /file; echo said; exit 7"
        assert (
            docker("run", "--name", "ended", "--network", "net", "-v", "data:/v", BUSYBOX, "sh", "-c", script).status
            == 7
        )
        self.container = docker("inspect", "-f", "{{.Id}}", "ended").ok().line
        docker("commit", "ended", "mine:1").ok()
        engine.stop()
        self._copies.mkdir()
        self._copy(self.data, self._copies / "stopped")
        engine.up()
        serial = self.serial()
        docker("volume", "create", "late").ok()
        wait_until(lambda: self.serial() > serial, 10, "the copies of records")
        engine.kill9()
        self._copy(self.data, self._copies / "killed")
        with closing(sqlite3.connect(self._copies / "stopped" / "state.sqlite")) as database:
            row = database.execute("SELECT chain_id FROM layers ORDER BY stored_ns DESC").fetchone()
            self.layer = row[0].removeprefix("sha256:")

    def serial(self) -> int:
        """The number of the newest batch of copies of records."""
        return int((self.data / "records/serial").read_text())

    def restore(self, copy: str = "stopped") -> None:
        """Have the data root as it was; the engine does not run."""
        if self.engine.process is not None and self.engine.process.poll() is None:
            self.engine.kill9()
        shutil.rmtree(self.data)
        self._copy(self._copies / copy, self.data)
        self.engine.log_path.unlink(missing_ok=True)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)

    def refused(self) -> str:
        """Start the engine, which must not start; return what it says, one sentence on one line."""
        done = subprocess.run(self.engine.command(), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1, (done.returncode, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("darsed: ")]
        return line

    def rebuild(self) -> Done:
        """`darse system check --rebuild`."""
        roots = ("--data-root", str(self.data), "--exec-root", str(self.engine.exec_root))
        return self.engine.darse("system", "check", "--rebuild", *roots)

    def names(self, *command: str) -> set[str]:
        """The lines that docker's command prints."""
        return set(self.engine.docker(*command).ok().out.split())

    def everything_is_there(self) -> None:
        """List, look into and use one of everything."""
        assert self.names("ps", "-a", "--format", "{{.Names}} {{.State}}") == {"ended", "exited"}
        assert {"mine:1", f"{BUSYBOX}:latest"} <= self.names("images", "--format", "{{.Repository}}:{{.Tag}}")
        assert "net" in self.names("network", "ls", "--format", "{{.Name}}")
        docker = self.engine.docker
        assert docker("volume", "inspect", "-f", "{{.Labels.kept}}", "data").ok().line == "yes"
        assert docker("inspect", "-f", "{{.State.ExitCode}}", "ended").ok().line == "7"
        assert docker("logs", "ended").ok().line == "said"
        shown = docker("run", "--rm", "-v", "data:/v", "mine:1", "cat", "/file", "/v/table").ok().out
        assert shown == "mine\nrows\n"
        assert docker("start", "-a", "ended").out == "said\n"

    @contextmanager
    def editing(self) -> Iterator[sqlite3.Connection]:
        """The database, to be damaged; nothing of the engine is told."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            yield connection

    def prints(self) -> dict[str, str]:
        """What lies there: a digest of every object, by its place in the data root."""
        return {
            f"{kind}/{entry.name}": _digest(entry)
            for kind in OBJECTS
            for entry in sorted((self.data / kind).iterdir() if (self.data / kind).is_dir() else ())
        }

    def moved(self) -> dict[str, str]:
        """What was moved aside: a digest of every orphan, by its former place."""
        found = {}
        for note in sorted((self.data / "orphans").glob("*/*.json")):
            origin = os.path.relpath(json.loads(note.read_bytes())["origin"], self.data)
            found[origin] = _digest(note.with_suffix(""))
        return found

    def nothing_is_lost(self, before: dict[str, str], said: str) -> None:
        """Every object is as it was, or moved aside, and then `said` names its place."""
        now, moved = self.prints(), self.moved()
        for place, digest in before.items():
            if now.get(place) != digest:
                assert moved.get(place) == digest, f"{place} is neither there nor moved aside"
                assert str(self.data / place) in said, f"nobody was told that {place} was moved"


def _digest(path: Path) -> str:
    """A digest of a tree: names, kinds, modes, owners, and contents."""
    made = hashlib.sha256()
    for where in sorted([path, *path.rglob("*")]):
        status = where.lstat()
        made.update(repr((str(where.relative_to(path)), status.st_mode, status.st_uid, status.st_gid)).encode())
        if where.is_symlink():
            made.update(os.readlink(where).encode())
        elif where.is_file():
            made.update(where.read_bytes())
    return made.hexdigest()
