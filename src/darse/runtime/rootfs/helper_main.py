"""Works on a container's files, as a program of its own that sees nothing else: see `darse.runtime.rootfs.helper`.

Everything about a container's files is the container's: names, links, and what they become while one looks. So this
process enters the container's mount namespace and root before it looks at any of it, then gives up what it does not
need: capabilities, system calls, descriptors, the means to import. A link that is swapped during a copy, or an archive
made to break out, ends where the container ends (CVE-2018-15664). No program or library of the container is loaded
(CVE-2019-14271): all that this process will ever run is in memory before it enters, and execve(2) is refused after.

The kernel's own file systems stay out. Below /proc, links of another kind lead anywhere (`/proc/1/root` of a container
that shares the host's processes), so no path is resolved through them; they cannot be named, and a walk finds
their directories empty, as in docker's archives.

Descriptors: 0 the archive that comes, 1 the archive that goes, 3 a SOCK_SEQPACKET socket, 4 the mount namespace, 5 the
root in it, for a namespace that is not the container's own, 6 the user namespace, for a container that has its own. The
first message on 3 is the job; answers go back as words with a NUL between them: `stat` with what was found, then
`done`, or an error's kind and text. The job is marshalled by the engine, which this process trusts; the answers are
text, for the engine does not trust this process. So descriptor 0, which may be a client's own connection, can only be
read: what is written there would be taken for the engine's answer.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import stat
import sys

from darse.archive.errors import ArchiveRefused
from darse.archive.extract import Parents, Unpacker, entries_in_place
from darse.archive.request_body import Body
from darse.archive.stream import prepare_for
from darse.archive.tar_writer import TreePacker
from darse.linux.fs.contained import sorted_names
from darse.linux.fs.openat2 import make_directories, open_in_root
from darse.linux.libc import CLONE_NEWNS, call
from darse.linux.proc import sandbox

ARCHIVE_IN, ARCHIVE_OUT, MESSAGES, NAMESPACE, ROOT, USERS = 0, 1, 3, 4, 5, 6
CLONE_NEWUSER = 0x10000000
# Of a message: a job holds a path, and the start of a body.
JOB_LIMIT = 128 * 1024
# How many entries of a directory are listed.
LIST_LIMIT = 10_000
START_LIMIT = 48 * 1024
_MEMORY = 512 * 1024 * 1024
_FILES = 4096
_SYS_OPEN_TREE = 428
_OPEN_TREE_CLONE = 1
_AT_FDCWD = -100
_ST_RDONLY = 1
_LINKS = 255
# Nothing, a circle of links, or one of the kernel's links to another place, which nobody here follows.
_NOT_THERE = frozenset((errno.ENOENT, errno.ELOOP, errno.EXDEV, errno.EACCES))
_MAGIC = 6
# What statfs(2) says of the kernel's own file systems: proc, sysfs, cgroup 1 and 2, devpts, mqueue, debugfs, tracefs,
# securityfs, bpf, binfmt_misc, configfs, efivarfs, fusectl, pstore, nsfs, selinuxfs, rpc_pipefs, nfsd.
_KERNELS_OWN = frozenset(
    (
        *(0x9FA0, 0x62656572, 0x27E0EB, 0x63677270, 0x1CD1, 0x19800202, 0x64626720, 0x74726163, 0x73636673),
        *(0xCAFE4A11, 0x42494E4D, 0x62656570, 0xDE5E81E4, 0x65735543, 0x6165676C, 0x6E736673, 0xF97CFF8C),
        *(0x67596969, 0x6E667364),
    )
)


class _Declined(Exception):
    """Ends the job; `kind` is for the engine, the text for the client."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def main() -> None:
    """Do one job."""
    job = marshal.loads(os.read(MESSAGES, JOB_LIMIT))  # noqa: S302 - our own engine's, over a socket of its own
    # Before it is too late to import anything.
    try:
        body = _begin_body(job) if job["operation"] == "unpack" else None
        _enter(job)
        _confine()
        _OPERATIONS[job["operation"]](job, body)
    except _Declined as refused:
        _report(refused.kind, str(refused))
    except ArchiveRefused as error:
        _report("archive", str(error))
    except BrokenPipeError:
        _report("cancelled", "nobody reads the archive any more")
    except OSError as error:
        _report("system", str(error.errno or 0), os.strerror(error.errno or 0), str(error.filename or ""))
    except MemoryError:
        _report("archive", "the archive needs too much memory")
    except Exception as error:  # the interpreter would show the source, which it would look for in the container
        _report("fault", f"{type(error).__name__}: {error}")


