"""Mounts by descriptor: open_tree(2), mount_setattr(2) and move_mount(2).

To show what only another mount namespace has: a bind needs a source in the caller's own mount namespace, so neither
`/proc/<pid>/root/…` of a container nor `/proc/<pid>/fd/…` of the engine can be bound by a runtime that has a
namespace of its own. A tree that is cloned inside the other namespace belongs to none, and can be attached here.

To show files with other owners: an id-mapped mount translates between the ids on the disk and those of a user
namespace (mount_setattr(2), "ID-mapped mounts").
"""

from __future__ import annotations

import ctypes
import os

from darse.core import trace
from darse.linux.fs.mounts import MS_BIND, MS_REC, mount
from darse.linux.fs.openat2 import open_without_links
from darse.linux.libc import CLONE_NEWNS, call

# The same on every architecture.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOUNT_ATTR_IDMAP = 0x00100000


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def bind_descriptor(descriptor: int, target: str) -> None:
    """Bind what a descriptor of this mount namespace refers to, with what is mounted below it. Raises OSError."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    with trace.step("mount", f"bind at {target}", "mount", "--rbind", path, target):
        mount(f"/proc/self/fd/{descriptor}", target, "", MS_BIND | MS_REC)


def bind_alone(source: str, target: str) -> None:
    """Bind a directory without what is mounted below it. Raises OSError."""
    with trace.step("mount", f"bind {source} alone at {target}", "mount", "--bind", source, target):
        mount(source, target, "", MS_BIND)


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


def bind_id_mapped(source: str, target: str, user_namespace: int) -> None:
    """Bind a directory so that its files' owners are mapped as a user namespace (a descriptor) maps ids.

    What is root's on the disk is there the namespace's root's, and the other way round for what is written. What is
    mounted below `source` is not shown. Raises OSError: EINVAL where the file system (or a kernel before 5.12) cannot.
    """
    options = f"bind,X-mount.idmap=/proc/{os.getpid()}/fd/{user_namespace}"
    with trace.step("mount", f"id-mapped bind of {source}", "mount", "-o", options, source, target):
        flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
        tree = _syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
        try:
            attributes = _MountAttributes(attr_set=_MOUNT_ATTR_IDMAP, userns_fd=user_namespace)
            size = ctypes.sizeof(attributes)
            call(
                "syscall",
                ctypes.c_long(_SYS_MOUNT_SETATTR),
                ctypes.c_long(tree),
                b"",
                ctypes.c_long(_AT_EMPTY_PATH),
                ctypes.byref(attributes),
                ctypes.c_size_t(size),
                operand=source,
            )
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
