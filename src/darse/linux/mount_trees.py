"""Mounts by descriptor: open_tree(2) and move_mount(2), to show what only another mount namespace has.

A bind needs a source in the caller's own mount namespace, so neither `/proc/<pid>/root/…` of a container nor
`/proc/<pid>/fd/…` of the engine can be bound by a runtime that has a namespace of its own. A tree that is cloned inside
the other namespace belongs to none, and can be attached here.
"""

from __future__ import annotations

import ctypes
import os

from darse.linux import trace
from darse.linux.libc import CLONE_NEWNS, call
from darse.linux.mounts import MS_BIND, MS_REC, mount
from darse.linux.openat2 import open_without_links

# The same on every architecture.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_MOVE_MOUNT_F_EMPTY_PATH = 0x4


def bind_descriptor(descriptor: int, target: str) -> None:
    """Bind what a descriptor of this mount namespace refers to, with what is mounted below it. Raises OSError."""
    with trace.step("mount", f"bind at {target}", "mount", "--rbind", f"/proc/self/fd/{descriptor}", target):
        mount(f"/proc/self/fd/{descriptor}", target, "", MS_BIND | MS_REC)


def bind_from_process(pid: int, path: str, target: str) -> None:
    """Bind a directory as process `pid` sees it; a link in its path is an error.

    For threads that may change their mount namespace (`NamespaceThreads`). Raises OSError.
    """
    command = ("nsenter", "--target", str(pid), "--mount", "mount", "--bind", path, target)
    with trace.step("mount", f"bind {path} of process {pid}", *command):
        tree = _clone(pid, path)
        try:
            _syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        finally:
            os.close(tree)


def _clone(pid: int, path: str) -> int:
    here = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("setns", there, CLONE_NEWNS)
        finally:
            os.close(there)
        try:
            return _open_tree(path)
        finally:
            call("setns", here, CLONE_NEWNS)
    finally:
        os.close(here)


def _open_tree(path: str) -> int:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = open_without_links(root, path.lstrip("/"), os.O_PATH | os.O_DIRECTORY)
    finally:
        os.close(root)
    try:
        flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH | _AT_RECURSIVE
        return _syscall(_SYS_OPEN_TREE, found, b"", flags)
    finally:
        os.close(found)


def _syscall(number: int, *arguments: int | bytes) -> int:
    converted = [one if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments]
    return call("syscall", ctypes.c_long(number), *converted)
