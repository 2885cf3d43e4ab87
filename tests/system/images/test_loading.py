"""Archives of every kind come in as a stream, and go out again whole."""

import asyncio
import bz2
import gzip
import io
import json
import lzma
import socket
import tarfile

import pytest
import zstandard

from darse.api.progress import load_messages
from darse.archive.process import OnConnection
from darse.core.errors import EngineError, InvalidParameter, NotFound
from darse.image_spec import platforms
from darse.image_spec.digests import digest_of
from darse.image_spec.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from darse.images.archive import reader
from darse.images.archive.layout import blob_name

HOST = platforms.host().architecture
OTHER = "s390x"


def tar(members):
    """A tar archive of (name, bytes), or (name, link target) where the second is text."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def encoded(document):
    return json.dumps(document).encode()


def config_of(*layers, architecture=HOST, **more):
    diff_ids = [digest_of(layer) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return encoded({"architecture": architecture, "os": "linux", "rootfs": rootfs, **more})


def described(content, media_type, **more):
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


def oci_image(architecture, *layers, form=lambda layer: layer, suffix=""):
    """An image's blobs, and the descriptor of its manifest."""
    config = config_of(*layers, architecture=architecture)
    forms = [form(layer) for layer in layers]
    manifest = encoded(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described(config, OCI_CONFIG),
            "layers": [described(one, OCI_LAYER + suffix) for one in forms],
        }
    )
    platform = {"os": "linux", "architecture": architecture}
    return [config, manifest, *forms], described(manifest, OCI_MANIFEST, platform=platform)


