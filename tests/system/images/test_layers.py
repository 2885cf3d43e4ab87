"""Unpacking layers, also those that are made to harm."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile

import pytest
import zstandard

from darse.core.errors import EngineError, InvalidParameter, SystemFault
from darse.image_spec.media_types import OCI_LAYER
from darse.images.layers.sources import FileSource
from darse.linux.fs.mounts import mount_overlay
from darse.recovery.startup import Recovery


def member(name, kind=tarfile.REGTYPE, content=b"", *, link="", mode=0o644, device=(0, 0), headers=None, uid=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size, info.uid = kind, link, mode, len(content), uid
    info.devmajor, info.devminor = device
    info.pax_headers = headers or {}
    return info, content


def tar(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def unpack(images, archive, diff_id=None):
    blob = images.stores.content.put(archive, OCI_LAYER)
    plain = diff_id or f"sha256:{hashlib.sha256(archive).hexdigest()}"
    await images.stores.layers.ensure(plain, plain, FileSource(images.stores.content.path(blob.digest)))
    return images.stores.layers.path(plain)


async def test_owners_modes_links_times_and_attributes_survive(images):
    root = await unpack(
        images,
        tar(
            member("d", tarfile.DIRTYPE, mode=0o1777),
            member("d/f", content=b"hi", mode=0o4750, uid=1234),
            member("hard", tarfile.LNKTYPE, link="d/f"),
            member("soft", tarfile.SYMTYPE, link="/d/f"),
            member("pipe", tarfile.FIFOTYPE),
            member("cap", content=b"x", headers={"SCHILY.xattr.user.note": "kept"}),
            member("unicode-é-名", content=b"u"),
        ),
    )
    status = os.lstat(root / "d/f")
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_nlink) == (0o4750, 1234, 2)
    assert stat.S_IMODE(os.lstat(root / "d").st_mode) == 0o1777
    assert os.readlink(root / "soft") == "/d/f"
    assert stat.S_ISFIFO(os.lstat(root / "pipe").st_mode)
    assert os.getxattr(root / "cap", "user.note") == b"kept"
    assert (root / "unicode-é-名").read_bytes() == b"u"


async def test_whiteouts_become_overlayfs_own(images):
    root = await unpack(
        images, tar(member("d", tarfile.DIRTYPE, mode=0o755), member("d/.wh.gone"), member("o/.wh..wh..opq"))
    )
    gone = os.lstat(root / "d/gone")
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(root / "o", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
async def test_compressed_layers_have_the_diff_id_of_their_content(images, compress):
    plain = tar(member("f", content=b"x" * 100000))
    root = await unpack(images, compress(plain), f"sha256:{hashlib.sha256(plain).hexdigest()}")
    assert (root / "f").stat().st_size == 100000


@pytest.mark.parametrize(
    "members",
    [
        [member("../escape", content=b"x")],
        [member("a/../../escape", content=b"x")],
        [member("../escape", tarfile.SYMTYPE, link="/")],
        [member(".wh...", content=b"")],
        [member("a/.wh.", content=b"")],
        [member("../.wh.etc")],
        [member("hard", tarfile.LNKTYPE, link="../../../../etc/passwd")],
    ],
)
async def test_paths_that_leave_the_layer_are_refused(images, tmp_path, members):
    with pytest.raises(InvalidParameter, match="is refused"):
        await unpack(images, tar(*members))
    assert not (tmp_path / "escape").exists()
    assert not list((tmp_path / "images/layers").iterdir())
    assert not list((tmp_path / "images/ingest").iterdir())


async def test_absolute_paths_and_links_stay_inside(images):
    root = await unpack(
        images,
        tar(
            member("/absolute", content=b"in"),
            member("real", tarfile.DIRTYPE, mode=0o755),
            member("link", tarfile.SYMTYPE, link="/real"),
            member("link/through", content=b"in"),
        ),
    )
    assert (root / "absolute").read_bytes() == b"in"
    assert (root / "real/through").read_bytes() == b"in"


async def test_a_path_through_a_link_that_leads_out_is_refused(images, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(InvalidParameter, match="is refused"):
        await unpack(images, tar(member("link", tarfile.SYMTYPE, link=str(outside)), member("link/x", content=b"x")))
    assert not list(outside.iterdir())


async def test_attributes_that_steer_overlayfs_are_dropped(images):
    headers = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.fine": "1"}
    root = await unpack(images, tar(member("d", tarfile.DIRTYPE, mode=0o755, headers=headers)))
    assert os.listxattr(root / "d") == ["user.fine"]


async def test_a_layer_that_is_not_what_it_claims_is_refused(images):
    with pytest.raises(InvalidParameter, match="the image says"):
        await unpack(images, tar(member("f")), "sha256:" + "0" * 64)


@pytest.mark.parametrize("cut", [100, 513, 1500])
async def test_a_truncated_layer_is_refused(images, cut):
    with pytest.raises(EngineError):
        await unpack(images, gzip.compress(tar(member("f", content=os.urandom(4000))))[:cut])


async def test_the_same_layer_at_once_is_unpacked_once(images):
    archive = tar(*(member(f"f{number}", content=b"x") for number in range(200)))
    roots = await asyncio.gather(*(unpack(images, archive) for _ in range(8)))
    assert len(set(roots)) == 1
    assert len(list(roots[0].iterdir())) == 200


async def test_what_a_crash_left_is_swept(images, tmp_path):
    kept = await unpack(images, tar(member("f")))
    recovery = Recovery(tmp_path, images.stores.layers._state)
    for name in ("half", "unknown"):
        (tmp_path / f"images/layers/{name}/fs").mkdir(parents=True)
    (tmp_path / "images/ingest/half").mkdir()
    recovery.unfinished.begin("layers", ["sha256:half"])
    images.stores.content.open()
    images.stores.layers.open()
    images.stores.layers.sweep(recovery)
    assert kept.exists()
    assert [path.name for path in (tmp_path / "images/layers").iterdir()] == [kept.parent.name]
    assert not list((tmp_path / "images/ingest").iterdir())
    assert [orphan.name for orphan in recovery.orphans.all()] == ["unknown"]


async def test_parents_that_are_not_listed_are_nobody_elses_to_write(images):
    root = await unpack(
        images, tar(member("a/b/f", content=b"x"), member("c/d/.wh.gone"), member("p", tarfile.FIFOTYPE, mode=0o666))
    )
    assert [stat.S_IMODE(os.lstat(root / path).st_mode) for path in ("a", "a/b", "c", "c/d", "p")] == [0o755] * 4 + [
        0o666
    ]


async def test_capabilities_of_programs_survive_owner_and_hard_links(images):
    net_raw = b"\x01\x00\x00\x02\x00\x20\x00\x00" + b"\0" * 12
    source = tar(
        # tarfile writes attributes as text: these bytes are all ASCII
        member(
            "ping", content=b"#!", uid=7, mode=0o755, headers={"SCHILY.xattr.security.capability": net_raw.decode()}
        ),
        member("ping6", tarfile.LNKTYPE, link="ping"),
    )
    root = await unpack(images, source)
    assert os.getxattr(root / "ping", "security.capability") == net_raw
    assert os.getxattr(root / "ping6", "security.capability") == net_raw


async def test_holes_stay_holes(images, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    made = subprocess.run(
        ["tar", "-C", source, "--sparse", "--format=posix", "-c", "sparse"], check=True, capture_output=True
    )
    root = await unpack(images, made.stdout)
    status = (root / "sparse").stat()
    assert status.st_size == (1 << 30) + 3
    assert status.st_blocks * 512 < 1 << 20
    with open(root / "sparse", "rb") as file:
        file.seek(1 << 30)
        assert file.read() == b"end"


async def test_what_aufs_kept_in_layers_is_left_out(images):
    root = await unpack(
        images, tar(member(".wh..wh.plnk", tarfile.DIRTYPE), member(".wh..wh.plnk/12.34", content=b"x"), member("f"))
    )
    assert os.listdir(root) == ["f"]


async def test_a_full_disk_fails_the_layer(images, tmp_path):
    archive = tar(*(member(f"f{number}", content=os.urandom(300_000)) for number in range(5)))
    blob = images.stores.content.put(archive, OCI_LAYER)
    ingest = tmp_path / "images/ingest"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", ingest], check=True)
    try:
        with pytest.raises(SystemFault, match="no space left"):
            await images.stores.layers.ensure(
                blob.digest, blob.digest, FileSource(images.stores.content.path(blob.digest))
            )
        assert not list(ingest.iterdir())
    finally:
        subprocess.run(["umount", ingest], check=True)


@pytest.mark.parametrize(
    "second",
    [
        member("d/f", content=b"new"),
        member("./d//f", content=b"new"),
        member("through/f", content=b"new"),
        member("d/f", tarfile.SYMTYPE, link="g"),
        member("d/f", tarfile.LNKTYPE, link="g"),
        member("d/f", tarfile.FIFOTYPE),
        member("d/f", tarfile.DIRTYPE),
        member("d", content=b"file"),
        member("through", tarfile.DIRTYPE),
    ],
)
async def test_a_name_that_comes_twice_is_refused(images, second):
    first = (member("d/f", content=b"old"), member("g"), member("through", tarfile.SYMTYPE, link="d"))
    with pytest.raises(InvalidParameter, match="is there twice"):
        await unpack(images, tar(*first, second))


async def test_directories_may_come_twice_and_the_last_says_what_they_are(images):
    root = await unpack(
        images,
        tar(member("d", tarfile.DIRTYPE, mode=0o700), member("d/f"), member("d", tarfile.DIRTYPE, mode=0o1775, uid=7)),
    )
    status = os.lstat(root / "d")
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o1775, 7)


async def test_a_layer_gives_its_archive_back_byte_for_byte(images, tmp_path):
    source = tar(
        member("d", tarfile.DIRTYPE, mode=0o755),
        member("d/f", content=os.urandom(700_001)),
        member("h", tarfile.LNKTYPE, link="d/f"),
        member("d/.wh.gone", content=b"what nobody sees"),
        member("empty"),
        member("n" * 200, content=b"long"),
    )
    source += b"after the end"
    await unpack(images, gzip.compress(source), diff_id := f"sha256:{hashlib.sha256(source).hexdigest()}")
    assert b"".join([piece async for piece in images.stores.layers.archive(diff_id)]) == source
    assert images.stores.layers.archive_size(diff_id) == len(source)
    with open(tmp_path / "written", "wb") as file:
        await images.stores.layers.write_archive(diff_id, file.fileno())
    assert (tmp_path / "written").read_bytes() == source
    await images.stores.layers.verify(diff_id)


@pytest.mark.parametrize("harm", ["changed", "shortened", "missing", "replaced by a pipe", "recipe"])
async def test_a_layer_that_changed_is_told_so(images, harm):
    source = tar(member("f", content=b"text"), member("g", content=b"x"))
    root = await unpack(images, source)
    diff_id = f"sha256:{hashlib.sha256(source).hexdigest()}"
    if harm == "recipe":
        recipe = root.parent / "recipe"
        recipe.write_bytes(recipe.read_bytes()[:-20])
    elif harm in ("changed", "shortened"):
        (root / "f").write_bytes(b"TEXT" if harm == "changed" else b"tex")
    else:
        (root / "f").unlink()
        if harm != "missing":
            os.mkfifo(root / "f")
    with pytest.raises(SystemFault, match="is damaged"):
        await images.stores.layers.verify(diff_id)
    with pytest.raises(SystemFault, match="is damaged"):
        [piece async for piece in images.stores.layers.archive(diff_id)]


def workers():
    """The commands of this process's children that work on layers."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children") as children:
            for child in children.read().split():
                with open(f"/proc/{child}/cmdline") as command:
                    line = command.read()
                if "darse.archive" in line:
                    found.append(line)
    return found


