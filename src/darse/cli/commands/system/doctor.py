"""`doctor`: what of this host keeps the engine from doing all it could, and what to do about it.

The engine knows best, so it is asked; when none answers, the command reports what it sees by itself.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator

from darse.cli.command_line.flags import Command, string, switch, terminal_width
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import ApiError, CliError, ConnectionFailed
from darse.cli.terminal import screen
from darse.client import EngineEndpoint
from darse.client.blocking import Client
from darse.client.requests import system

_PROGRAMS = {
    "crun": "apt-get install crun (or runc): it makes the containers",
    "conmon": "apt-get install conmon: it keeps each container's output and exit status",
    "catatonit": "apt-get install catatonit for --init",
    "nft": "apt-get install nftables",
}
_FILES = {
    "/usr/share/containers/seccomp.json": ("golang-github-containers-common", "the default seccomp profile"),
    "/bin/busybox": ("busybox-static", "the built-in images are made of it"),
}
# What the advice of a missing package begins with; the engine's as well as that below.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.system import FindingDocument

_INSTALL = "apt-get install "
_WIDEST_NAME = 20
_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
_COLOURS = {"ok": "32", "note": "33", "problem": "31"}


def doctor(invocation: Invocation) -> int:
    """Print the findings; the status is 1 when there are problems."""
    endpoint = invocation.settings.endpoint()
    if invocation.options.fix and not _is_here(endpoint):
        raise CliError(f"the engine is at {endpoint.host}: run darse doctor --fix on its machine")
    findings = list(_asked(endpoint))
    if invocation.options.fix and _install(packages_of(findings)):
        findings = list(_asked(endpoint))
    if invocation.options.format == "json":
        from darse.cli.output.inspect import indented

        sys.stdout.write(indented(findings) + "\n")
    elif invocation.options.format:
        raise CliError("the format of doctor is json, or none")
    else:
        screen.control("".join(f"{line}\n" for line in _lines(findings)))
    return 1 if any(one["level"] == "problem" for one in findings) else 0


def packages_of(findings: list[FindingDocument]) -> list[str]:
    """Debian's packages that findings ask for, in their order."""
    found = (one.get("advice", "").partition(_INSTALL)[2].split() for one in findings if one["level"] != "ok")
    return list(dict.fromkeys(words[0].strip(",;:") for words in found if words))


