"""What of the build cache is collected without being asked for."""

from __future__ import annotations

from darse.build.collection import collection_policies
from darse.build.options import git_context
from darse.build.solver import CacheRecord, RecordKind, prunable

_DAY = 24 * 3600.0
_NOW = 1000 * _DAY
_MEGABYTE = 1 << 20


def record(name: str, days: float, megabytes: int, kind: RecordKind = RecordKind.REGULAR) -> CacheRecord:
    return CacheRecord(name, kind, "", megabytes * _MEGABYTE, _NOW - days * _DAY, _NOW - days * _DAY)


def collected(*records: CacheRecord, limit: int) -> set[str]:
    left = list(records)
    for policy in collection_policies(limit * _MEGABYTE):
        gone = {one.id for one in prunable(left, policy, _NOW, lambda _: False)}
        left = [one for one in left if one.id not in gone]
    return {one.id for one in records} - {one.id for one in left}


def test_little_is_kept_however_old_it_is() -> None:
    assert collected(record("a", 900, 1), record("b", 3, 1, RecordKind.LOCAL), limit=2000) == set()


def test_sources_of_two_days_ago_go_where_all_is_large() -> None:
    records = (
        record("old", 3, 300, RecordKind.LOCAL),
        record("new", 1, 300, RecordKind.LOCAL),
        record("result", 3, 300),
    )
    assert collected(*records, limit=2000) == {"old"}


def test_the_least_used_goes_where_it_is_too_much() -> None:
    records = (record("a", 3, 900), record("b", 2, 900), record("c", 1, 900))
    assert collected(*records, limit=2000) == {"a"}


def test_what_a_repository_is() -> None:
    for text in ("https://x.y/a.git", "git@x.y:a", "github.com/a/b", "git://x.y/a", "https://x.y/a.git#main:sub"):
        assert git_context(text) is not None, text
    source = git_context("github.com/a/b#v1:sub")
    assert source is not None
    assert (source.full_url, source.reference, source.subdirectory) == ("https://github.com/a/b.git", "v1", "sub")
    for text in ("", "https://x.y/a.tar.gz", "http://x.y/Dockerfile"):
        assert git_context(text) is None, text
