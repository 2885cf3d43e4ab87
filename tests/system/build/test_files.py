"""COPY, ADD and what follows from them, on real trees."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest
from tests.support.builds import Builder

from darse.build.solver import OutcomeKind, SolveError

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_files_of_the_context_are_copied_with_owner_and_mode(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("f\n")
    text = (
        "FROM builtin/busybox\nRUN echo 'app:x:1001:1002::/:/bin/sh' >>/etc/passwd\n"
        "COPY --chown=app --chmod=640 a /one/\nCOPY d /two/\n"
    )
    built = await builder.build(text, tmp_path)
    first, second = builder.layer(built.image, -2), builder.layer(built.image)
    status = (first / "one" / "a").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1001, 1002, 0o640)
    assert sorted(str(path.relative_to(second)) for path in second.rglob("*")) == ["two", "two/e", "two/e/f"]
    assert [len(builder.engine.images.stores.layers.path(one).name) for one in built.image.chain_ids]


async def test_a_copy_hits_by_content_and_misses_what_has_changed(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    text = "FROM builtin/busybox\nCOPY a /a\nRUN cp /a /c\n"
    await builder.build(text, tmp_path)
    (tmp_path / "b").write_text("2")
    os.utime(tmp_path / "a", (1, 1))
    again = await builder.build(text, tmp_path)
    found = {name: one.kind for name, one in again.outcomes.items()}
    # The client has other files now, and what is copied of them is as it was.
    assert found.pop("[internal] load build context") is OutcomeKind.EXECUTED
    assert set(found.values()) == {OutcomeKind.CACHED}
    (tmp_path / "a").write_text("2")
    changed = await builder.build(text, tmp_path)
    assert builder.read(changed.image, "c") == b"2"


async def test_the_client_may_change_its_files_after_the_build(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    built = await builder.build("FROM scratch\nCOPY a /a\n", tmp_path)
    (tmp_path / "a").unlink()
    assert builder.read(built.image, "a") == b"1"


async def test_archives_are_unpacked_by_add_alone(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("inner\n")
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "inner", "x/inner")
    text = "FROM scratch\nADD t.tar.gz /added/\nCOPY t.tar.gz /copied/\n"
    built = await builder.build(text, tmp_path)
    assert builder.read(built.image, "added/x/inner") == b"inner\n"
    assert builder.read(built.image, "copied/t.tar.gz") == (tmp_path / "t.tar.gz").read_bytes()


async def test_an_archive_that_climbs_is_contained(builder: Builder, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        entry = tarfile.TarInfo("../../../climbed")
        archive.addfile(entry)
    with pytest.raises(SolveError):
        await builder.build("FROM scratch\nADD t.tar /added/\n", tmp_path)
    assert not Path("/climbed").exists()


async def test_links_of_an_image_lead_nowhere_outside_of_it(builder: Builder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "a").write_text("a\n")
    text = f"FROM builtin/busybox\nRUN ln -s {outside} /out\nCOPY a /out/a\n"
    with pytest.raises(SolveError, match="no such file or directory"):
        await builder.build(text, tmp_path / "context")
    assert not list(outside.iterdir())


async def test_stages_are_copied_from(builder: Builder) -> None:
    text = (
        "FROM builtin/busybox AS one\nRUN mkdir /out && echo 1 >/out/file\n"
        "FROM scratch\nCOPY --from=one /out /\nCOPY --link --from=one /out/file /linked\n"
    )
    built = await builder.build(text)
    assert builder.read(built.image, "file") == b"1\n"
    assert builder.read(built.image, "linked") == b"1\n"
    assert len(built.image.layers) == 2


async def test_what_is_removed_is_hidden(builder: Builder) -> None:
    text = (
        "FROM builtin/busybox\nRUN mkdir /d && touch /d/a /d/b\nRUN rm /d/a && mkdir -p /e\nRUN rm -r /d && mkdir /d\n"
    )
    built = await builder.build(text)
    assert stat.S_ISCHR((builder.layer(built.image, -2) / "d" / "a").stat().st_mode)
    assert os.getxattr(builder.layer(built.image) / "d", "trusted.overlay.opaque") == b"y"


async def test_a_directory_that_is_made_for_a_copy_has_no_mode_of_the_source(builder: Builder, tmp_path: Path) -> None:
    """As BuildKit has it: `/d/` is made with mode 0755 before anything is copied; `/d` is the copied directory."""
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d" / "f").write_text("f\n")
    os.setxattr(tmp_path / "d", "user.from", b"source")
    built = await builder.build("FROM scratch\nCOPY d /made/\nCOPY d /copied\n", tmp_path)
    made, copied = builder.layer(built.image, -2) / "made", builder.layer(built.image) / "copied"
    assert (stat.S_IMODE(made.stat().st_mode), os.listxattr(made)) == (0o755, [])
    assert (stat.S_IMODE(copied.stat().st_mode), os.listxattr(copied)) == (0o700, ["user.from"])
    assert (made / "f").stat().st_ino == (copied / "f").stat().st_ino


async def test_a_directory_of_the_client_is_taken_by_links(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("f\n")
    (tmp_path / "d" / "link").symlink_to("f")
    (tmp_path / "d").chmod(0o750)
    text = (
        "FROM builtin/busybox\nRUN mkdir -p /app/sub && chmod 711 /app && touch /app/sub/own\n"
        "COPY . /app\nRUN ls -R /app\n"
    )
    built = await builder.build(text, tmp_path)
    assert built.log.decode().split("\n")[:4] == ["/app:", "d", "sub", ""]
    copied = builder.layer(built.image, 2) / "app"
    assert sorted(str(path.relative_to(copied)) for path in copied.rglob("*")) == ["d", "d/f", "d/link"]
    assert stat.S_IMODE(copied.stat().st_mode) == 0o711
    assert stat.S_IMODE((copied / "d").stat().st_mode) == 0o750
    assert (copied / "d" / "f").stat().st_ino == (tmp_path / "d" / "f").stat().st_ino


@pytest.mark.parametrize(
    ("base", "copy", "expected"),
    [
        ("mkdir -p /app/d && echo old >/app/d/f && echo kept >/app/d/g", "COPY . /app", ["d", "d/f", "d/g"]),
        ("mkdir /real && ln -s /real /app", "COPY . /app", ["d", "d/f"]),
        ("true", "COPY --chmod=700 . /app/deep/er", ["deep", "deep/er", "deep/er/d", "deep/er/d/f"]),
        ("true", "COPY . /app/deep/er", ["deep", "deep/er", "deep/er/d", "deep/er/d/f"]),
        ("true", "COPY d/ /app/", ["f"]),
        ("true", "COPY d /app/x/", ["x", "x/f"]),
        ("true", "COPY --exclude=d/f . /app", ["d"]),
    ],
)
async def test_copies_of_directories_come_to_the_same_however_they_are_made(
    builder: Builder, tmp_path: Path, base: str, copy: str, expected: list[str]
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("new\n")
    text = (
        f"FROM builtin/busybox\nRUN {base}\n{copy}\nRUN cd /app && find . -mindepth 1 | sort; cat $(find . -name f)\n"
    )
    log = (await builder.build(text, tmp_path)).log.decode().split("\n")
    assert log[: len(expected)] == [f"./{path}" for path in expected]
    assert log[len(expected) :] == (["new", ""] if any(path.endswith("f") for path in expected) else [""])
