"""`system check`: what it finds in a store that somebody damaged, and what it can repair."""

import json
import re
import shutil

import msgspec
import pytest
from tests.support import small_images
from tests.support.engine import BUSYBOX
from tests.support.registry import Registry, needs_registry

from darse.core.errors import NotFound
from darse.image_spec.digests import digest_of
from darse.image_spec.media_types import OCI_MANIFEST


def tar(**files):
    return small_images.tar({name: text.encode() for name, text in files.items()})


async def body(content):
    yield content


async def load(images, archive):
    await images.loader.load_images(body(archive))


def docker_archive(name, *layers):
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}})
    members = {f"{number}.tar": layer.decode() for number, layer in enumerate(layers)}
    table = json.dumps([{"Config": "c.json", "RepoTags": [name], "Layers": list(members)}])
    return tar(**members, **{"c.json": config, "manifest.json": table})


async def check(images, containers=(), *, repair=False):
    """The findings, and how many problems are left."""
    messages = [message async for message in images.fsck.check(containers, repair=repair)]
    return [message for message in messages if message.finding], messages[-1].problems


def damage(images, chain_id, text="other"):
    (path,) = (one for one in images.stores.layers.path(chain_id).rglob("*") if one.is_file() and not one.is_symlink())
    path.write_text(text)


@pytest.fixture
async def one(images):
    """An image of two layers."""
    await load(images, docker_archive("one:1", tar(a="lower"), tar(b="upper")))
    return images.get_image("one:1")


async def test_a_sound_store_has_no_findings(images, one):
    image = await images.ensure_image(BUSYBOX)
    images.snapshots.prepare("c" * 64, image)
    images.snapshots.make_directories("c" * 64)
    assert await check(images, ["c" * 64]) == ([], 0)
    assert await check(images, ["c" * 64], repair=True) == ([], 0)


async def test_a_damaged_layer_is_told_and_kept_where_nothing_can_replace_it(images, one):
    damage(images, one.chain_ids[0])
    for repair in (False, True):
        (found,), problems = await check(images, repair=repair)
        assert (found.level, found.subject, problems) == ("problem", f"layer {one.chain_ids[0]}", 1)
        assert "changed" in found.finding
        assert "load or build it again" in found.advice
    assert images.stores.layers.exists(one.chain_ids[0])


async def test_a_damaged_layer_is_made_again_of_the_same_archive_on_another_base(images, one):
    await load(images, docker_archive("two:1", tar(c="another base"), tar(b="upper")))
    damage(images, one.chain_ids[1])
    (found,), problems = await check(images, repair=True)
    assert (found.repaired, problems) == (True, 0)
    assert (images.stores.layers.path(one.chain_ids[1]) / "b").read_text() == "upper"
    assert await check(images) == ([], 0)


async def test_a_layer_without_its_directory_is_missing(images, one):
    shutil.rmtree(images.stores.layers.path(one.chain_ids[1]).parent)
    (found,), problems = await check(images)
    assert (found.finding, problems) == ("its directory is missing", 1)


async def test_a_layer_that_a_registry_has_is_dropped_so_that_a_pull_brings_it(images, one):
    for layer in one.layers:
        images.stores.compressed.add(layer.diff_id, layer.blob, "docker.io/library/one")
    digest = images.stores.images.find("one:1").target.digest
    damage(images, one.chain_ids[0])
    (found,), problems = await check(images)
    assert (found.pull, found.advice, problems) == (f"one@{digest}", f"pull one@{digest} again", 1)
    assert images.stores.layers.exists(one.chain_ids[0])
    (found,), problems = await check(images, repair=True)
    assert (found.pull, found.repaired, problems) == (f"one@{digest}", False, 1)
    assert not images.stores.layers.exists(one.chain_ids[0])
    with pytest.raises(NotFound, match="No such image"):
        images.snapshots.prepare("c" * 64, one)
    await load(images, docker_archive("one:1", tar(a="lower"), tar(b="upper")))
    assert await check(images) == ([], 0)


async def test_a_manifest_that_was_made_here_is_made_again(images, one):
    for spoil in (lambda path: path.write_text("{}"), lambda path: path.unlink()):
        spoil(images.stores.content.path(one.manifest.digest))
        (found,), problems = await check(images)
        assert (found.subject, problems) == (f"document {one.manifest.digest}", 1)
        (found,), problems = await check(images, repair=True)
        assert (found.repaired, problems) == (True, 0)
        assert await check(images) == ([], 0)


