"""Ways out of containers that have worked somewhere, tried here. Each test is named after what it reproduces.

Nothing here would harm the host if it did work: what is written to the host's files is what is in them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from pathlib import Path

import pytest
from tests.support.crafted import crafted_image, directory, entry, fifo, link
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until

# Descriptors that a runtime might have open when it changes directory.
_DESCRIPTORS = range(3, 24)
_STATIC = Path("/usr/libexec/podman/catatonit")


def shell(cli: Client, script: str, *options: str, image: str = BUSYBOX) -> str:
    return cli("run", "--rm", *options, image, "sh", "-c", script).ok().line


def load(cli: Client, archive: bytes) -> bool:
    """Load an image; False when that is refused already, for a link that leads out of its layer."""
    done = cli("load", input=archive)
    assert done.status == 0 or "leads out of the layer" in done.err, done.err
    return done.status == 0


def python(cli: Client, program: str, *options: str) -> str:
    """Run a program with the host's interpreter, whose files are bound, in a container."""
    bind = ("-v", "/:/host:ro")
    return cli("run", "--rm", *bind, *options, BUSYBOX, "chroot", "/host", "/usr/bin/python3", "-c", program).ok().line


# Directories and descriptors of the runtime


def test_cve_2024_21626_working_directory_is_a_leaked_descriptor(cli: Client) -> None:
    """WORKDIR /proc/self/fd/N: runc had the host's cgroup directory open when it went there."""
    for number in _DESCRIPTORS:
        done = cli("run", "--rm", "-w", f"/proc/self/fd/{number}", BUSYBOX, "cat", "../../../../../../etc/hostname")
        # Docker's client makes 127 of a descriptor that is not there, and 125 of one that is no directory.
        assert (done.status, done.out) == (127 if "no such file" in done.err else 125, ""), done
        assert "chdir" in done.err


def test_cve_2024_21626_working_directory_of_an_exec(cli: Client) -> None:
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    for number in _DESCRIPTORS:
        done = cli("exec", "-w", f"/proc/self/fd/{number}", "cc", "pwd")
        assert done.status == 127, done
        assert "chdir" in done.out + done.err


def test_cve_2024_21626_working_directory_of_an_image_is_a_link(cli: Client) -> None:
    for number in (5, 7, 8):
        load(cli, crafted_image("leaky", {"WorkingDir": "/w"}, [link("w", f"/proc/self/fd/{number}")]))
        done = cli("run", "--rm", "leaky", "cat", "../../../../../../etc/hostname")
        assert (done.status, done.out) == (125, "")
        assert "Cannot mkdir: /w is not a directory" in done.err


def test_descriptors_of_the_engine_are_not_inherited(cli: Client) -> None:
    # Not through a pipe: its ends are the shell's, too, until both programs run.
    listed = cli("run", "--rm", BUSYBOX, "sh", "-c", "ls /proc/1/fd; true").ok()
    assert listed.out.split() == ["0", "1", "2"]
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    # Of the shell itself: its child lists them.
    assert cli("exec", "cc", "sh", "-c", "ls /proc/$$/fd; true").ok().out.split() == ["0", "1", "2"]
    cli("exec", "-d", "cc", "sh", "-c", "echo $$ > /tmp/new; mv /tmp/new /tmp/pid; sleep 1000; true").ok()
    wait_until(lambda: cli("exec", "cc", "cat", "/tmp/pid").status == 0, what="the exec's start")
    assert cli("exec", "cc", "sh", "-c", "ls /proc/$(cat /tmp/pid)/fd").ok().out.split() == ["0", "1", "2"]


def test_cve_2019_5736_runtime_is_overwritten_through_proc_self_exe(cli: Client, engine: Engine) -> None:
    """An exec of `#!/proc/self/exe` runs the runtime inside; who has it open may write to it once it has ended."""
    programs = [Path("/usr/bin/crun"), Path("/usr/sbin/runc"), *(engine.exec_root / "bin").iterdir()]
    before = [hashlib.sha256(path.read_bytes()).digest() for path in programs if path.exists()]
    watch = (
        "echo '#!/proc/self/exe' > /evil; chmod 755 /evil; echo ready; "
        "while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac; "
        "(exec 9<$p/exe && echo overwritten > /proc/self/fd/9; echo overwritten > $p/exe) 2>/dev/null; done; done"
    )
    process = cli.popen("run", "--name", "cc", BUSYBOX, "sh", "-c", watch)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for _ in range(10):
        cli("exec", "cc", "/evil")
        cli("exec", "cc", "true").ok()
    cli("rm", "-f", "cc").ok()
    process.communicate(timeout=20)
    assert [hashlib.sha256(path.read_bytes()).digest() for path in programs if path.exists()] == before