async def test_a_reader_that_goes_away_leaves_no_worker(images):
    source = tar(member("f", content=os.urandom(9_000_000)))
    await unpack(images, source)
    pieces = images.stores.layers.archive(f"sha256:{hashlib.sha256(source).hexdigest()}")
    assert await anext(pieces)
    await pieces.aclose()
    assert not workers()


class Piped:
    """A source that is fed while it is unpacked."""

    def __init__(self, content, size=-1):
        self.content, self.size, self.fed = content, size, None

    def open(self):
        reading, writing = os.pipe2(os.O_CLOEXEC)

        def feed():
            with open(writing, "wb") as file, contextlib.suppress(BrokenPipeError):
                file.write(self.content)

        self.fed = asyncio.create_task(asyncio.to_thread(feed))
        return reading


async def test_a_layer_may_come_through_a_pipe_that_is_as_long_as_it_was_said(images):
    source = tar(member("f", content=os.urandom(3_000_000)))
    diff_id = f"sha256:{hashlib.sha256(source).hexdigest()}"
    packed = gzip.compress(source, 1)
    for size in (len(packed) - 1, len(packed) - 100_000, 5, 0):
        piped = Piped(packed, size)
        with pytest.raises(InvalidParameter, match=r"longer than|Truncated|the image says"):
            await images.stores.layers.ensure(diff_id, diff_id, piped)
        await piped.fed
    await images.stores.layers.ensure(diff_id, diff_id, Piped(packed, len(packed)))
    assert (images.stores.layers.path(diff_id) / "f").stat().st_size == 3_000_000


