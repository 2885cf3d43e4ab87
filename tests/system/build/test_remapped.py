"""Builds with `--userns-remap`: processes have a user namespace, and layers have the owners that they see."""

from __future__ import annotations

from pathlib import Path

from tests.support.builds import Builder, local_engine


async def test_a_process_is_root_in_its_namespace_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("context\n")
    text = (
        "FROM builtin/busybox\nCOPY --chown=7:8 file /copied\n"
        "RUN --mount=type=cache,target=/cache --mount=type=secret,id=s,uid=7 --mount=target=/context "
        "cat /proc/self/uid_map | tr -s ' '; stat -c %u /copied /run/secrets/s; cat /context/file; "
        "touch /cache/x /made && chown 9:9 /made; echo done\n"
    )
    async with local_engine(None, "--userns-remap", "default") as engine:
        builder = Builder(engine)
        built = await builder.build(text, tmp_path, session={"secrets": {"s": b"hush"}})
        log = built.log.decode().splitlines()
        assert log[0].split()[:2] != ["0", "0"]
        assert log[1:] == ["7", "7", "context", "done"]
        assert (builder.layer(built.image) / "made").stat().st_uid == 9
