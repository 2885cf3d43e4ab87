"""Which machines' programs are emulated."""

from __future__ import annotations

from pathlib import Path

from darse.linux.proc.binfmt import has_emulator


def test_an_entry_that_is_enabled_is_an_emulator(tmp_path: Path) -> None:
    (tmp_path / "qemu-aarch64").write_text("enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\n")
    (tmp_path / "qemu-s390x").write_text("disabled\n")
    assert has_emulator("arm64", tmp_path)
    assert not has_emulator("s390x", tmp_path)
    assert not has_emulator("riscv64", tmp_path)
    assert not has_emulator("arm64", tmp_path / "not-mounted")