def _begin_body(job: dict[str, object]) -> Body:
    """Read the first bytes of an archive, and load what its compression needs."""
    start, length = job["start"], job["length"]
    assert isinstance(start, bytes)
    assert isinstance(length, int)
    body = Body(ARCHIVE_IN, start, length)
    prepare_for(body.begin(_MAGIC))
    return body


def _report(*words: str) -> None:
    data = b"\0".join(os.fsencode(word) for word in words)
    try:
        os.write(MESSAGES, data[: JOB_LIMIT - 1])
    except BrokenPipeError:
        os._exit(1)  # the engine has gone


def _enter(job: dict[str, object]) -> None:
    """Make the container's root ours."""
    os.umask(0)
    # A mount namespace that was made for this is the host's; the container's own belongs to its users.
    if job["has_users"] and not job["has_root"]:
        _become_user()
    call("setns", NAMESPACE, CLONE_NEWNS)
    if job["has_root"]:
        os.fchdir(ROOT)
        os.chroot(".")
    if job["alone"]:
        # A clone of the mount at / without those on it: the container's own layer, also while it runs.
        flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
        tree = call("syscall", ctypes.c_long(_SYS_OPEN_TREE), ctypes.c_long(_AT_FDCWD), b"/", ctypes.c_long(flags))
        os.fchdir(tree)
        os.chroot(".")
        os.close(tree)
    os.chdir("/")
    if job["has_users"] and job["has_root"]:
        _become_user()
    os.closerange(NAMESPACE, USERS + 1)


def _become_user() -> None:
    """The container's root is a user of the host's who may do nothing but to its files; be that."""
    call("setns", USERS, CLONE_NEWUSER)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _confine() -> None:
    # From here on a module that is not loaded yet would be the container's.
    sys.meta_path.clear()
    sys.path.clear()
    sys.path_hooks.clear()
    sandbox.end_with_parent()
    sandbox.give_up(sandbox.WRITE_TREES, memory=_MEMORY, open_files=_FILES, only_read=ARCHIVE_IN)


class _InRoot(Parents):
    """Directories below `destination`, as a process of the container finds them; links lead on within the root."""

    def __init__(self, root: int, destination: str) -> None:
        self._root = root
        self._destination = destination

    def open(self, path: str) -> int:
        directory = open_in_root(self._root, f"{self._destination}/{path}", os.O_RDONLY | os.O_DIRECTORY)
        if _is_kernels_own(directory):
            os.close(directory)
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)
        return directory

    def make(self, path: str) -> int:
        try:
            return self.open(path)
        except FileNotFoundError:
            # The lowest that is there, to be refused where nothing may be made.
            above = path
            while above:
                above = above.rpartition("/")[0]
                try:
                    os.close(self.open(above))
                    break
                except FileNotFoundError:
                    continue
            os.close(make_directories(self._root, f"{self._destination}/{path}"))
            return self.open(path)


def _is_kernels_own(descriptor: int) -> bool:
    buffer = ctypes.create_string_buffer(256)
    call("fstatfs", descriptor, buffer)
    return int.from_bytes(buffer.raw[:4], sys.byteorder) in _KERNELS_OWN


def _open_root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _stat(root: int, job: dict[str, object]) -> os.stat_result:
    """lstat(2) of a path, and tell what was found. Raises _Declined when there is nothing that can be copied."""
    path, follow = str(job["path"]), bool(job["follow"])
    try:
        found = open_in_root(root, f"{path}/." if follow else path, os.O_PATH | os.O_NOFOLLOW)
    except NotADirectoryError:
        raise _Declined("invalid", "not a directory") from None
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise _Declined("not-found", "") from None
        raise
    try:
        status = os.fstat(found)
        if _is_kernels_own(found) and not _is_mount_point(root, path, status):
            raise _Declined("not-found", "")
    finally:
        os.close(found)
    target = _target(path) if stat.S_ISLNK(status.st_mode) else ""
    _report("stat", str(job["name"]), str(status.st_size), str(status.st_mode), str(status.st_mtime_ns), target)
    return status


def _is_mount_point(root: int, path: str, status: os.stat_result) -> bool:
    """Whether this is the top of one of the kernel's own file systems, which shows as an empty directory."""
    if not stat.S_ISDIR(status.st_mode):
        return False
    above = open_in_root(root, f"{path}/..", os.O_PATH | os.O_DIRECTORY)
    try:
        return not _is_kernels_own(above)
    finally:
        os.close(above)


