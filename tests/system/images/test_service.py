"""Images come and go: load, save, import, remove, and other programs that read and write the same archives."""

import asyncio
import json
import shutil
import subprocess

import pytest
from tests.support import small_images

from darse.api.progress import load_messages
from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound
from darse.core.filters import Filters
from darse.core.object_references import ObjectKind, ObjectReference, ObjectReferences
from darse.image_spec.digests import digest_of
from darse.images import references

BUSYBOX = "builtin/busybox"


def root_file_system(**files):
    return small_images.tar({name: text.encode() for name, text in files.items()})


async def body(content, piece=100_000):
    for start in range(0, len(content), piece):
        yield content[start : start + piece]


async def load(images, content):
    messages = load_messages(lambda report: images.loader.load_images(body(content), report=report), quiet=True)
    return "".join([message["stream"] async for message in messages])


async def import_(images, content, name="", changes=()):
    reference = references.parse_tag(name) if name else None
    return (await images.loader.import_image(body(content), name=reference, changes=changes)).id


async def saved(images, *names):
    return b"".join([piece async for piece in images.saver.save_images(list(names))])


def stored(tmp_path):
    """What the store has on disk: blobs, layers, and what is being written."""
    root = tmp_path / "images"
    return {kind: len(list((root / kind).iterdir())) for kind in ("blobs/sha256", "layers", "ingest")}


EMPTY = {"blobs/sha256": 0, "layers": 0, "ingest": 0}


async def test_what_is_saved_loads_with_the_same_id_and_names(images, tmp_path):
    image = await images.ensure_image(BUSYBOX)
    images.tag_image(BUSYBOX, "example.org/b", "1")
    archive = await saved(images, BUSYBOX, "example.org/b:1")
    for name in (BUSYBOX, "example.org/b:1"):
        await images.deletion.remove_image(name, force=False, prune=True)
    assert stored(tmp_path) == EMPTY
    text = await load(images, archive)
    assert text == "Loaded image: builtin/busybox:latest\nLoaded image: example.org/b:1\n"
    assert images.get_image("example.org/b:1").id == image.id
    assert images.get_image("example.org/b:1").manifest == image.manifest


async def test_builtin_images_are_the_same_each_time(images):
    first = await images.ensure_image(BUSYBOX)
    await images.deletion.remove_image(BUSYBOX, force=False, prune=True)
    assert (await images.ensure_image(BUSYBOX)).id == first.id
    for name in ("busybox", "builtin/nginx", "builtin/busybox:1", "example.org/builtin/busybox"):
        with pytest.raises(NotFound, match="No such image"):
            await images.ensure_image(name)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_skopeo_reads_what_is_saved_and_writes_what_loads(images, tmp_path, kind):
    image = await images.ensure_image(BUSYBOX)
    ours, theirs = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    ours.write_bytes(await saved(images, BUSYBOX))
    name = "example.org/copied:1"
    command = ["skopeo", "copy", "--insecure-policy", "-q", f"{kind}:{ours}", f"{kind}:{theirs}:{name}"]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=60)
    assert await load(images, theirs.read_bytes()) == f"Loaded image: {name}\n"
    assert [layer.diff_id for layer in images.get_image(name).layers] == [layer.diff_id for layer in image.layers]


@pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed")
async def test_an_image_that_umoci_made_loads(images, tmp_path):
    def made():
        layout = tmp_path / "layout"
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/file").write_text("text")
        for command in (
            ["umoci", "init", "--layout", layout],
            ["umoci", "new", "--image", f"{layout}:one"],
            ["umoci", "insert", "--image", f"{layout}:one", tmp_path / "tree", "/tree"],
            ["umoci", "config", "--image", f"{layout}:one", "--config.cmd", "/tree/file"],
        ):
            subprocess.run(command, check=True, timeout=60)
        return subprocess.run(["tar", "-C", layout, "-c", "."], check=True, capture_output=True).stdout

    text = await load(images, await asyncio.to_thread(made))
    image = images.get_image(text.split()[-1])
    assert image.container_config().Cmd == ["/tree/file"]
    assert (images.stores.layers.path(image.chain_ids[-1]) / "tree/file").read_text() == "text"


