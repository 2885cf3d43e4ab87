"""Flags and daemon.json: what is read, and what is refused in which words."""

from __future__ import annotations

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from darse.core.config import TLS, AddressPool, EngineConfig
from darse.core.errors import InvalidParameter
from darse.engine.configuration.command_line import build, parse, read_file, usage
from darse.engine.configuration.table import OPTIONS


def configured(*arguments: str, file: Path | None = None) -> EngineConfig:
    extra = ["--config-file", str(file)] if file else []
    return parse([*extra, *arguments]).load()


def difference(config: EngineConfig) -> dict[str, Any]:
    """The fields that are not the default."""
    default = EngineConfig()
    return {
        name: getattr(config, name)
        for name in EngineConfig.__struct_fields__
        if getattr(config, name) != getattr(default, name)
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--debug"], {"debug": True}),
        (["-D"], {"debug": True}),
        (["--debug=false"], {}),
        (["-D=true"], {"debug": True}),
        (["--data-root", "/x/y"], {"data_root": Path("/x/y")}),
        (["--data-root=/x=y"], {"data_root": Path("/x=y")}),
        (["-H", "unix:///a.sock", "-Hunix:///b.sock"], {"hosts": ("unix:///a.sock", "unix:///b.sock")}),
        (["-Dl", "warn"], {"debug": True, "log_level": "warn"}),
        (["-l=error"], {"log_level": "error"}),
        (["--icc=false", "--live-restore=0"], {"icc": False, "live_restore": False}),
        (["--mtu", "9000"], {"mtu": 9000}),
        (["--shutdown-timeout=-1"], {"shutdown_timeout": -1}),
        (["--dns", "1.1.1.1", "--dns", "::1"], {"dns": ("1.1.1.1", "::1")}),
        (["--bip", "10.1.0.1/24"], {"bip": "10.1.0.1/24"}),
        (["--bridge=none"], {"bridge": "none"}),
        (
            ["--default-address-pool", "base=10.9.0.0/16,size=24"],
            {"default_address_pools": (AddressPool("10.9.0.0/16", 24),)},
        ),
        (["--default-shm-size", "1g"], {"default_shm_size": 1 << 30}),
        (["--default-shm-size", "1.5MiB"], {"default_shm_size": 3 << 19}),
        (["--default-ulimit", "nofile=10:20"], {"default_ulimits": {"nofile": (10, 20)}}),
        (["--default-ulimit", "core=0"], {"default_ulimits": {"core": (0, 0)}}),
        (["--add-runtime", "kata=/opt/kata"], {"runtimes": {"kata": "/opt/kata"}}),
        (["--label", "a=b", "--label", "a=b"], {"labels": ("a=b",)}),
        (["--registry-mirror", "https://m.example/x"], {"registry_mirrors": ("https://m.example/x/",)}),
        (["--log-opt", "max-size=1m"], {"log_options": {"max-size": "1m"}}),
        (["--feature", "cdi=true"], {"features": {"cdi": True}}),
        (["--containerd", "/run/c.sock", "--exec-opt=native.cgroupdriver=cgroupfs"], {}),
        (["--userland-proxy=false"], {"userland_proxy": False}),
        (["--storage-driver", "overlay2", "--ipv6=false"], {}),
        (["-H", "tcp://127.0.0.1:1", "--tls=false"], {"hosts": ("tcp://127.0.0.1:1",), "allow_plain_tcp": True}),
    ],
)
def test_flags(arguments: list[str], expected: dict[str, Any]) -> None:
    assert difference(configured(*arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["-Dx"], "unknown shorthand flag: 'x' in -x"),
        (["--mtu"], "flag needs an argument: --mtu"),
        (["-H"], "flag needs an argument: 'H' in -H"),
        (["start"], "accepts no arguments"),
        (["--debug=maybe"], 'invalid argument "maybe" for "--debug" flag'),
        (["--debug", "false"], "accepts no arguments"),
        (["--mtu=many"], 'invalid argument "many" for "--mtu" flag'),
        (["--mtu=1"], "invalid mtu: 1"),
        (["--max-download-attempts=0"], "invalid max download attempts: 0"),
        (["--log-level=loud"], "invalid log level: 'loud'"),
        (["--dns=x"], "x is not an ip address"),
        (["--bip=10.1.0.1"], "invalid CIDR address: 10.1.0.1"),
        (["--bip=10.1.0.300/24"], "invalid CIDR address"),
        (["--bip=10.1.0.1/24", "--bridge=br0"], "mutually exclusive"),
        (["--default-address-pool=base=10.0.0.0/8"], "invalid default address pool"),
        (["--default-address-pool=base=10.0.0.0/24,size=16"], "do not fit"),
        (["--default-shm-size=large"], "invalid size: 'large'"),
        (["--default-ulimit=nofile=x"], "invalid ulimit argument: nofile=x"),
        (["--default-ulimit=nofile=2:1"], "soft limit must be less than or equal"),
        (["--default-ulimit=nofile"], "must be NAME=VALUE"),
        (["--add-runtime=crun=/x"], "reserved"),
        (["--label=a"], "bad attribute format: a"),
        (["--label=a=1", "--label=a=2"], "conflict labels for a=1 and a=2"),
        (["--registry-mirror=m.example"], "no scheme specified"),
        (["--registry-mirror=https://u@m.example"], "not a valid URI"),
        (["--storage-driver=btrfs"], "storage driver 'btrfs' is not supported"),
        (["--storage-opt=overlay2.size=1G"], "storage option"),
        (["--exec-opt=native.cgroupdriver=systemd"], "cgroup driver 'systemd' is not supported"),
        (["--selinux-enabled"], "--selinux-enabled: darse does not support that yet"),
        (["--metrics-addr=x"], "invalid metrics-addr: x: must be ADDRESS:PORT"),
        (["--selinux-enabled"], "does not support that yet"),
        (["--seccomp-profile=/nowhere.json"], "opening seccomp profile (/nowhere.json) failed"),
        (["-H", "tcp://127.0.0.1:1"], "refusing to listen on tcp://127.0.0.1:1 without TLS"),
        (["-H", "127.0.0.1:1"], "refusing to listen"),
        (["-H", "foo://x"], "unsupported proto: foo"),
        (["--tlsverify", "--tlscacert=/nowhere"], "is not there"),
        (["--config-file=/nowhere.json"], "open /nowhere.json: no such file or directory"),
    ],
)
def test_mistakes(arguments: list[str], words: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        configured(*arguments)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, {}),
        ({"debug": True, "hosts": ["fd://"]}, {"debug": True, "hosts": ("fd://",)}),
        ({"runtimes": {"kata": {"path": "/k"}}}, {"runtimes": {"kata": "/k"}}),
        (
            {"runtimes": {"kata": {"path": "/k", "runtimeArgs": ["--debug"]}}},
            {"runtimes": {"kata": "/k"}, "runtime_arguments": {"kata": ("--debug",)}},
        ),
        (
            {"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}},
            {"default_ulimits": {"nofile": (1, 2)}},
        ),
        (
            {"default-address-pools": [{"base": "10.0.0.0/8", "size": 24}]},
            {"default_address_pools": (AddressPool("10.0.0.0/8", 24),)},
        ),
        ({"default-shm-size": 1048576}, {"default_shm_size": 1048576}),
        ({"proxies": {"http-proxy": "http://p", "no-proxy": "x"}}, {"http_proxy": "http://p", "no_proxy": "x"}),
        (
            {"log-driver": "local", "log-opts": {"max-size": "1m"}},
            {"log_driver": "local", "log_options": {"max-size": "1m"}},
        ),
        ({"builder": {"gc": {"enabled": True}}, "features": {"buildkit": True}}, {"features": {"buildkit": True}}),
        (
            {"insecure-registries": ["r.example:5000", "10.0.0.0/8"]},
            {"insecure_registries": ("r.example:5000", "10.0.0.0/8")},
        ),
    ],
)
def test_file(tmp_path: Path, document: dict[str, Any], expected: dict[str, Any]) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(document))
    assert difference(configured(file=file)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "invalid JSON"),
        ("[]", "must be an object"),
        ('{"foo": 1, "bar": 2}', "the following directives don't match any configuration option: bar, foo"),
        ('{"debug": "true"}', 'debug: must be true or false, not "true"'),
        ('{"mtu": "1500"}', "mtu: must be a number"),
        ('{"mtu": true}', "mtu: must be a number"),
        ('{"data-root": 5}', "data-root: must be a string, not 5"),
        ('{"dns": "1.1.1.1"}', "dns: must be a list"),
        ('{"dns": [{}]}', "dns: must be a list of strings"),
        ('{"log-opts": []}', "log-opts: must be an object"),
        ('{"log-opts": {"max-file": 3}}', "invalid log option max-file"),
        ('{"debug": true, "debug": false}', "'debug' is given twice"),
        ('{"runtimes": {"kata": {"runtimeType": "x"}}}', "must be a path"),
        ('{"runtimes": {"kata": {"path": "/k", "runtimeArgs": "-v"}}}', "runtimeArgs are strings"),
        ('{"runtimes": {"kata": {"path": "/k", "runtimeArgs": [1]}}}', "runtimeArgs are strings"),
        ('{"runtimes": {"kata": {"path": "/k", "options": {"a": 1}}}}', "not supported"),
        ("[" * 100_000, "invalid JSON"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(text)
    with pytest.raises(InvalidParameter) as raised:
        build(read_file(file, must_exist=True))
    assert words in str(raised.value)


def test_an_empty_file_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text("\n")
    assert read_file(file, must_exist=True) == {}


def test_only_a_pipe_that_somebody_names_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    os.mkfifo(file)
    with pytest.raises(InvalidParameter, match="not a regular file"):
        read_file(file, must_exist=False)
    command = parse(["--config-file", str(file)])
    with ThreadPoolExecutor(1) as writer:
        writer.submit(file.write_text, '{"debug": true}')
        assert command.load().debug
    # A reload would wait for ever, and the engine with it.
    with pytest.raises(InvalidParameter, match="not a regular file"):
        command.load(again=True)


def test_flag_and_file_must_not_both_say_it(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"debug": false, "hosts": ["unix:///a"], "labels": ["x=y"]}')
    with pytest.raises(InvalidParameter) as raised:
        configured("--debug", "-H", "unix:///b", file=file)
    assert str(raised.value) == (
        f"unable to configure the Docker daemon with file {file}: the following directives are specified both as a "
        "flag and in the configuration file: debug: (from flag: true, from file: false), "
        "hosts: (from flag: [unix:///b], from file: [unix:///a])"
    )


def test_runtimes_of_flag_and_file_add_up(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"runtimes": {"a": {"path": "/a"}}}')
    assert configured("--add-runtime", "b=/b", file=file).runtimes == {"a": "/a", "b": "/b"}


def test_tls(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    paths = [
        f"--tls{kind}={tmp_path}/{file}.pem" for kind, file in (("cacert", "ca"), ("cert", "cert"), ("key", "key"))
    ]
    verified = configured("-H", "tcp://0.0.0.0", "--tlsverify", *paths)
    assert verified.tls == TLS(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem", verify=True)
    assert not verified.allow_plain_tcp
    # An engine that runs is in another directory than it was started in, and reads its options again there.
    with contextlib.chdir(tmp_path):
        command = parse(["--tls", "--tlscert=cert.pem", "--tlskey=key.pem"])
    assert command.load(again=True).tls == TLS(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert configured("--tls", *paths).tls == TLS(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_what_is_no_option_of_the_engine() -> None:
    command = parse(["--validate", "-v", "--config-file", "/x", "--help"])
    assert (command.validate, command.version, command.help, command.config_file) == (True, True, True, Path("/x"))
    assert command.given == {}


def test_usage_names_every_flag() -> None:
    text = usage()
    assert all(f"--{option.flag}" in text for option in OPTIONS if option.flag)
    assert "-H, --host list" in text


def test_flags_and_keys_are_unique() -> None:
    for names in (
        [o.flag for o in OPTIONS if o.flag],
        [o.file_key for o in OPTIONS],
        [o.short for o in OPTIONS if o.short],
    ):
        assert len(names) == len(set(names))


def test_reload_takes_over_only_what_may_change() -> None:
    config = EngineConfig(labels=("a=1",))
    newer = EngineConfig(labels=("a=2",), debug=True, mtu=9000)
    assert config.reload(newer) == {"labels": ("a=2",), "debug": True}
    assert (config.labels, config.debug, config.mtu) == (("a=2",), True, 1500)
    with pytest.raises(AttributeError):
        config.debug = False  # type: ignore[misc]
    assert msgspec.structs.asdict(config)["debug"] is True


def test_engines_of_one_machine_are_told_apart() -> None:
    default, other = EngineConfig(), EngineConfig(exec_root=Path("/run/other"))
    assert (default.instance, default.bridge_name, default.cgroup_parent) == ("", "darse0", "/darse")
    assert len(other.instance) == 8
    assert other.bridge_name == f"dz{other.instance}"
    assert len(other.bridge_name) < 16, "a link's name has 15 characters"


@pytest.mark.parametrize("name", ["cgroup-favordynmods", "cgroup-favor-moves"])
def test_an_option_is_accepted_by_the_name_that_it_had(tmp_path: Path, name: str) -> None:
    assert parse([f"--{name}=false", "--config-file", "/dev/null"]).load().cgroup_favordynmods is False
    file = tmp_path / "daemon.json"
    file.write_text(f'{{"{name}": false}}')
    assert parse(["--config-file", str(file)]).load().cgroup_favordynmods is False
    assert "cgroup-favor-moves" not in usage()


def test_an_option_is_not_accepted_by_both_its_names(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"cgroup-favor-moves": false, "cgroup-favordynmods": true}')
    with pytest.raises(InvalidParameter, match="only one of them may be given"):
        parse(["--config-file", str(file)]).load()
    file.write_text('{"cgroup-favordynmods": true}')
    with pytest.raises(InvalidParameter, match="both as a flag and in the configuration file"):
        parse(["--cgroup-favor-moves=false", "--config-file", str(file)]).load()


def test_help_describes_every_flag_within_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = usage().splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    for option in OPTIONS:
        if option.flag:
            assert f"--{option.flag} {option.shown_value}".rstrip() in words
            assert option.help[0].isupper()
            assert option.help in words
    assert "cgroup-favor-moves" not in words
    assert parse(["--cgroup-favor-moves=false"]).given == parse(["--cgroup-favordynmods=false"]).given
