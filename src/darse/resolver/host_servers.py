"""The host's name servers: those of /etc/resolv.conf, whatever happens to that file.

Its writers replace it by rename, swap the symbolic link that it is, write into it, or empty it at boot and fill it
later. So the directories of the link and of all that it leads to are watched, not a file.
"""

from __future__ import annotations

import os

from darse.linux.fs.watches import Watches

PATH = "/etc/resolv.conf"
_MOST_LINKS = 16
_LONGEST = 1 << 16


class HostServers:
    """Reads and follows a resolv.conf."""

    def __init__(self, path: str = PATH) -> None:
        """Raises OSError when the user has too many inotify instances."""
        self._path = path
        self._watches = Watches()
        self._names: set[tuple[str, str]] = set()
        self.servers: list[str] = []
        self.read()

    @property
    def descriptor(self) -> int:
        """Readable when `changed` is to be called."""
        return self._watches.descriptor

    def read(self) -> None:
        """Read the file, and watch what it depends on."""
        # Watch first: a change between the two is seen then.
        for _ in range(2):
            self._names = _chain(self._path)
            self._watches.set({directory for directory, _ in self._names})
        self.servers = nameservers(_content(self._path))

    def changed(self) -> bool:
        """Look at what has changed; return whether there are other servers now."""
        relevant = False
        for directory, name in self._watches.changes():
            if not name or (directory, name) in self._names:
                relevant = True
        before = self.servers
        if relevant:
            self.read()
        return self.servers != before

    def close(self) -> None:
        """Stop watching."""
        self._watches.close()


def nameservers(text: str) -> list[str]:
    """The addresses in a resolv.conf, resolv.conf(5)."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            found.append(words[1])
    return found


def _content(path: str) -> str:
    try:
        # A FIFO or a device must not keep us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _LONGEST).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _chain(path: str) -> set[tuple[str, str]]:
    """The directories and names that a path goes through, from link to link; of what is missing the nearest parent."""
    found = set()
    for _ in range(_MOST_LINKS):
        directory, name = os.path.split(path)
        directory = os.path.realpath(directory)
        while not os.path.isdir(directory):
            directory, name = os.path.split(directory)
        found.add((directory, name))
        try:
            path = os.path.join(directory, os.readlink(os.path.join(directory, name)))
        except OSError:
            break
    return found