def oci_archive(blobs, top, name="multi.example/x:1"):
    members = [(blob_name(digest_of(blob)), blob) for blob in blobs]
    index = {"schemaVersion": 2, "manifests": [{**top, "annotations": {"io.containerd.image.name": name}}]}
    return tar([*members, ("index.json", encoded(index)), ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')])


def docker_archive(config, layer, name="one.example/x:1"):
    manifest = encoded([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}])
    return tar([("config.json", config), ("layer.tar", layer), ("manifest.json", manifest)])


def two_platforms():
    ours, our_manifest = oci_image(HOST, tar([("arch", HOST.encode())]))
    theirs, their_manifest = oci_image(OTHER, tar([("arch", OTHER.encode())]))
    index = encoded({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [their_manifest, our_manifest]})
    return oci_archive([*theirs, *ours, index], described(index, OCI_INDEX)), index


async def body(content, piece=100_000):
    for start in range(0, len(content), piece):
        yield content[start : start + piece]


async def load(images, content, **options):
    messages = load_messages(
        lambda report: images.loader.load_images(body(content), report=report, **options), quiet=True
    )
    return "".join([message["stream"] async for message in messages])


async def saved(images, *names, wanted=()):
    return b"".join([piece async for piece in images.saver.save_images(list(names), wanted)])


def stored(tmp_path):
    root = tmp_path / "images"
    return {kind: len(list((root / kind).iterdir())) for kind in ("blobs/sha256", "layers", "ingest")}


def content_of(images, reference, path, platform=None):
    image = images.get_image(reference, platform)
    return (images.stores.layers.path(image.chain_ids[-1]) / path).read_text()


EMPTY = {"blobs/sha256": 0, "layers": 0, "ingest": 0}


async def test_an_index_keeps_its_platforms_and_gives_them_back(images, tmp_path):
    archive, index = two_platforms()
    assert await load(images, archive) == "Loaded image: multi.example/x:1\n"
    assert images.stores.images.find("multi.example/x:1").target.digest == digest_of(index)
    assert content_of(images, "multi.example/x:1", "arch") == HOST
    assert content_of(images, "multi.example/x:1", "arch", platforms.parse(f"linux/{OTHER}")) == OTHER
    again = await saved(images, "multi.example/x:1")
    await images.deletion.remove_image("multi.example/x:1", force=False, prune=True)
    assert stored(tmp_path) == EMPTY
    await load(images, again)
    assert images.stores.images.find("multi.example/x:1").target.digest == digest_of(index)
    assert len(images.stores.images) == 2


async def test_one_platform_of_several_is_saved_loaded_and_removed(images, tmp_path):
    archive, _ = two_platforms()
    theirs = platforms.parse(f"linux/{OTHER}")
    await load(images, archive, platforms=[theirs])
    assert content_of(images, "multi.example/x:1", "arch") == OTHER
    with pytest.raises(NotFound, match=f"does not provide the specified platform \\(linux/{HOST}\\)"):
        images.get_image("multi.example/x:1", platforms.host())
    await load(images, archive)
    one = await saved(images, "multi.example/x:1", wanted=[theirs])
    removed = await images.deletion.remove_image("multi.example/x:1", force=False, prune=True, platforms=[theirs])
    assert not [item for item in removed if item.Untagged]
    assert content_of(images, "multi.example/x:1", "arch") == HOST
    assert len(images.stores.images) == 1
    await load(images, one)
    assert images.get_image("multi.example/x:1").config.architecture == OTHER
    with pytest.raises(InvalidParameter, match="does not provide the specified platform"):
        await load(images, archive, platforms=[platforms.parse("linux/riscv64")])


async def test_lists_show_an_indexs_manifests(images):
    archive, index = two_platforms()
    await load(images, archive)
    (summary,) = images.views.list_images(_no_filters(), manifests=True, shared_size=True)
    assert summary.Descriptor.digest == digest_of(index)
    assert summary.RepoDigests == [f"multi.example/x@{digest_of(index)}"]
    found = {one.ImageData.Platform.architecture: one for one in summary.Manifests}
    assert set(found) == {HOST, OTHER}
    assert all(one.Available and one.Kind == "image" for one in found.values())
    assert summary.Size == sum(one.ImageData.Size.Unpacked for one in found.values())
    for image in images.stores.images:
        (size,) = (one.Size for one in found.values() if image.manifest.digest == one.ID)
        archives = sum(layer.blob.size for layer in image.layers)
        # The archives can be had, and take no space: they are rebuilt of the unpacked layers.
        assert size.Content == image.manifest.size + image.config_size + archives
        assert size.Total < archives + sum(images.stores.layers.size(chain) for chain in image.chain_ids) + size.Content
    assert images.views.history("multi.example/x:1", platforms.parse(f"linux/{OTHER}"))[0].Id != summary.Id


def _no_filters():
    from darse.core.filters import Filters

    return Filters()


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, zstandard.ZstdCompressor().compress, lzma.compress, bz2.compress],
    ids=["gzip", "zstd", "xz", "bzip2"],
)
async def test_archives_may_be_compressed(images, compress):
    archive, _ = two_platforms()
    assert await load(images, compress(archive)) == "Loaded image: multi.example/x:1\n"


@pytest.mark.parametrize(
    ("compress", "suffix"), [(gzip.compress, "+gzip"), (zstandard.ZstdCompressor().compress, "+zstd")]
)
async def test_layers_may_be_compressed_and_their_forms_are_remembered(images, compress, suffix):
    layer = tar([("f", b"x" * 10_000)])
    blobs, top = oci_image(HOST, layer, form=compress, suffix=suffix)
    await load(images, oci_archive(blobs, top))
    (known,) = images.stores.compressed.known(digest_of(layer))
    assert known.descriptor.media_type == OCI_LAYER + suffix
    assert known.descriptor.digest == digest_of(blobs[-1])
    # It comes out as a plain archive, with a manifest for that.
    again = await saved(images, "multi.example/x:1")
    await load(images, again)
    with tarfile.open(fileobj=io.BytesIO(again)) as archive:
        assert blob_name(digest_of(layer)) in archive.getnames()


