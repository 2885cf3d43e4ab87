"""Compiled seccomp filters, used again.

crun compiles a container's seccomp profile to a BPF program at every create, which takes twice as long as everything
else that it does (13 of 19 ms of processor time here). It leaves the program in its state directory, and takes one that
is given by the annotation `run.oci.seccomp_bpf_data` instead of compiling (crun(1)). So the first container of a
profile pays, and those after it bring the program along, shortened (see `darse.runtime.seccomp.bpf`) when it is first
needed again. The profile stays in the spec, for whoever reads it.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

from darse.linux.fs.files import read_regular
from darse.runtime.seccomp import bpf

_ANNOTATION = "run.oci.seccomp_bpf_data"
_PROGRAM = "seccomp.bpf"
# Profiles of one's own are few; this only bounds a client that sends a new one with every container.
_KEPT = 64


class SeccompCache:
    """The programs of the profiles that containers of this engine had."""

    def __init__(self) -> None:
        self._learned: dict[bytes, bytes] = {}
        self._programs: dict[bytes, str] = {}

    def insert(self, spec: dict[str, Any]) -> bytes | None:
        """Put the compiled filter into a spec. Returns the profile to `learn` when there is none yet."""
        profile = spec["linux"].get("seccomp")
        if profile is None:
            return None
        key = bytes(profile)
        learned = self._learned.pop(key, None)
        if learned is not None:
            with contextlib.suppress(bpf.UnsupportedFilter):
                learned = bpf.shortened(learned)
            self._programs[key] = base64.b64encode(learned).decode()
        program = self._programs.get(key)
        if program is None:
            return key
        spec.setdefault("annotations", {})[_ANNOTATION] = program
        return None

    def learn(self, profile: bytes, state_directory: Path) -> None:
        """Keep the program that the runtime compiled from `profile` for a container it has created."""
        try:
            program = read_regular(state_directory / _PROGRAM)
        except FileNotFoundError:
            return  # another runtime, which keeps none
        if program and len(self._programs) + len(self._learned) < _KEPT:
            self._learned[profile] = program