# /proc and /sys


@pytest.mark.parametrize("place", ["/proc", "/proc/self", "/proc/sys", "/proc/acpi"])
def test_cve_2019_16884_volume_of_the_image_over_proc(cli: Client, place: str) -> None:
    """A /proc of the image's own would hide what is masked, and tell programs lies."""
    load(cli, crafted_image("overproc", {"Volumes": {place: {}}}))
    done = cli("run", "--rm", "overproc", "true")
    assert done.status == 125
    assert "cannot be mounted because it is" in done.err


def test_cve_2019_19921_link_leads_a_volume_to_proc(cli: Client) -> None:
    load(
        cli,
        crafted_image(
            "linked", {"Volumes": {"/data/proc": {}, "/other": {}}}, [link("data", "/"), link("other", "proc/sys")]
        ),
    )
    done = cli("run", "--rm", "linked", "true")
    assert done.status == 125
    assert "cannot be mounted because it is" in done.err


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_cve_2023_27561_proc_sys_and_dev_of_the_image_are_links(
    cli: Client, tmp_path: Path, runtime: str, name: str
) -> None:
    """A runtime that follows one before the container has its root fills a directory of the host."""
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    there = directory(str(tmp_path).lstrip("/"))
    for target in (str(tmp_path), f"../../../../../../../../../..{tmp_path}", "../../../../../../proc", "/etc/passwd"):
        if not load(cli, crafted_image("linked", {}, [there, link(name, target)], without=[f"/{name}"])):
            continue
        done = cli("run", "--rm", "--runtime", runtime, "linked", "true")
        assert done.status != 0, target
        assert not done.out
        assert not list(tmp_path.iterdir()), target


def test_binds_over_proc_are_refused_but_for_those_of_lxcfs(cli: Client) -> None:
    done = cli("run", "--rm", "-v", "/etc/hostname:/proc/kcore", BUSYBOX, "true")
    assert '"/proc/kcore" cannot be mounted because it is inside /proc' in done.err
    assert (
        shell(cli, "cat /proc/uptime", "-v", "/etc/hostname:/proc/uptime:ro")
        == Path("/etc/hostname").read_text().strip()
    )
    assert shell(cli, "readlink /proc/self/ns/pid >/dev/null && echo mine", "-v", "/proc:/host/proc:ro") == "mine"


def test_cve_2025_31133_dev_null_of_the_image_is_a_link_into_proc(cli: Client) -> None:
    """Masked files are hidden by /dev/null: where that leads elsewhere, so would they."""
    files = [directory("dev/pts"), directory("dev/shm"), directory("dev/mqueue")]
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    load(
        cli,
        crafted_image(
            "devices", {"Volumes": {"/dev": {}}}, [link("dev/null", "/proc/sys/kernel/core_pattern"), *files]
        ),
    )
    done = cli("run", "--rm", "devices", "cat", "/proc/keys")
    assert before not in done.out
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_masked_paths_are_masked_for_execs_too(cli: Client) -> None:
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list"):
        if Path(path).exists():
            for options in ([], ["--privileged"]):
                assert cli("exec", *options, "cc", "cat", path).ok().raw == b""
    assert cli("exec", "cc", "umount", "/proc/keys").status != 0


def test_bind_of_a_masked_path_to_another_name(cli: Client) -> None:
    """The unmasked file is below the mask, for whoever may mount or unmount."""
    for script in (
        "mount --bind /proc /tmp",
        "mount -t proc proc /tmp",
        "umount /proc/keys",
        "umount -l /proc/sys",
        "mount -o remount,rw /proc/sys",
    ):
        done = cli("run", "--rm", BUSYBOX, "sh", "-c", script)
        assert done.status != 0, script


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/panic_on_oom",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/fs/cgroup/release_agent",
    ],
)
def test_what_the_host_runs_or_obeys_cannot_be_written(cli: Client, path: str) -> None:
    # Opened for writing, and not written to.
    assert shell(cli, f"(: >> {path}) 2>/dev/null && echo opened || echo refused") == "refused"


