"""Every flag of every command either may have any value, or completion offers those that it has."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import pytest

from darse.cli.command_line import index
from darse.cli.command_line.completion import complete
from darse.cli.command_line.flags import Command, Flag
from darse.cli.entry import GLOBAL
from darse.cli.settings.config import Settings

# Flags whose values nobody can list: texts, numbers, files, addresses, times; and names that only the engine knows.
_OPEN = frozenset(
    """
    add-host address alias annotation audit-log author aux-address blkio-weight-device build-arg build-context builder
    cache-from cgroup-parent checkpoint checkpoint-dir cidfile config config-file config-from cpu-count cpu-percent cpus
    cpuset-cpus cpuset-mems data-root description detach-keys device device-cgroup-rule device-read-bps
    add-host alias annotation author aux-address blkio-weight-device build-arg build-context builder cache-from
    cgroup-parent checkpoint checkpoint-dir cidfile config config-file config-from cpu-count cpu-percent cpus
    cpuset-cpus cpuset-mems data-root days description detach-keys device device-cgroup-rule directory device-read-bps
    device-read-iops device-write-bps device-write-iops dns dns-opt dns-option dns-search docker domainname
    driver-opt entrypoint env env-file env-from-file exec-root exit-code-from expose file from gateway group-add
    hash health-cmd health-interval health-start-interval health-start-period health-timeout hostname iidfile
    input io-maxbandwidth io-maxiops ip ip-range ip6 ipam-opt keep-storage kernel-memory label label-file link
    link-local-ip log-opt mac-address max-used-space memory memory-reservation memory-swap message metadata-file
    name net-alias network-alias no-attach no-cache-filter opt os-features os-version password publish remove-user
    reserved-space scale secret server-name set-user shm-size since stop-timeout subnet sysctl tag target tlscacert
    tlscert tlskey tmpfs until user username users volume volumes-from workdir
    name net-alias network-alias no-attach no-cache-filter opt os-features os-version password publish
    reserved-space root scale secret shm-size since stop-timeout subnet sysctl tag target tlscacert tlscert tlskey
    tmpfs until user username volume volumes-from workdir
    """.split()
)
# What is offered of these is not all that they may have.
_ELSEWHERE = {
    "compose bridge convert": {"output", "templates", "transformation"},
    "compose config": {"output"},
    "compose export": {"output"},
    "compose up": {"attach"},
    "container export": {"output"},
    "generate compose": {"project-dir"},
    "image save": {"output"},
    "volume export": {"output"},
    "system tls client": {"context", "output"},
    "system tls init": {"host"},
}


def _flags() -> Iterator[tuple[str, Command, Flag]]:
    for path, entry in index.COMMANDS.items():
        command, _ = importlib.import_module(entry.module).COMMANDS[path]
        yield from ((path, command, flag) for flag in command.flags)
    yield from (("", GLOBAL, flag) for flag in GLOBAL.flags)


_CASES = [(path, flag) for path, _, flag in _flags() if flag.kind in ("string", "list")]


def _offered(path: str, flag: Flag, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("DARSE_HOST", "unix:///nowhere")
    return complete([*path.split(), f"--{flag.name}", ""], Settings())


@pytest.mark.parametrize(("path", "flag"), _CASES, ids=[f"{path} --{flag.name}" for path, flag in _CASES])
def test_a_flag_with_few_values_offers_them(path: str, flag: Flag, monkeypatch: pytest.MonkeyPatch) -> None:
    is_open = flag.name in _OPEN or flag.name in _ELSEWHERE.get(path, ())
    assert bool(_offered(path, flag, monkeypatch)) or is_open


def _told(flag: Flag) -> set[str]:
    """The values that a flag's help lists: `("a", "b")`, `(a|b)`, `[a | b]`, `'a', or none`."""
    lists = re.findall(r"\(((?:\"[a-z-]+\"(?:, |\)))+)", flag.help) + re.findall(
        r"[(\[]([a-z]+(?: ?\| ?[a-z]+)+)[)\]]", flag.help
    )
    return {word for one in lists for word in re.findall(r"[a-z-]+", one)} - {"ms", "s", "m", "h"}


@pytest.mark.parametrize(
    ("path", "flag"),
    [(path, flag) for path, flag in _CASES if _told(flag)],
    ids=[f"{path} --{flag.name}" for path, flag in _CASES if _told(flag)],
)
def test_what_help_lists_is_offered(path: str, flag: Flag, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _told(flag) - set(_offered(path, flag, monkeypatch)) == set()


def test_the_runtimes_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    class _Client:
        def __init__(self, *_: object) -> None:
            pass

        def do(self, *_: object) -> dict[str, dict[str, None]]:
            return {"Runtimes": {"crun": None, "kata": None}}

    monkeypatch.setattr("darse.client.blocking.Client", _Client)
    assert complete(["run", "--runtime", ""], Settings()) == ["crun", "kata"]
    assert complete(["create", "--runtime=k"], Settings()) == ["--runtime=kata"]


def test_a_number_is_no_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARSE_HOST", "unix:///nowhere")
    assert complete(["ps", "--last", ""], Settings()) == []
    assert "pull" in complete(["explain", "--last", ""], Settings())
