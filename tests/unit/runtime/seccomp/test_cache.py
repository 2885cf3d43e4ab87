"""Compiled seccomp filters, used again."""

import base64

import msgspec

from darse.runtime.seccomp.cache import SeccompCache


def _spec(profile):
    return {"linux": {"seccomp": msgspec.Raw(profile)}}


def test_the_first_container_pays_and_the_next_brings_the_program(tmp_path):
    filters = SeccompCache()
    assert filters.insert(_spec(b"{}")) == b"{}"
    (tmp_path / "seccomp.bpf").write_bytes(b"program")
    filters.learn(b"{}", tmp_path)
    spec = _spec(b"{}")
    assert filters.insert(spec) is None
    assert spec["annotations"] == {"run.oci.seccomp_bpf_data": base64.b64encode(b"program").decode()}
    assert bytes(spec["linux"]["seccomp"]) == b"{}"


def test_another_profile_gets_no_program_of_a_stranger(tmp_path):
    filters = SeccompCache()
    (tmp_path / "seccomp.bpf").write_bytes(b"program")
    filters.learn(b"{}", tmp_path)
    spec = _spec(b'{"defaultAction":"SCMP_ACT_ERRNO"}')
    assert filters.insert(spec) is not None
    assert "annotations" not in spec


def test_unconfined_stays_unconfined(tmp_path):
    spec = {"linux": {}}
    assert SeccompCache().insert(spec) is None
    assert spec == {"linux": {}}


def test_a_runtime_that_keeps_no_program_is_fine(tmp_path):
    filters = SeccompCache()
    filters.learn(b"{}", tmp_path)
    assert filters.insert(_spec(b"{}")) == b"{}"