async def test_a_layer_may_be_a_part_of_a_file(images, tmp_path):
    source = tar(member("f", content=b"in the middle"))
    (tmp_path / "outer").write_bytes(b"before" + source + tar(member("f"), member("g")))
    diff_id = f"sha256:{hashlib.sha256(source).hexdigest()}"
    await images.stores.layers.ensure(diff_id, diff_id, FileSource(tmp_path / "outer", 6, len(source)))
    assert os.listdir(images.stores.layers.path(diff_id)) == ["f"]


async def test_a_layer_that_unpacks_to_more_than_the_limit_is_refused(images, tmp_path):
    source = tar(member("f", content=bytes(5_000_000)))
    (tmp_path / "bomb").write_bytes(gzip.compress(source))
    diff_id = f"sha256:{hashlib.sha256(source).hexdigest()}"
    with pytest.raises(InvalidParameter, match="more than 4000000 bytes"):
        await images.stores.layers.ensure(diff_id, diff_id, FileSource(tmp_path / "bomb"), limit=4_000_000)
    await images.stores.layers.ensure(diff_id, diff_id, FileSource(tmp_path / "bomb"), limit=len(source))


async def test_a_name_that_is_hidden_and_made_again_hides_what_is_below_only(images):
    root = await unpack(
        images,
        tar(
            member(".wh.f"),
            member("f", content=b"new"),
            member(".wh.d"),
            member("d", tarfile.DIRTYPE, mode=0o755),
            member("e", tarfile.DIRTYPE, mode=0o755),
            member(".wh.e"),
            member("g", content=b"kept"),
            member(".wh.g"),
            member(".wh.h"),
            member("h/inner", content=b"x"),
        ),
    )
    assert (root / "f").read_bytes() == b"new"
    assert (root / "g").read_bytes() == b"kept"
    for name in "deh":
        assert os.getxattr(root / name, "trusted.overlay.opaque") == b"y"