def _target(path: str) -> str:
    """Where a link leads in the end, as far as that exists."""
    done, left, links = "", path.split("/"), 0
    while left:
        part = left.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        following = f"{done}/{part}"
        try:
            target = os.readlink(following)
        except OSError:
            done = following
            continue
        links += 1
        if links > _LINKS:
            raise _Declined("invalid", "too many levels of symbolic links")
        if target.startswith("/"):
            done = ""
        left = [*target.split("/"), *left]
    return done or "/"


class _Skipped:
    """Directories whose contents stay out of an archive: what the kernel shows, and the container's /dev."""

    def __init__(self, root: int) -> None:
        top = os.fstat(root)
        self._known = {top.st_dev}
        self._devices: tuple[int, int] | None = None
        try:
            devices = os.stat("/dev", follow_symlinks=False)
        except OSError:
            return
        if devices.st_dev != top.st_dev:
            self._devices = (devices.st_dev, devices.st_ino)

    def __call__(self, directory: int, status: os.stat_result) -> bool:
        if status.st_dev in self._known:
            return False
        if (status.st_dev, status.st_ino) == self._devices:
            return True
        if _is_kernels_own(directory):
            return True
        if self._devices is None or status.st_dev != self._devices[0]:
            self._known.add(status.st_dev)
        return False


def _do_stat(job: dict[str, object], _body: Body | None) -> None:
    _stat(_open_root(), job)
    _report("done", "0")


def _do_list(job: dict[str, object], _body: Body | None) -> None:
    """What is in a directory, each as five words with a NUL behind them; nothing of what is none."""
    path = str(job["path"])
    root = _open_root()
    if not stat.S_ISDIR(_stat(root, job).st_mode):
        _report("done", "0")
        return
    directory = open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    listed = 0
    with os.fdopen(ARCHIVE_OUT, "wb") as output:
        for name in () if _is_kernels_own(directory) else sorted_names(directory):
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue  # it has just been removed
            target = _target(f"{path}/{name}") if stat.S_ISLNK(status.st_mode) else ""
            words = (name, str(status.st_size), str(status.st_mode), str(status.st_mtime_ns), target)
            output.write(b"".join(os.fsencode(word) + b"\0" for word in words))
            listed += 1
            if listed == LIST_LIMIT:
                break
    _report("done", str(listed))


def _do_pack(job: dict[str, object], _body: Body | None) -> None:
    path, name = str(job["path"]), os.fsencode(str(job["name"]))
    root = _open_root()
    status = _stat(root, job)
    packer = TreePacker(ARCHIVE_OUT, skip_contents=_Skipped(root))
    if stat.S_ISDIR(status.st_mode):
        packer.add(open_in_root(root, path, os.O_PATH | os.O_DIRECTORY), ".", name)
    else:
        parent, _, base = path.rpartition("/")
        packer.add(open_in_root(root, parent or "/", os.O_PATH | os.O_DIRECTORY), base, name)
    packer.finish()
    _report("done", str(packer.shortened))


def _do_export(_job: dict[str, object], _body: Body | None) -> None:
    """The whole root. Names are relative and without a common one, as docker's export has them."""
    root = _open_root()
    packer = TreePacker(ARCHIVE_OUT)
    packer.add_contents(root)
    packer.finish()
    _report("done", str(packer.shortened))


def _do_unpack(job: dict[str, object], body: Body | None) -> None:
    assert body is not None
    path = str(job["path"])
    root = _open_root()
    try:
        target = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_DIRECTORY)
    except NotADirectoryError:
        raise _Declined("invalid", "extraction point is not a directory") from None
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise _Declined("not-found", "") from None
        raise
    if _is_kernels_own(target):
        raise _Declined("not-found", "")
    if os.fstatvfs(target).f_flag & _ST_RDONLY:
        in_root = os.fstat(target).st_dev == os.fstat(root).st_dev
        raise _Declined(
            "read-only", "container rootfs is marked read-only" if in_root else "mounted volume is marked read-only"
        )
    os.close(target)
    owner = job["owner"]
    unpacker = Unpacker(
        _InRoot(root, path),
        path,
        keep_kinds=bool(job["keep_kinds"]),
        owner=(owner[0], owner[1]) if isinstance(owner, tuple) else None,
    )
    _report("stat")
    start, pieces = body.begin(_MAGIC), body.pieces()
    unpacker.unpack(entries_in_place(pieces, start))
    for _ in pieces:
        pass  # what follows a compressed archive; the client has more to send before it listens
    _report("done", str(unpacker.size))


_OPERATIONS = {"stat": _do_stat, "list": _do_list, "pack": _do_pack, "unpack": _do_unpack, "export": _do_export}
