"""Downloads that go on where they ended."""

import hashlib
import os
import time

import pytest

from darse.core.errors import Conflict, InvalidParameter
from darse.images.content.store import ContentStore

CONTENT = os.urandom(3_000_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def content(tmp_path):
    store = ContentStore(tmp_path)
    store.open()
    return store


def test_a_partial_goes_on_after_a_restart(content, tmp_path):
    with content.open_ingest(DIGEST) as partial:
        assert partial.offset == 0
        partial.write(CONTENT[:2_000_000])
    again = ContentStore(tmp_path)
    again.open()
    with again.open_ingest(DIGEST) as partial:
        assert partial.offset == 2_000_000
        partial.write(CONTENT[2_000_000:])
        partial.complete(len(CONTENT))
        again.share(again.ingests.path(DIGEST), DIGEST)
        partial.discard()
    assert again.read(DIGEST) == CONTENT
    assert again.ingests.sizes() == {}
    again.put(CONTENT, "")  # a blob that is there already is left


def test_another_content_is_found_out_and_dropped(content):
    for wrong, size in ((b"x" * len(CONTENT), len(CONTENT)), (CONTENT, 5), (CONTENT[:5], len(CONTENT))):
        with content.open_ingest(DIGEST) as partial:
            partial.write(wrong)
            with pytest.raises(InvalidParameter, match=r"must have .* bytes, and"):
                partial.complete(size)
        assert content.ingests.sizes() == {}


def test_damage_on_the_disk_is_found_out(content):
    with content.open_ingest(DIGEST) as partial:
        partial.write(CONTENT[:1_000_000])
    with open(partial.path, "r+b") as file:
        file.write(b"\0" * 5000)
    with content.open_ingest(DIGEST) as partial:
        partial.write(CONTENT[partial.offset :])
        with pytest.raises(InvalidParameter):
            partial.complete(len(CONTENT))


def test_a_source_that_cannot_go_on_starts_again(content):
    with content.open_ingest(DIGEST) as partial:
        partial.write(b"x" * 100)
        partial.restart()
        assert partial.offset == 0
        partial.write(CONTENT)
        partial.complete(len(CONTENT))
        content.share(content.ingests.path(DIGEST), DIGEST)
        partial.discard()
    assert content.read(DIGEST) == CONTENT


def test_a_digest_has_one_writer(content):
    with content.open_ingest(DIGEST), pytest.raises(Conflict, match="is being downloaded"):
        content.open_ingest(DIGEST)
    content.open_ingest(DIGEST).close()


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:00", "../x", "md5:" + "0" * 64, "sha256:" + "A" * 64])
def test_what_is_no_digest_names_no_file(content, digest):
    for use in (content.open_ingest, content.path, content.has, content.read):
        with pytest.raises(InvalidParameter, match="unsupported digest"):
            use(digest)


def test_stale_partials_go_at_the_start_and_all_but_used_ones_in_a_prune(content, tmp_path):
    other = "sha256:" + "0" * 64
    with content.open_ingest(DIGEST) as partial:
        partial.write(CONTENT)
    with content.open_ingest(other) as partial:
        partial.write(b"x" * 10_000)
        week = time.time() - 8 * 24 * 3600
        os.utime(content.ingests.directory / DIGEST[7:], (week, week))
        again = ContentStore(tmp_path)
        again.open()
        assert set(again.ingests.sizes()) == {other}
        assert content.ingests.remove_ingests() == 0
    assert content.ingests.remove_ingests() >= 10_000
    assert content.ingests.sizes() == {}


def test_what_is_wanted_stays(content):
    other = "sha256:" + "0" * 64
    for digest in (DIGEST, other):
        with content.open_ingest(digest) as partial:
            partial.write(CONTENT)
    content.ingests.remove_ingests(lambda digest: digest == other)
    assert set(content.ingests.sizes()) == {other}