async def test_long_names_of_both_kinds_and_large_owners(images):
    long = "/".join(["n" * 100] * 5)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            info, _ = member(f"{long}/{form}", uid=3_000_000_000)
            archive.addfile(info)
        root = await unpack(images, buffer.getvalue())
        assert os.lstat(root / long / str(form)).st_uid == 3_000_000_000


async def test_an_archive_may_end_behind_its_last_content_but_not_within(images):
    whole = tar(member("f", content=b"text"))
    root = await unpack(images, whole[:516])
    assert (root / "f").read_bytes() == b"text"
    with pytest.raises(InvalidParameter, match="Truncated"):
        await unpack(images, whole[:515])


def overlay(tmp_path, images, chain_id, change):
    """Mount an overlay on a layer as for a container, change it, and return its upper directory."""
    upper, work, merged = (tmp_path / name for name in ("upper", "work", "merged"))
    for path in (upper, work, merged):
        path.mkdir()
    mount_overlay([str(images.stores.layers.path(chain_id))], str(upper), str(work), str(merged))
    try:
        change(merged)
    finally:
        subprocess.run(["umount", merged], check=True)
    return upper


async def test_a_commit_holds_what_changed_and_gives_the_same_tree(images, tmp_path):  # noqa: PLR0915
    base = tar(
        member("keep", content=b"below"),
        member("gone", content=b"below"),
        member("d", tarfile.DIRTYPE, mode=0o755),
        member("d/one", content=b"1"),
        member("e", tarfile.DIRTYPE, mode=0o755),
        member("e/two", content=b"2"),
        member("moved", tarfile.DIRTYPE, mode=0o755),
        member("moved/three", content=b"3"),
    )
    await unpack(images, base)
    parent = f"sha256:{hashlib.sha256(base).hexdigest()}"

    def change(root):
        (root / "gone").unlink()
        shutil.rmtree(root / "d")
        shutil.rmtree(root / "e")
        (root / "e").mkdir(mode=0o750)
        (root / "e/new").write_bytes(os.urandom(300_000))
        subprocess.run(["mv", root / "moved", root / "there"], check=True)
        os.link(root / "e/new", root / "linked")
        os.symlink("nowhere", root / "soft")
        os.setxattr(root / "e/new", "user.note", b"a\nb=c")
        os.mkfifo(root / "pipe", 0o640)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(root / "socket"))
        with open(root / "sparse", "wb") as file:
            file.seek(1 << 24)
            file.write(b"middle")
            file.truncate(1 << 25)
        (root / ("n" * 200)).write_text("long")
        os.chown(root / "pipe", 3_000_000, 5)
        (root / "hosts").touch()
        os.utime(root / "soft", (1_700_000_000, 1_700_000_000), follow_symlinks=False)

    upper = overlay(tmp_path, images, parent, change)
    layer = await images.stores.layers.commit(upper, parent, skip=["/hosts"])
    root = images.stores.layers.path(layer.chain_id)
    assert layer.chain_id == f"sha256:{hashlib.sha256(f'{parent} {layer.diff_id}'.encode()).hexdigest()}"
    assert sorted(os.listdir(root)) == sorted(
        ["d", "e", "gone", "linked", "moved", "n" * 200, "pipe", "soft", "sparse", "there"]
    )
    for name in ("gone", "d", "moved"):
        status = os.lstat(root / name)
        assert (stat.S_ISCHR(status.st_mode), status.st_rdev) == (True, 0)
    assert os.getxattr(root / "e", "trusted.overlay.opaque") == b"y"
    assert stat.S_IMODE(os.lstat(root / "e").st_mode) == 0o750
    assert (root / "e/new").samefile(root / "linked")
    assert (root / "e/new").read_bytes() == (upper / "e/new").read_bytes()
    assert not (root / "e/new").samefile(upper / "e/new")
    assert os.getxattr(root / "linked", "user.note") == b"a\nb=c"
    assert (root / "there/three").read_bytes() == b"3"
    assert os.lstat(root / "soft").st_mtime == 1_700_000_000
    status = os.lstat(root / "pipe")
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 3_000_000, 5)
    status = os.lstat(root / "sparse")
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (1 << 25, True)
    assert (root / "sparse").read_bytes() == (upper / "sparse").read_bytes()
    await images.stores.layers.verify(layer.chain_id)
    assert await images.stores.layers.commit(upper, parent, skip=["/hosts"]) == layer
    archive = b"".join([piece async for piece in images.stores.layers.archive(layer.chain_id)])
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        names = file.getnames()
    assert [name for name in names if ".wh." in name] == [".wh.d", "e/.wh..wh..opq", ".wh.gone", ".wh.moved"]
    assert not list((tmp_path / "images/ingest").iterdir())


async def test_a_commit_that_fails_leaves_nothing(images, tmp_path):
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "f").write_bytes(bytes(1_000_000))
    (upper / ".wh.f").touch()
    with pytest.raises(InvalidParameter, match=r"begin with \.wh\."):
        await images.stores.layers.commit(upper, None)
    (upper / ".wh.f").unlink()
    task = asyncio.create_task(images.stores.layers.commit(upper, None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(SystemFault, match="no such file"):
        await images.stores.layers.commit(tmp_path / "nowhere", None)
    assert not list((tmp_path / "images/ingest").iterdir())
    assert not list((tmp_path / "images/layers").iterdir())
    assert not workers()