def test_cve_2022_0492_release_agent_by_unshare(cli: Client) -> None:
    """Root of a new user and cgroup namespace could mount a hierarchy and name the program that the host runs."""
    for script in (
        "unshare -U true",
        "mkdir /tmp/c; mount -t cgroup -o memory cgroup /tmp/c",
        "mkdir /tmp/c; mount -t cgroup2 cgroup2 /tmp/c",
        "for f in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent; do : >> $f && exit 0; done; exit 1",
        "mkdir /sys/fs/cgroup/mine || mkdir /sys/fs/cgroup/memory/mine",
        "mkdir /sys/fs/cgroup/pids/mine",
    ):
        assert cli("run", "--rm", BUSYBOX, "sh", "-c", script).status != 0, script
        assert cli("run", "--rm", "--cgroupns", "private", BUSYBOX, "sh", "-c", script).status != 0, script


# Devices and mounts


def test_devices_that_are_made_cannot_be_opened(cli: Client) -> None:
    """CAP_MKNOD is a default: the device cgroup is what keeps the disk away."""
    disk = next((path for path in Path("/dev").iterdir() if path.is_block_device()), None)
    number = os.stat(disk).st_rdev if disk else os.makedev(8, 0)
    for kind, device in (("b", number), ("c", os.makedev(1, 1)), ("c", os.makedev(10, 200))):
        made = f"mknod /node {kind} {os.major(device)} {os.minor(device)}"
        assert shell(cli, f"{made} && (: < /node) 2>/dev/null && echo opened || echo refused") == "refused"


def test_devices_in_volumes_and_images_cannot_be_opened(cli: Client) -> None:
    shell(cli, "mknod /v/mem c 1 1", "-v", "data:/v")
    assert (
        shell(cli, "(: < /v/mem) 2>/dev/null && echo opened || echo refused", "-v", "data:/v", "--cap-drop", "ALL")
        == "refused"
    )