async def test_a_layer_that_is_not_what_its_manifest_says_is_refused(images, tmp_path):
    layer = tar([("f", b"x")])
    blobs, top = oci_image(HOST, layer, form=gzip.compress, suffix="+gzip")
    archive = oci_archive(blobs, top).replace(gzip.compress(layer)[-8:], bytes(8))
    with pytest.raises(InvalidParameter):
        await load(images, archive)
    other = gzip.compress(layer, 1, mtime=7)
    members = [(blob_name(digest_of(blob)), blob) for blob in blobs[:-1]]
    members += [(blob_name(digest_of(blobs[-1])), other), ("index.json", encoded({"manifests": [top]}))]
    with pytest.raises(InvalidParameter, match="claims to be"):
        await load(images, tar(members))
    assert stored(tmp_path) == EMPTY


async def test_what_old_dockers_wrote_loads(images):
    lower, upper = tar([("a", b"1")]), tar([("b", b"2")])
    config = config_of(lower, upper, lower, history=[{"created_by": "x"}] * 3)
    table = [{"Config": "c.json", "RepoTags": ["old:1"], "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]}]
    archive = tar(
        [
            ("1/VERSION", b"1.0"),
            ("1/layer.tar", lower),
            ("2/VERSION", b"1.0"),
            ("2/layer.tar", upper),
            ("3/layer.tar", "../1/layer.tar"),
            ("c.json", config),
            ("manifest.json", encoded(table)),
            ("repositories", encoded({"old": {"1": "3"}})),
        ]
    )
    assert await load(images, archive) == "Loaded image: old:1\n"
    chain = images.get_image("old:1").chain_ids
    assert len(set(chain)) == 3
    assert (
        (images.stores.layers.path(chain[0]) / "a").read_text()
        == (images.stores.layers.path(chain[2]) / "a").read_text()
        == "1"
    )


async def test_what_docker_wrote_before_1_10_loads(images):
    lower, upper = tar([("a", b"1")]), tar([("b", b"2")])
    top = {"id": "bb", "parent": "a", "config": {"Cmd": ["/b"]}, "architecture": "amd64", "os": "linux"}
    archive = tar(
        [
            ("a/json", encoded({"id": "a"})),
            ("a/layer.tar", lower),
            ("bb/json", encoded(top)),
            ("bb/layer.tar", upper),
            ("repositories", encoded({"ancient": {"latest": "bb"}})),
        ]
    )
    assert await load(images, archive) == "Loaded image: ancient:latest\n"
    image = images.get_image("ancient")
    assert image.container_config().Cmd == ["/b"]
    assert [layer.diff_id for layer in image.layers] == [digest_of(lower), digest_of(upper)]


async def test_layers_that_are_here_are_not_unpacked_again(images, monkeypatch):
    archive, _ = two_platforms()
    await load(images, archive)

    async def never(*_, **__):
        raise AssertionError("a layer was unpacked")

    monkeypatch.setattr(images.stores.layers, "stage", never)
    assert await load(images, archive) == "Loaded image: multi.example/x:1\n"


async def test_a_member_that_no_image_needs_may_be_anything(images, tmp_path):
    blobs, top = oci_image(HOST, tar([("f", b"x")]))
    archive = oci_archive([bytes(range(256)) * 100, b"plain text", *blobs], top)
    assert await load(images, archive) == "Loaded image: multi.example/x:1\n"
    assert stored(tmp_path)["ingest"] == 0


async def test_what_comes_off_a_connection_is_whole_wherever_a_read_ends(images):
    layer = tar([("f", b"x")])
    config = config_of(layer, config={"Labels": {f"label{number}": "x" * 50 for number in range(50)}})
    archive = docker_archive(config, layer)
    for cut in range(512, len(archive), 512):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(archive[cut:])
            incoming = OnConnection(theirs.fileno(), archive[:cut], len(archive))
            assert await images.loader.load_images(incoming)
        assert images.get_image("one.example/x:1").id == digest_of(config), cut
        assert content_of(images, "one.example/x:1", "f") == "x"


async def test_progress_is_reported_unless_it_is_quiet(images, monkeypatch):
    layer = tar([("f", b"x" * 3_000_000)])
    archive = oci_archive(*oci_image(HOST, layer))
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    class Arriving(reader._Arriving):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            # Not when it is made: the reader has it only then.
            if name == "received" and value:
                loop.call_soon_threadsafe(begun.set)

    monkeypatch.setattr(reader, "_PROGRESS_EVERY", 0)
    monkeypatch.setattr(reader, "_Arriving", Arriving)

    async def with_a_rest_that_waits_for_the_layer():
        half = len(archive) // 2
        async for piece in body(archive[:half], 200_000):
            yield piece
        await asyncio.wait_for(begun.wait(), 5)
        async for piece in body(archive[half:], 200_000):
            yield piece

    loading = load_messages(
        lambda report: images.loader.load_images(with_a_rest_that_waits_for_the_layer(), report=report), quiet=False
    )
    messages = [message async for message in loading]
    bars = [message for message in messages if message.get("status") == "Loading layer"]
    assert bars
    assert all(bar["id"] == digest_of(layer)[7:19] for bar in bars)
    assert all(0 < bar["progressDetail"]["current"] <= bar["progressDetail"]["total"] for bar in bars)
    assert bars[0]["progress"].startswith("[")


async def test_a_load_that_is_cancelled_leaves_nothing(images, tmp_path):
    layer = tar([("f", b"x" * 3_000_000)])
    archive = oci_archive(*oci_image(HOST, layer))
    arrived = asyncio.Event()

    async def stuck():
        yield archive[: len(archive) // 2]
        arrived.set()
        await asyncio.Event().wait()
        yield b""

    task = asyncio.create_task(images.loader.load_images(stuck()))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(tmp_path) == EMPTY


async def test_every_prefix_of_an_archive_is_refused_or_whole(images, tmp_path):
    archive, _ = two_platforms()
    for end in range(0, len(archive), 1536):
        try:
            await load(images, archive[:end])
        except EngineError:
            assert stored(tmp_path) == EMPTY
        else:
            assert content_of(images, "multi.example/x:1", "arch") == HOST
            break


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is no archive" * 100,
        b"\x1f\x8b" + bytes(100),
        gzip.compress(b"no archive" * 100),
        tar([("manifest.json", b"[" + b"1," * 5_000_000 + b"1]")]),
        tar([(f"d{number}.json", b"{" + b" " * 7_000_000) for number in range(12)]),
        tar([("0.tar", tar([("f", b"x")])), ("0.tar", tar([("f", b"x")]))]),
    ],
    ids=["nothing", "text", "no gzip", "gzip of text", "huge document", "many large documents", "a layer twice"],
)
async def test_what_is_no_image_archive_is_refused(images, tmp_path, content):
    with pytest.raises(InvalidParameter, match="invalid archive"):
        await load(images, content)
    assert stored(tmp_path) == EMPTY


async def test_headers_that_claim_gigabytes_are_refused_before_they_are_read(images):
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        header = tarfile.TarInfo("x")
        header.type, header.size = kind, 5 << 30
        with pytest.raises(InvalidParameter, match="invalid archive"):
            await load(images, header.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)


async def test_digests_name_images_that_nothing_else_does(images):
    archive, index = two_platforms()
    await load(images, archive)
    image = images.get_image(digest_of(index))
    assert images.get_image(f"multi.example/x@{digest_of(index)}").id == image.id
    assert images.get_image(digest_of(index)[7:19]).id == image.id


async def test_a_nameless_image_is_told_by_its_id(images):
    layer = tar([("f", b"x")])
    config = config_of(layer)
    archive = tar(
        [("1.tar", layer), ("c.json", config), ("manifest.json", encoded([{"Config": "c.json", "Layers": ["1.tar"]}]))]
    )
    assert await load(images, archive) == f"Loaded image ID: {digest_of(config)}\n"
    (summary,) = images.views.list_images(_no_filters())
    assert summary.RepoTags == []