async def test_a_load_that_fails_changes_nothing(images, tmp_path):
    await images.ensure_image(BUSYBOX)
    archive = await saved(images, BUSYBOX)
    await images.deletion.remove_image(BUSYBOX, force=False, prune=True)
    for end in range(1, len(archive), len(archive) // 12):
        with pytest.raises(EngineError):
            await load(images, archive[:end])
        assert stored(tmp_path) == EMPTY


async def test_a_good_layer_below_a_bad_one_goes_too(images, tmp_path):
    good, bad = root_file_system(f="x"), root_file_system(**{"../g": "x"})
    diff_ids = [digest_of(content) for content in (good, bad)]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    manifest = json.dumps([{"Config": "c", "Layers": ["1", "2"]}]).encode()
    with pytest.raises(InvalidParameter, match="is refused"):
        await load(
            images,
            root_file_system(
                **{"manifest.json": manifest.decode(), "c": config.decode(), "1": good.decode(), "2": bad.decode()}
            ),
        )
    assert stored(tmp_path) == EMPTY


async def test_removals_take_nothing_from_loads_and_saves_at_work(images, tmp_path):
    await images.ensure_image(BUSYBOX)
    archive = await saved(images, BUSYBOX)

    async def churn(name):
        for number in range(6):
            await import_(images, root_file_system(f=f"{name}{number}"), f"{name}:{number}")
            await images.deletion.remove_image(f"{name}:{number}", force=False, prune=True)

    async def reload():
        for _ in range(4):
            await load(images, archive)
            assert len(await saved(images, BUSYBOX)) == len(archive)

    await asyncio.gather(churn("x"), reload(), churn("y"), reload())
    await images.deletion.remove_image(BUSYBOX, force=False, prune=True)
    assert stored(tmp_path) == EMPTY


async def test_a_save_is_whole_though_its_image_is_removed_meanwhile(images, tmp_path):
    await images.ensure_image(BUSYBOX)
    expected = await saved(images, BUSYBOX)
    pieces = images.saver.save_images([BUSYBOX])
    got = [await anext(pieces)]
    await images.deletion.remove_image(BUSYBOX, force=False, prune=True)
    got += [piece async for piece in pieces]
    assert b"".join(got) == expected
    assert stored(tmp_path) == EMPTY


async def test_a_forced_removal_leaves_a_stopped_container_its_layers(images, state, tmp_path):
    image = await images.ensure_image(BUSYBOX)
    images.snapshots.prepare("c" * 64, image)
    images.snapshots.make_directories("c" * 64)
    used = ObjectReference(ObjectKind.IMAGE, image.id)
    ObjectReferences(state).replace_references("c" * 64, [used], running=False)
    with pytest.raises(Conflict, match="must force"):
        await images.deletion.remove_image(BUSYBOX, force=False, prune=True)
    items = await images.deletion.remove_image(BUSYBOX, force=True, prune=True)
    assert [item.Untagged or item.Deleted for item in items] == ["builtin/busybox:latest", image.id]
    assert all((images.stores.layers.path(chain) / "bin/busybox").exists() for chain in image.chain_ids)
    with pytest.raises(NotFound):
        images.get_image(image.id)
    await images.remove_snapshot("c" * 64)
    assert stored(tmp_path) == EMPTY


async def test_a_load_that_takes_a_name_says_so(images):
    await images.ensure_image(BUSYBOX)
    archive = await saved(images, BUSYBOX)
    old = await import_(images, root_file_system(f="x"), BUSYBOX)
    text = await load(images, archive)
    assert text.startswith(f"The image builtin/busybox:latest already exists, renaming the old one with ID {old} to")
    assert images.get_image(old).id == old


async def test_a_digest_removes_the_names_of_its_repository(images):
    image = await images.ensure_image(BUSYBOX)
    images.tag_image(BUSYBOX, "example.org/b", "1")
    items = await images.deletion.remove_image(f"{BUSYBOX}@{image.manifest.digest}", force=False, prune=True)
    assert [item.Untagged for item in items] == ["builtin/busybox:latest"]
    assert images.get_image("example.org/b:1").id == image.id


async def test_no_container_is_prepared_from_an_image_that_is_gone(images):
    image = await images.ensure_image(BUSYBOX)
    await images.deletion.remove_image(BUSYBOX, force=False, prune=True)
    with pytest.raises(NotFound, match="No such image"):
        images.snapshots.prepare("c" * 64, image)


async def test_nobody_else_passes_to_layers_and_snapshots(images, tmp_path):
    assert oct((tmp_path / "images/layers").stat().st_mode & 0o777) == "0o700"
    assert oct((tmp_path / "snapshots").stat().st_mode & 0o777) == "0o700"


async def test_lists_are_filtered(images):
    await images.ensure_image(BUSYBOX)
    old = images.get_image(BUSYBOX).id
    new = await import_(images, root_file_system(f="1"), "example.org/team/x:1", ["LABEL a=b"])
    dangling = await import_(images, root_file_system(f="2"))

    def ids(**filters):
        found = images.views.list_images(Filters({key: [value] for key, value in filters.items()}))
        return {summary.Id for summary in found}

    assert ids() == {old, new, dangling}
    assert ids(dangling="true") == {dangling}
    assert ids(dangling="false") == {old, new}
    assert ids(label="a=b") == {new}
    assert ids(reference="builtin/*") == {old}
    assert ids(reference="example.org/*/x") == {new}
    assert ids(before="example.org/team/x:1") == {old}
    assert ids(since=BUSYBOX) >= {new}
    assert ids(until="1s") >= {old}
    pruned = await images.deletion.prune_images(Filters({}))
    assert [item.Deleted for item in pruned.ImagesDeleted][:1] == [dangling]
    assert ids() == {old, new}


async def test_disk_usage_adds_up_to_what_du_finds(images, tmp_path):
    shared = {f"f{number}": "x" * number * 37 for number in range(200)}
    for name in ("one", "two"):
        await import_(images, root_file_system(**shared), f"{name}:1", [f"LABEL name={name}"])
    await import_(images, root_file_system(other="y" * 50_000), "three:1")
    sizes = await images.disk_usage.of_layers()
    summaries = {one.RepoTags[0]: one for one in images.views.list_images(Filters(), shared_size=True)}
    assert summaries["one:1"].Size == summaries["one:1"].SharedSize == summaries["two:1"].SharedSize
    assert summaries["three:1"].SharedSize == 0

    def du(*names):
        paths = [tmp_path / "images" / name for name in names]
        done = subprocess.run(["du", "-s", "-c", "-B1", *paths], check=True, capture_output=True, text=True)
        return int(done.stdout.split()[-2])

    directories = 4 * 4096  # those that hold layers, documents and downloads
    assert 0 <= du("layers") - sum(sizes.values()) <= directories
    assert 0 <= du("layers", "blobs", "partials") - await images.disk_usage.total() <= directories
    before = du("layers", "blobs")
    pruned = await images.deletion.prune_images(Filters({"dangling": ["false"]}))
    assert len([item for item in pruned.ImagesDeleted if item.Untagged]) == 3
    assert 0 <= before - du("layers", "blobs") - pruned.SpaceReclaimed <= directories
    assert await images.disk_usage.of_layers() == {}