async def test_a_lost_config_is_told(images, one):
    images.stores.content.path(one.id).write_text("{}")
    findings, problems = await check(images, repair=True)
    assert problems
    assert f"document {one.id}" in [found.subject for found in findings]


async def test_what_nothing_needs_goes(images, one):
    stranger = images.stores.content.put(b"stranger", OCI_MANIFEST)
    directory = images.stores.layers.path(one.chain_ids[0]).parents[1] / "half"
    (directory / "fs").mkdir(parents=True)
    findings, problems = await check(images)
    assert {found.subject for found in findings} == {f"document {stranger.digest}", f"directory {directory}"}
    assert problems == 0
    findings, _ = await check(images, repair=True)
    assert {found.subject for found in findings if found.repaired} == {f"document {stranger.digest}"}
    (left,), problems = await check(images)
    assert (left.subject, left.advice, problems) == (f"directory {directory}", "the next start moves it aside", 0)


async def test_a_row_that_is_not_what_its_config_says_is_derived_again(images, one):
    wrong = msgspec.structs.replace(one, config=msgspec.structs.replace(one.config, author="nobody"))
    images.stores.images.replace(wrong)
    (found,), problems = await check(images, repair=True)
    assert (found.finding, found.repaired, problems) == ("its row is not what its config says", True, 0)
    assert images.get_image("one:1") == one


async def test_containers_that_lost_something_are_told(images, one):
    images.snapshots.prepare("c" * 64, one)
    images.snapshots.make_directories("c" * 64)
    shutil.rmtree(images.snapshots.overlay("c" * 64).upper)
    findings, _ = await check(images, ["c" * 64, "d" * 64])
    assert {(found.subject[10:11], found.finding.rpartition("/")[2]) for found in findings} == {
        ("c", "upper is missing"),
        ("d", "it has no writable layer"),
    }
    findings, _ = await check(images, [])
    assert [found.subject for found in findings] == [f"writable layer {'c' * 64}"]


async def test_nothing_is_taken_from_a_load_beside_it(images):
    async with images.lease():
        images.stores.content.put(b"coming", OCI_MANIFEST)
        assert await check(images, repair=True) == ([], 0)
        assert images.stores.content.has(digest_of(b"coming"))


def test_the_command_tells_and_its_status_says_it(new_engine):
    engine = new_engine()
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    done = engine.darse("system", "check").ok()
    assert re.fullmatch(
        r"1 image, 1 layer, 2 documents, \d[\d.]*MB looked at: 0 findings, 0 problems left\n", done.out
    ), done.out
    image = json.loads(engine.docker("inspect", BUSYBOX).ok().out)[0]
    layer = image["RootFS"]["Layers"][0]
    motd = engine.data_root / "images/layers" / layer[7:] / "fs/etc/group"
    text = motd.read_text()
    motd.write_text("root:x:1:\n")
    try:
        done = engine.darse("system", "check")
        assert done.status == 1
        assert f"PROBLEM   layer {layer}: " in done.out
        assert done.out.endswith("1 finding, 1 problem left\n")
        (line,) = engine.darse("system", "check", "--format", "json").out.splitlines()
        assert json.loads(line)["subject"] == f"layer {layer}"
    finally:
        motd.write_text(text)
    engine.darse("system", "check", "--repair").ok()


@needs_registry
def test_what_a_registry_has_is_pulled_again(engine):
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    with Registry() as registry:
        name = f"{registry.address}/team/box:1"
        imported = engine.docker("import", "-", name, input=tar(hello="hi")).ok().line
        engine.docker("push", name).ok()
        engine.docker("rmi", name).ok()
        engine.docker("pull", name).ok()
        layer = json.loads(engine.docker("inspect", name).ok().out)[0]["RootFS"]["Layers"][0]
        file = engine.data_root / "images/layers" / layer[7:] / "fs/hello"
        file.write_text("ho")
        done = engine.darse("system", "check")
        assert (done.status, f"-> pull {registry.address}/team/box@sha256:" in done.out) == (1, True), done.out
        done = engine.darse("system", "check", "--repair").ok()
        assert done.out.endswith("1 finding, 0 problems left\n")
        assert file.read_text() == "hi"
        assert json.loads(engine.docker("inspect", name).ok().out)[0]["Id"] == imported
        engine.docker("rmi", "-f", imported).ok()
