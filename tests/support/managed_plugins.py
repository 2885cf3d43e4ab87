"""Managed plugins of the examples, made into what `plugin create` takes: their Python is this host's."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "plugins"
# The host's programs and libraries, which are not copied into each test's plugin.
_HOST = [
    {"source": path, "destination": path, "type": "bind", "options": ["rbind", "ro"]}
    for path in ("/usr", "/lib", "/lib64", "/bin")
    if not Path(path).is_symlink() and Path(path).exists()
]


def plugin_directory(example: str, at: Path, **changes: Any) -> Path:
    """A directory with `config.json` and `rootfs` of an example; `changes` are members of the config."""
    root = at / "rootfs"
    root.mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        if (Path("/") / name).is_symlink():
            (root / name).symlink_to((Path("/") / name).readlink())
    for name in ("usr", "tmp", "etc", "proc", "sys", "dev", "run"):
        (root / name).mkdir()
    shutil.copy(EXAMPLES / example / "plugin.py", root / "plugin.py")
    config = json.loads((EXAMPLES / example / "config.json").read_text())
    config["entrypoint"] = ["/usr/bin/python3", "/plugin.py"]
    config.update(changes)
    config["mounts"] = [*config.get("mounts", ()), *_HOST]
    (at / "config.json").write_text(json.dumps(config))
    return at


def plugin_process(directory: Path) -> int:
    """The process of a plugin, known by the directory of the host that it has mounted; 0 while there is none."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            is_plugin = entry.name.isdecimal() and (entry / "cmdline").read_bytes().split(b"\0")[1:2] == [b"/plugin.py"]
            if is_plugin and str(directory) in (entry / "mountinfo").read_text():
                return int(entry.name)
    return 0
