"""Locks the calling process into a directory, for work on untrusted input; there is no way back.

In order: limits; a mount namespace of its own in which nothing but the directory is left, mounted so that nothing in
there can be run, be set-uid or be opened as a device; no capabilities but those named; no new privileges; and a list of
system calls beyond which there are none: no sockets, no processes, no mounts, no ptrace, no keys, no bpf. It takes
about a millisecond.

See mount_namespaces(7), pivot_root(2), capset(2), seccomp(2), Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct

from darse.linux.libc import CLONE_NEWNS, call

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CAP_CHOWN = 0
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_FOWNER = 3
CAP_FSETID = 4
CAP_SYS_ADMIN = 21
CAP_MKNOD = 27
CAP_SETFCAP = 31
#: What it takes to make files of any owner, mode and kind, with file capabilities.
WRITE_TREES = frozenset((CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP))

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9  # not the one of signal, which takes a millisecond to load
_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4
_SECCOMP_RET_ALLOW, _SECCOMP_RET_ERRNO, _SECCOMP_RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
# CLONE_NEWTIME, CLONE_NEWNS, and so on to CLONE_NEWNET.
_CLONE_NAMESPACES = 0x7E020080
# BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JSET|BPF_K, BPF_RET|BPF_K
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
# Offsets in struct seccomp_data; the low half of the first argument on little-endian machines.
_NR, _ARCH, _ARGUMENT = 0, 4, 16


class _Machine:
    """System calls of an architecture, as <asm/unistd.h> numbers them."""

    def __init__(self, audit: int, seccomp: int, clone: int, clone3: int, allowed: str, others: str) -> None:
        """`allowed` are for work on archives; `others` are known by name, for `restrict_calls`."""
        self.audit, self.seccomp, self.clone, self.clone3 = audit, seccomp, clone, clone3
        self.allowed = _numbers(allowed)
        self.others = _numbers(others)


def _numbers(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


# Of those that are allowed: what writes to the descriptor that is their first argument, or makes another of it.
_WRITING = frozenset(("write", "writev", "pwrite64", "sendfile", "fcntl"))

# Names and numbers by turns.
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        317,
        56,
        435,
        """read 0 write 1 readv 19 writev 20 pread64 17 pwrite64 18 lseek 8 open 2 openat 257 close 3 close_range 436
        stat 4 fstat 5 lstat 6 newfstatat 262 statx 332 access 21 mkdir 83 mkdirat 258 mknod 133 mknodat 259 link 86
        linkat 265 symlink 88 symlinkat 266 unlink 87 rmdir 84 unlinkat 263 readlink 89 readlinkat 267 chown 92
        fchown 93 lchown 94 fchownat 260 chmod 90 fchmod 91 fchmodat 268 fchmodat2 452 utimensat 280 ftruncate 77
        setxattr 188 lsetxattr 189 fsetxattr 190 getxattr 191 lgetxattr 192 fgetxattr 193 listxattr 194 llistxattr 195
        flistxattr 196 getdents64 217 openat2 437 fstatfs 138 copy_file_range 326 sendfile 40 mmap 9 munmap 11 mremap 25
        mprotect 10 madvise 28 fadvise64 221
        brk 12 futex 202 rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 sigaltstack 131 exit 60 exit_group 231
        set_robust_list 273 rseq 334 gettid 186 getpid 39 tgkill 234 sched_yield 24 sched_getaffinity 204
        clock_gettime 228 clock_nanosleep 230 gettimeofday 96 getrandom 318 poll 7 ppoll 271 select 23 pselect6 270
        fcntl 72 prlimit64 302 umask 95 membarrier 324 getuid 102 geteuid 107 getgid 104 getegid 108
        restart_syscall 219 sysinfo 99""",
        """accept 43 accept4 288 bind 49 capset 126 connect 42 dup 32 dup2 33 epoll_create1 291 epoll_ctl 233
        epoll_pwait 281 epoll_wait 232 getpeername 52 getppid 110 getsockname 51 getsockopt 55 inotify_add_watch 254
        inotify_init1 294 inotify_rm_watch 255 ioctl 16 kill 62 listen 50 pidfd_open 434 pipe2 293 prctl 157 recvfrom 45
        recvmsg 47 seccomp 317 sendmsg 46 sendto 44 set_tid_address 218 setsockopt 54 shutdown 48 socket 41
        socketpair 53 splice 275 uname 63 wait4 61 waitid 247""",
    ),
    "aarch64": _Machine(
        0xC00000B7,
        277,
        220,
        435,
        """read 63 write 64 readv 65 writev 66 pread64 67 pwrite64 68 lseek 62 openat 56 close 57 close_range 436
        fstat 80 newfstatat 79 statx 291 mkdirat 34 mknodat 33 linkat 37 symlinkat 36 unlinkat 35 readlinkat 78
        fchown 55 fchownat 54 fchmod 52 fchmodat 53 fchmodat2 452 utimensat 88 ftruncate 46 setxattr 5 lsetxattr 6
        fsetxattr 7 getxattr 8 lgetxattr 9 fgetxattr 10 listxattr 11 llistxattr 12 flistxattr 13 getdents64 61
        openat2 437 fstatfs 44 copy_file_range 285 sendfile 71 mmap 222 munmap 215 mremap 216 mprotect 226 madvise 233
        fadvise64 223 brk 214 futex 98
        rt_sigaction 134 rt_sigprocmask 135 rt_sigreturn 139 sigaltstack 132 exit 93 exit_group 94 set_robust_list 99
        rseq 293 gettid 178 getpid 172 tgkill 131 sched_yield 124 sched_getaffinity 123 clock_gettime 113
        clock_nanosleep 115 gettimeofday 169 getrandom 278 ppoll 73 pselect6 72 fcntl 25 prlimit64 261 umask 166
        membarrier 283 getuid 174 geteuid 175 getgid 176 getegid 177 restart_syscall 128 sysinfo 179""",
        """accept 202 accept4 242 bind 200 capset 91 connect 203 dup 23 epoll_create1 20 epoll_ctl 21 epoll_pwait 22
        getpeername 205 getppid 173 getsockname 204 getsockopt 209 inotify_add_watch 27 inotify_init1 26
        inotify_rm_watch 28 ioctl 29 kill 129 listen 201 pidfd_open 434 pipe2 59 prctl 167 recvfrom 207 recvmsg 212
        seccomp 277 sendmsg 211 sendto 206 set_tid_address 96 setsockopt 208 shutdown 210 socket 198 socketpair 199
        splice 76 uname 160 wait4 260 waitid 95""",
    ),
}


def enter(directory: str, capabilities: Iterable[int], *, memory: int, open_files: int, writable: bool = True) -> None:
    """Lock the process, of one thread, into `directory`, which becomes its root.

    `memory` bounds its address space, in bytes. Open descriptors stay; the caller has none that it should not.
    Raises OSError.
    """
    _change_root(directory, writable=writable)
    give_up(capabilities, memory=memory, open_files=open_files)


def give_up(capabilities: Iterable[int], *, memory: int, open_files: int, only_read: int | None = None) -> None:
    """Do all of `enter` but change the root, for a process that has done that in its own way. Raises OSError.

    Nothing can be written to the descriptor `only_read`, nor a copy made of it, nor its flags changed.
    """
    _lower(resource.RLIMIT_AS, memory)
    _lower(resource.RLIMIT_NOFILE, open_files)
    _lower(resource.RLIMIT_CORE, 0)
    _keep(capabilities)
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _deny_system_calls(only_read)


def become(user: int, names: Iterable[str], *, memory: int, fork: bool = False) -> None:
    """Become a user without any privilege, with as many descriptors as it may have, and no system calls but `names`.

    `memory` bounds the address space, in bytes; `fork` as in `restrict_calls`. Raises OSError.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    drop_capabilities()
    restrict_calls(names, fork=fork)


