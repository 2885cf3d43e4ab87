"""Compiled seccomp filters, used again.

crun compiles a container's seccomp profile to a BPF program at every create, which takes twice as long as everything
else that it does (13 of 19 ms of processor time here). It leaves the program in its state directory, and takes one that
is given by the annotation `run.oci.seccomp_bpf_data` instead of compiling (crun(1)). So the first container of a
profile pays, and those after it bring the program along. The profile stays in the spec, for whoever reads it.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

_ANNOTATION = "run.oci.seccomp_bpf_data"
_PROGRAM = "seccomp.bpf"
# Profiles of one's own are few; this only bounds a client that sends a new one with every container.
_KEPT = 64


class CompiledFilters:
    """The programs of the profiles that containers of this engine had."""

    def __init__(self) -> None:
        self._programs: dict[bytes, str] = {}

    def insert(self, spec: dict[str, Any]) -> bytes | None:
        """Put the compiled filter into a spec. Returns the profile to `learn` when there is none yet."""
        profile = spec["linux"].get("seccomp")
        if profile is None:
            return None
        key = bytes(profile)
        program = self._programs.get(key)
        if program is None:
            return key
        spec.setdefault("annotations", {})[_ANNOTATION] = program
        return None

    def learn(self, profile: bytes, state_directory: Path) -> None:
        """Keep the program that the runtime compiled from `profile` for a container it has created."""
        try:
            program = (state_directory / _PROGRAM).read_bytes()
        except FileNotFoundError:
            return  # another runtime, which keeps none
        if program and len(self._programs) < _KEPT:
            self._programs[profile] = base64.b64encode(program).decode()
