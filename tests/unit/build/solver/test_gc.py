"""Which records go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.build.errors import BuildError
from darse.build.solver import CacheFilter, CacheRecord, PrunePolicy, RecordKind, prunable

_HOUR = 3600.0


def _pruned(records: list[CacheRecord], policy: PrunePolicy, *leased: str, now: float = 100 * _HOUR) -> list[str]:
    return [record.id for record in prunable(records, policy, now, lambda record: record in leased)]


def _record(name: str, size: int = 10, used: float = 0, **fields: object) -> CacheRecord:
    return CacheRecord(name, size=size, last_used=used, **fields)  # type: ignore[arg-type]


def test_everything_goes_that_is_in_nobodys_use() -> None:
    assert _pruned([_record("a"), _record("b"), _record("c")], PrunePolicy(), "b") == ["a", "c"]


def test_the_end_of_a_chain_goes_first_and_what_is_below_a_lease_stays() -> None:
    chain = [_record("a"), _record("b", parents=("a",)), _record("c", parents=("b",))]
    assert _pruned(chain, PrunePolicy()) == ["c", "b", "a"]
    assert _pruned(chain, PrunePolicy(), "b") == ["c"]
    assert _pruned(chain, PrunePolicy(), "c") == []


def test_what_was_used_lately_stays() -> None:
    records = [_record("old", used=50 * _HOUR), _record("new", used=90 * _HOUR)]
    assert _pruned(records, PrunePolicy(keep_duration=24 * _HOUR)) == ["old"]
    assert _pruned(records, PrunePolicy.parse(["until=24h"])) == ["old"]
    assert _pruned(records, PrunePolicy.parse(["until=5h30m"])) == ["old", "new"]


def test_the_least_recently_used_goes_until_the_rest_fits() -> None:
    records = [_record("a", 10, 3), _record("b", 20, 1), _record("c", 30, 2)]
    assert _pruned(records, PrunePolicy(max_used_space=45)) == ["b"]
    assert _pruned(records, PrunePolicy(max_used_space=25)) == ["b", "c"]
    assert _pruned(records, PrunePolicy(max_used_space=60)) == []
    assert _pruned(records, PrunePolicy.parse([], keep_storage=15)) == ["b", "c"]
    assert _pruned(records, PrunePolicy(max_used_space=5, reserved_space=45)) == ["b"]


def test_internal_records_stay_unless_all_go() -> None:
    records = [_record("a", kind=RecordKind.INTERNAL), _record("b", kind=RecordKind.FRONTEND), _record("c")]
    assert _pruned(records, PrunePolicy()) == ["c"]
    assert sorted(_pruned(records, PrunePolicy(all=True))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id=b", "b"),
        ("id=a", ""),  # `d` was made from it
        ("id!=a", "bcd"),
        ("type==exec.cachemount", "b"),
        ("type!=exec.cachemount", "acd"),
        ("description~=npm", "c"),
        ("description~=^RUN npm (ci|install)$", "c"),
        ("description~=^npm", ""),
        ("mutable~=true", ""),
        ("parent=a", "d"),
        ("inuse", ""),
        ("inuse=false", "abcd"),
        ("shared", ""),
        ("private", "abcd"),
        ("mutable", "b"),
        ("immutable", "acd"),
    ],
)
def test_filters(text: str, expected: str) -> None:
    records = [
        _record("a"),
        _record("b", kind=RecordKind.CACHE_MOUNT),
        _record("c", description="RUN npm ci"),
        _record("d", parents=("a",)),
    ]
    assert "".join(sorted(_pruned(records, PrunePolicy.parse([text])))) == expected


def test_shared_is_what_several_were_made_from() -> None:
    records = [_record("a"), _record("b", parents=("a",)), _record("c", parents=("a",))]
    assert _pruned(records, PrunePolicy.parse(["private"])) == ["b", "c"]


@pytest.mark.parametrize("text", ["what", "what=1", "", "=", "until=soon", "until=", "description~=["])
def test_refuses_filters(text: str) -> None:
    with pytest.raises(BuildError, match="invalid filter"):
        PrunePolicy.parse([text])


@pytest.mark.parametrize("value", ["(?!x)npm", "a{1001}", "(" * 5000 + ")" * 5000, "|(a|b){0,1000}" * 20])
def test_what_is_no_expression_of_re2_is_refused(value: str) -> None:
    with pytest.raises(BuildError, match="invalid filter 'description~="):
        PrunePolicy.parse([f"description~={value}"])


def test_filters_are_read() -> None:
    assert CacheFilter.parse("type=regular") == CacheFilter("type", "==", "regular")
    assert CacheFilter.parse("shared") == CacheFilter("shared")


@st.composite
def _histories(draw: st.DrawFn) -> list[CacheRecord]:
    records: list[CacheRecord] = []
    for number in range(draw(st.integers(0, 12))):
        parents = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        used = draw(st.integers(0, 20))
        names = tuple(f"r{parent}" for parent in sorted(parents))
        records.append(_record(f"r{number}", draw(st.integers(0, 50)), used, parents=names))
    return records


@given(_histories(), st.integers(0, 200), st.integers(0, 20), st.sets(st.integers(0, 11), max_size=3))
def test_whatever_goes_nothing_is_left_without_its_parents(
    records: list[CacheRecord], limit: int, duration: int, leased: set[int]
) -> None:
    kept_names = {f"r{number}" for number in leased}
    policy = PrunePolicy(max_used_space=limit, keep_duration=duration)
    removed = prunable(records, policy, 20, kept_names.__contains__)
    gone = [record.id for record in removed]
    assert len(set(gone)) == len(gone)
    assert not kept_names & set(gone)
    left = {record.id: record for record in records}
    for name in gone:
        assert not any(name in record.parents for record in left.values() if record.id != name)
        del left[name]
    assert all(20 - record.last_used >= duration for record in removed)
    if limit and sum(record.size for record in left.values()) > limit:
        parents = {parent for record in left.values() for parent in record.parents}
        for record in left.values():
            recent = bool(duration) and 20 - record.last_used < duration
            assert record.id in parents or record.id in kept_names or recent