def _install(packages: list[str]) -> bool:
    """Install packages, or say how; whether anything was installed. Raises CliError."""
    if not packages:
        sys.stderr.write("no package is missing\n")
        return False
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which(command[0]) is None:
        raise CliError(f"these Debian packages are missing, and there is no apt-get here: {' '.join(packages)}")
    if os.geteuid() != 0:
        raise CliError(f"only root can install what is missing: sudo {' '.join(command)}")
    import subprocess

    sys.stderr.write(f"installing {', '.join(packages)}\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The lists of packages may be there and fresh: they are fetched when the first attempt fails only.
    if subprocess.run(command, env=environment, check=False, capture_output=True).returncode != 0:
        subprocess.run(["apt-get", "update", "-q"], env=environment, check=False, capture_output=True)
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise CliError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return True


def _asked(endpoint: EngineEndpoint) -> Iterator[FindingDocument]:
    # Not the default endpoint's way, which starts an engine: a doctor looks, and changes nothing.
    quiet = EngineEndpoint(
        endpoint.host,
        tls=endpoint.tls,
        verify=endpoint.verify,
        ca=endpoint.ca,
        certificate=endpoint.certificate,
        key=endpoint.key,
    )
    client = Client(quiet)
    try:
        findings = client.do(system.diagnose())
    except ApiError as error:
        yield _finding("note", "engine", f"{endpoint.host} is no darse engine ({error.reason})", "set DARSE_HOST")
    except CliError as error:
        yield _unreachable(endpoint, error)
    else:
        yield _finding("ok", "engine", f"answers at {endpoint.host}")
        yield from findings
        return
    finally:
        client.close()
    if _is_here(endpoint):
        yield from _seen_from_here()


def _is_here(endpoint: EngineEndpoint) -> bool:
    return endpoint.host.startswith("unix://")


def _finding(level: str, check: str, found: str, advice: str = "") -> FindingDocument:
    return {"level": level, "check": check, "found": found, "advice": advice}


def _unreachable(endpoint: EngineEndpoint, error: CliError) -> FindingDocument:
    if not _is_here(endpoint):
        return _finding("problem", "engine", str(error))
    path = endpoint.host.removeprefix("unix://")
    if not os.path.exists(path):
        can_start = endpoint.is_default and os.geteuid() == 0
        advice = "any command that needs it starts it" if can_start else "start it: sudo darsed"
        return _finding("note" if can_start else "problem", "engine", f"none runs: there is no {path}", advice)
    if not os.access(path, os.W_OK):
        from darse.client.permission import advice as of_permission

        return _finding("problem", "engine", f"you may not use {path}", of_permission(path))
    if isinstance(error, ConnectionFailed) and not _is_socket(path):
        return _finding("problem", "engine", f"{path} is no socket", "set DARSE_HOST to the engine's")
    return _finding("problem", "engine", f"none answers at {endpoint.host}", "look at its log: /run/darse/darsed.log")


def _is_socket(path: str) -> bool:
    import stat

    return stat.S_ISSOCK(os.stat(path).st_mode)


def _seen_from_here() -> Iterator[FindingDocument]:
    if os.geteuid() != 0:
        yield _finding("note", "root", "you are not root", "for now the engine needs root")
    for name, advice in _PROGRAMS.items():
        path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")
        yield _finding("ok", name, path) if path else _finding("problem", name, "not installed", advice)
    for path, (package, why) in _FILES.items():
        if os.path.exists(path):
            yield _finding("ok", path, why)
        else:
            yield _finding("problem", path, f"missing: {why}", f"{_INSTALL}{package}")
    if not _has_library("libnftables.so.1"):
        yield _finding("problem", "libnftables", "not installed: it is the firewall", f"{_INSTALL}libnftables1")
    with open("/proc/filesystems", encoding="utf-8") as file:
        has_overlay = any(line.split()[-1] == "overlay" for line in file)
    if has_overlay:
        yield _finding("ok", "overlay", "the kernel has overlayfs")
    else:
        yield _finding("problem", "overlay", "the kernel has no overlayfs", "modprobe overlay")


def _has_library(name: str) -> bool:
    """Whether a shared library is where the dynamic linker looks (ld.so(8))."""
    from glob import glob

    places = ("/usr/lib", "/usr/lib/*", "/usr/lib64", "/lib/*", "/usr/local/lib")
    return any(glob(f"{directory}/{name}") for directory in places)


def _lines(findings: list[FindingDocument]) -> Iterator[str]:
    has_colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    # A long name, a path say, has a line of its own rather than pushing all others to the right.
    width = min(max(len(one["check"]) for one in findings), _WIDEST_NAME)
    room = max(terminal_width() - 9 - width - 2, 20) if sys.stdout.isatty() else 10_000
    for one in findings:
        mark = f"{_MARKS.get(one['level'], one['level']):<7}"
        if has_colours:
            mark = f"\x1b[{_COLOURS.get(one['level'], '0')}m{mark}\x1b[0m"
        lines = textwrap.wrap(screen.visible(one["found"]), room) or [""]
        if one.get("advice"):
            lines += textwrap.wrap(screen.visible(one["advice"]), room, initial_indent="-> ", subsequent_indent="   ")
        if len(one["check"]) > width:
            yield f"{mark}  {one['check']}"
        else:
            yield f"{mark}  {one['check']:<{width}}  {lines.pop(0)}"
        yield from (f"{'':<{9 + width}}  {line}" for line in lines)
    problems = sum(one["level"] == "problem" for one in findings)
    notes = sum(one["level"] == "note" for one in findings)
    yield ""
    yield f"{len(findings)} checks, {problems} problem{'s' * (problems != 1)}, {notes} note{'s' * (notes != 1)}"


COMMANDS = {
    "doctor": (
        Command(
            "doctor",
            "[OPTIONS]",
            "Check what this host has and lacks",
            (
                string("format", "'json', or none", "f"),
                switch("fix", "Install the Debian packages that are missing; without root, say which"),
            ),
        ),
        doctor,
    )
}