def drop_capabilities() -> None:
    """Drop all capabilities, for ever. Raises OSError."""
    _keep(())
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def restrict_calls(names: Iterable[str], *, fork: bool = False) -> None:
    """Allow this process no system calls but these, and with `fork` children in the same namespaces. Raises OSError.

    Capabilities must be gone. Names that this architecture does not have are fine.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is not None:
        known = {**machine.allowed, **machine.others}
        _install(machine, _program(machine, {name: known[name] for name in names if name in known}, fork=fork))


def end_with_parent() -> None:
    """Be killed when the thread that started this process ends: PR_SET_PDEATHSIG, which a change of identity clears."""
    call("prctl", _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def _change_root(directory: str, *, writable: bool) -> None:
    """pivot_root(2) rather than chroot(2): of the host's files nothing remains that a way could lead to."""
    path = os.fsencode(directory)
    call("unshare", CLONE_NEWNS, operand=directory)
    call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None, operand="/")
    call("mount", path, path, None, _MS_BIND, None, operand=directory)
    flags = _MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | (0 if writable else _MS_RDONLY)
    call("mount", b"none", path, None, flags, None, operand=directory)
    os.chdir(path)
    call("pivot_root", b".", b".", operand=directory)
    # The old root lies over the new one, and goes with everything that is mounted in it.
    call("umount2", b".", _MNT_DETACH, operand=directory)
    os.chdir("/")


def _keep(capabilities: Iterable[int]) -> None:
    """Drop all capabilities but these, for ever: there is no program left to gain any from."""
    mask = sum(1 << number for number in capabilities)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    call("capset", header, struct.pack("=6I", low, low, 0, high, high, 0))


def _deny_system_calls(only_read: int | None) -> None:
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        return
    _install(machine, _program(machine, machine.allowed, only_read))


def _install(machine: _Machine, program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    # Without the flag, older kernels slow the whole process down.
    call(
        "syscall",
        ctypes.c_long(machine.seccomp),
        ctypes.c_long(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_long(_SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        filter_,
    )


def _program(machine: _Machine, allowed: dict[str, int], only_read: int | None = None, *, fork: bool = False) -> bytes:
    """The filter in classic BPF: an instruction is (code, jump if true, jump if false, operand).

    Only threads may be made or, with `fork`, all but what gets namespaces of its own.
    """
    deny = _SECCOMP_RET_ERRNO | errno.EPERM
    instructions = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _SECCOMP_RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NR),
        # glibc asks for clone3, whose flags a filter cannot see, and takes clone where that is not there.
        (_EQUAL, 0, 1, machine.clone3),
        (_RETURN, 0, 0, _SECCOMP_RET_ERRNO | errno.ENOSYS),
    ]
    for name, number in allowed.items():
        if only_read is not None and name in _WRITING:
            # The kernel takes the descriptor to be an unsigned int, the low half of the register.
            instructions += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _ARGUMENT),
                (_EQUAL, 0, 1, only_read),
                (_RETURN, 0, 0, deny),
                (_RETURN, 0, 0, _SECCOMP_RET_ALLOW),
            ]
        else:
            instructions += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _SECCOMP_RET_ALLOW)]
    instructions += [
        (_EQUAL, 0, 3, machine.clone),
        (_LOAD, 0, 0, _ARGUMENT),
        (_ANY_BIT, 1, 0, _CLONE_NAMESPACES) if fork else (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _SECCOMP_RET_ALLOW),
        (_RETURN, 0, 0, deny),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
