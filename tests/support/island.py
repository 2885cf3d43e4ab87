"""A host of its own for an engine: a network namespace, with a /sys that shows it, where rules and links may change."""

from __future__ import annotations

import subprocess

_KEEP = "mkdir /tmp/dz-keep$$ && mount --rbind /sys/fs/cgroup /tmp/dz-keep$$ && mount -t sysfs sysfs /sys"
_SCRIPT = f"{_KEEP} && mount --move /tmp/dz-keep$$ /sys/fs/cgroup && rmdir /tmp/dz-keep$$ && ip link set lo up"


class Island:
    """One of them; it ends with `close`."""

    def __init__(self) -> None:
        command = f"{_SCRIPT} && echo ready && exec sleep infinity"
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-ec", command], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.pid = self._process.pid
        #: Its network namespace.
        self.path = f"/proc/{self.pid}/ns/net"
        #: What runs a command there.
        self.within = ("nsenter", "--target", str(self.pid), "--net", "--mount")

    def run(self, *command: str) -> str:
        """Run a program there; return what it printed. Raises CalledProcessError."""
        done = subprocess.run([*self.within, *command], check=True, timeout=60, capture_output=True, text=True)
        return done.stdout

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