def test_mounts_do_not_get_out(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    bind = ("-v", f"{tmp_path}:/x", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined")
    for scripts in ("mount -t tmpfs none /x/inner", "mount --make-rshared / && mount -t tmpfs none /x/inner"):
        assert shell(cli, f"{scripts} && touch /x/inner/file && echo mounted", *bind) == "mounted"
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        assert list((tmp_path / "inner").iterdir()) == []


@pytest.mark.parametrize("way", ["", "../../../../../../.."], ids=["absolute", "relative"])
def test_volumes_and_binds_at_links_to_the_host(cli: Client, tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    files = [link("data", f"{way}{outside}"), directory(str(outside).lstrip("/"))]
    if not load(cli, crafted_image("linked", {"Volumes": {"/data": {}}}, files)):
        return
    assert shell(cli, "touch /data/file && ls /data", image="linked") == "file"
    cli("run", "--rm", "-v", "mine:/data/deep", "linked", "touch", "/data/deep/file").ok()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("way", ["", "../../../../../../.."], ids=["absolute", "relative"])
def test_binds_at_links_to_what_only_the_host_has(cli: Client, tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if load(cli, crafted_image("linked", {}, [link("data", f"{way}{outside}")])):
        cli("run", "--rm", "-v", "mine:/data/deep", "linked", "touch", "/data/deep/file")
    assert list(outside.iterdir()) == []


# Users


@pytest.mark.parametrize("files", ["fifos", "links", "links out", "directories", "huge"])
def test_account_files_of_the_image(cli: Client, files: str) -> None:
    """The engine reads them: a fifo would block it, a link show it the host's, and a large file take its memory."""
    made = {
        "fifos": [fifo("etc/passwd"), fifo("etc/group")],
        "links": [link("etc/passwd", "/proc/1/root/etc/passwd"), link("etc/group", "/host/etc/group")],
        "links out": [link("etc/passwd", "../../../../../../etc/passwd"), link("etc/group", "/../../../etc/group")],
        "directories": [directory("etc/passwd"), directory("etc/group")],
        "huge": [entry("etc/passwd", b"x" * (8 << 20)), entry("etc/group", b"y:" * (4 << 20))],
    }[files]
    if not load(cli, crafted_image("accounts", {"User": "systemd-network"}, made)):
        return
    done = cli("run", "--rm", "accounts", "id")
    assert done.status == 125
    assert "unable to find user systemd-network: no matching entries in passwd file" in done.err
    assert shell(cli, "echo runs", "--user", "7:8", image="accounts") == "runs"


def test_malformed_accounts_are_nobody_rather_than_root(cli: Client) -> None:
    accounts = b"alice:x::\nbob:x:x:x::/:\ncarol:x:-1:-1::/:\ndave:x:4294967296:0::/:\n"
    load(cli, crafted_image("accounts", {}, [entry("etc/passwd", accounts)]))
    for name in ("alice", "bob", "carol", "dave"):
        done = cli("run", "--rm", "--user", name, "accounts", "id")
        assert done.status == 125, name
        assert "no matching entries in passwd file" in done.err


def test_set_uid_programs_gain_nothing_with_no_new_privileges(cli: Client) -> None:
    if not _STATIC.exists():
        pytest.skip(f"{_STATIC} is not installed (package catatonit)")
    load(cli, crafted_image("suid", {}, [entry("su", _STATIC.read_bytes(), 0o4755)]))
    program = ("suid", "/su", "sleep", "1000")
    for name, options, effective in (("free", (), "0"), ("confined", ("--security-opt", "no-new-privileges"), "1000")):
        cli("run", "-d", "--name", name, "--user", "1000", *options, *program).ok()
        status = ("grep", "^Uid:", "/proc/1/status")
        assert cli("exec", name, *status).ok().line.split()[1:3] == ["1000", effective]
        # An exec has what the container has.
        inner = '/su sleep 1000 & x=; while [ "$x" != su ]; do read x < /proc/$!/comm; done; grep ^Uid: /proc/$!/status'
        assert cli("exec", name, "sh", "-c", inner).ok().line.split()[1:3] == ["1000", effective]


# The kernel

# x86_64's numbers. Arguments are such that a call that is let through does nothing.
_DENIED = {
    "acct": (163, 1),
    "add_key": (248,),
    "bpf": (321, 5),
    "delete_module": (176,),
    "finit_module": (313, -1),
    "fsmount": (432, -1),
    "fsopen": (430,),
    "init_module": (175,),
    "io_uring_enter": (426, -1),
    "io_uring_register": (427, -1),
    "io_uring_setup": (425, 1),
    "iopl": (172, 0),
    "kexec_load": (246, 0, 0, 0, -1),
    "keyctl": (250, 0, -3),
    "mount": (165, 0, 0, 0, 0, 0),
    "mount_setattr": (442, -1),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "open_by_handle_at": (304, -1),
    "open_tree": (428, -1),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "pivot_root": (155, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "request_key": (249,),
    "setdomainname": (171, 0, 0),
    "sethostname": (170, 0, 0),
    "setns": (308, -1, 0),
    "settimeofday": (164, 0, 0),
    "swapoff": (168, 0),
    "swapon": (167, 0),
    "syslog": (103, 10),
    "umount2": (166, 0, 0),
    "unshare(CLONE_NEWUSER)": (272, 0x10000000),
    "unshare(CLONE_NEWNS)": (272, 0x20000),
    "userfaultfd": (323, 0),
    "clone3": (435, 0, 0),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are x86_64's")
def test_system_calls_that_the_default_profile_denies(cli: Client) -> None:
    program = (
        "import ctypes, errno, json; libc = ctypes.CDLL(None, use_errno=True); found = {}\n"
        f"for name, call in {_DENIED!r}.items():\n"
        "    result = libc.syscall(*map(ctypes.c_long, [*call, *[0] * (7 - len(call))]))\n"
        "    found[name] = errno.errorcode.get(ctypes.get_errno(), 'none') if result < 0 else 'done'\n"
        "print(json.dumps(found))"
    )
    found = json.loads(python(cli, program))
    assert {name: answer for name, answer in found.items() if answer not in ("EPERM", "ENOSYS")} == {}
    assert found["clone3"] == "ENOSYS"


def test_sockets_to_the_hypervisor_are_denied(cli: Client) -> None:
    program = (
        "import socket\ntry: socket.socket(40, socket.SOCK_STREAM); print('made')\nexcept OSError as e: print(e.errno)"
    )
    assert python(cli, program) in ("1", "22", "97")


def test_processes_of_the_host_cannot_be_traced(cli: Client) -> None:
    """With --pid=host, root in the container is not root enough without CAP_SYS_PTRACE."""
    read = "cd /proc/$1; cat environ mem; ls root/ cwd/; cat fd/0 fd/1; readlink exe"
    done = cli("run", "--rm", "--pid", "host", BUSYBOX, "sh", "-c", read, "sh", str(os.getpid()))
    assert done.out == ""
    assert done.err.lower().count("permission denied") >= 4, done.err
    attach = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
        f"print(libc.ptrace(16, {os.getpid()}, 0, 0), ctypes.get_errno())"
    )
    assert python(cli, attach, "--pid", "host") == "-1 1"
    reading = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
        "piece = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8); "
        f"print(libc.syscall(310, {os.getpid()}, piece, 1, piece, 1, 0), ctypes.get_errno())"
    )
    assert platform.machine() != "x86_64" or python(cli, reading, "--pid", "host") == "-1 1"
