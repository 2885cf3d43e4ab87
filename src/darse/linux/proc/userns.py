"""User namespaces, and the network namespaces that belong to them; see user_namespaces(7).

A process with threads cannot enter a new user namespace, so one is made by a child: unshare(1) of util-linux, which
then waits until its ids are mapped and descriptors of its namespaces are open. They live as long as a descriptor or a
process holds them. If the engine ends meanwhile the child reads the end of its input and ends, too.

A container that is root in a user namespace rules only namespaces which that one owns: it can mount /sys, and set the
sysctls of its network, when its network namespace was made inside. So the two are made together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from darse.core import trace
from darse.linux.proc.posix_spawn import duplicate, posix_spawn

_UNSHARE, _NSENTER, _CAT = "/usr/bin/unshare", "/usr/bin/nsenter", "/bin/cat"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


class IdRange(msgspec.Struct, frozen=True):
    """A line of /proc/PID/uid_map: `size` ids from `inside` on are those of the host from `outside` on."""

    inside: int
    outside: int
    size: int


class IdMaps(msgspec.Struct, frozen=True):
    """What a user namespace's ids are on the host."""

    users: tuple[IdRange, ...]
    groups: tuple[IdRange, ...]

    @property
    def root(self) -> tuple[int, int]:
        """The host's user and group that are root inside."""
        return _outside(self.users, 0), _outside(self.groups, 0)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The host's user and group that are these inside. Raises ValueError for ids that are not mapped."""
        return _outside(self.users, uid), _outside(self.groups, gid)

    @property
    def last_group(self) -> int:
        """The highest group inside."""
        return max(one.inside + one.size for one in self.groups) - 1


class Namespaces(msgspec.Struct, frozen=True):
    """Descriptors of a user namespace and of a network namespace that it owns; -1 for none."""

    user: int
    network: int


def _outside(ranges: Sequence[IdRange], inside: int) -> int:
    for one in ranges:
        if one.inside <= inside < one.inside + one.size:
            return one.outside + inside - one.inside
    raise ValueError(f"id {inside} is not mapped")


def make_user_namespace(maps: IdMaps, *, network: bool) -> Namespaces:
    """Make a user namespace with `maps`, with a network namespace of its own where asked for. Raises OSError."""
    command = [_UNSHARE, "--user", *(["--net"] if network else []), "--", _CAT]
    what = "user and network namespace" if network else "user namespace"
    shown = _command_line("unshare", "--user") if network else ("unshare", "--user")
    with trace.step("namespace", f"new {what}", *shown), _Child(command) as child:
        for name, ranges in (("uid_map", maps.users), ("gid_map", maps.groups)):
            # All lines in one write(2): the kernel takes a second one for a change.
            child.write(name, "".join(f"{one.inside} {one.outside} {one.size}\n" for one in ranges))
        return child.namespaces(network=network)


def make_network_namespace(owner: str) -> Namespaces:
    """Make a network namespace that belongs to the user namespace at the path `owner`. Raises OSError."""
    command = [_NSENTER, f"--user={owner}", "--", _UNSHARE, "--net", "--", _CAT]
    shown = _command_line("nsenter", f"--user={owner}", "unshare")
    with trace.step("namespace", "new network namespace of a user namespace", *shown), _Child(command) as child:
        return child.namespaces(network=True)


def _command_line(*words: str) -> tuple[str, ...]:
    """A command that gives the new network namespace a name, as unshare(1) does when a file is there to bind it to."""
    path = f"/run/netns/{trace.NETNS}"
    return ("touch", path, ";", *words, f"--net={path}", "true")


class _Child:
    """A process that waits in its new namespaces to the end of the block."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._pid = self._input = self._output = -1

    def __enter__(self) -> _Child:
        their_input, self._input = os.pipe2(os.O_CLOEXEC)
        self._output, their_output = os.pipe2(os.O_CLOEXEC)
        try:
            # What it prints when it fails comes where its answer is expected.
            actions = [duplicate(their_input, 0), duplicate(their_output, 1), duplicate(their_output, 2)]
            self._pid = posix_spawn(self._command[0], self._command, _ENVIRONMENT, actions)
        except BaseException:
            os.close(self._input)
            os.close(self._output)
            raise
        finally:
            os.close(their_input)
            os.close(their_output)
        # What cat(1) gives back shows that it runs, and so where it is.
        os.write(self._input, b"\n")
        answer = os.read(self._output, 4096)
        if answer != b"\n":
            self.__exit__()
            raise OSError(f"cannot make a user namespace: {answer.decode(errors='replace').strip()}")
        return self

    def write(self, name: str, text: str) -> None:
        """Write one of the process's files in /proc."""
        descriptor = os.open(f"/proc/{self._pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def namespaces(self, *, network: bool) -> Namespaces:
        """Open the namespaces that the process is in."""
        user = self._open("user")
        try:
            return Namespaces(user, self._open("net") if network else -1)
        except BaseException:
            os.close(user)
            raise

    def _open(self, name: str) -> int:
        return os.open(f"/proc/{self._pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def __exit__(self, *_: object) -> None:
        os.close(self._input)
        os.close(self._output)
        os.waitpid(self._pid, 0)
