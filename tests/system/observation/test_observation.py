"""top, stats and update, with real containers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pexpect
import pytest
from tests.support.engine import BUSYBOX, Client, Engine, docker_program
from tests.support.waiting import wait_until
from tests.system.observation.support import limit, run

MIB = 1 << 20
SPIN = "while :; do :; done"


# top


def test_top_shows_the_processes_of_the_container(cli: Client, engine: Engine) -> None:
    container = run(engine, "topped", command=("sh", "-c", "sleep 1000 & sleep 2000 & wait"))
    wait_until(lambda: cli("top", "topped").ok().out.count("00:00:00            sleep ") == 2, what="both children")
    header, *rows = (line.split() for line in cli("top", "topped").ok().out.splitlines())
    assert header == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    pids = {int(row[1]) for row in rows}
    assert container["State"]["Pid"] in pids
    assert {" ".join(row[7:]) for row in rows} >= {"sleep 1000", "sleep 2000"}
    assert cli("top", "topped", "aux").ok().out.split()[:3] == ["USER", "PID", "%CPU"]
    assert cli("top", "topped", "-o", "pid,comm").ok().out.split()[:2] == ["PID", "COMMAND"]


def test_top_is_what_ps_prints(engine: Engine) -> None:
    """Column by column, where ps is installed; times of a sleeping process do not change in between."""
    program = Path("/usr/bin/ps")
    if not program.exists():
        pytest.skip("ps is not installed: package procps")
    container = run(engine, "compared", "-u", "33")
    pid = container["State"]["Pid"]
    for arguments in (
        "-ef",
        "aux",
        "-eF",
        "ax",
        "-A",
        "-eo pid,ppid,user,uid,gid,group,stat,comm,vsz,nice,pri,nlwp,args",
    ):
        # In a process's first seconds its share of the processor changes from one look to the next.
        wait_until(
            lambda arguments=arguments: same_as_ps(engine, program, pid, arguments), 30, f"the same as {arguments}"
        )


def same_as_ps(engine: Engine, program: Path, pid: int, arguments: str) -> bool:
    answer = engine.api("GET", "/containers/compared/top", query={"ps_args": arguments}).json()
    header, *lines = subprocess.run(
        [program, "-ww", *arguments.split()] if arguments.startswith("-") else [program, f"{arguments}ww"],
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8"},
        check=True,
    ).stdout.splitlines()
    titles = header.split()
    assert answer["Titles"] == titles
    rows = [line.split(None, len(titles) - 1) for line in lines]
    (theirs,) = [row for row in rows if row[titles.index("PID")] == str(pid)]
    return answer["Processes"] == [[cell.strip() for cell in theirs]]


def test_top_leaves_exotic_options_to_ps(engine: Engine) -> None:
    if not Path("/usr/bin/ps").exists():
        pytest.skip("ps is not installed: package procps")
    run(engine, "exotic")
    answer = engine.api("GET", "/containers/exotic/top", query={"ps_args": "-ef --forest"})
    assert [row[-1].split("\\_ ")[-1] for row in answer.json()["Processes"]] == ["sleep 1000"]
    refused = engine.api("GET", "/containers/exotic/top", query={"ps_args": "--nonsense"})
    assert (refused.status, "unknown gnu long option" in refused.message) == (400, True)
    refused = engine.api("GET", "/containers/exotic/top", query={"ps_args": "-o user=PID"})
    assert "is not allowed" in refused.message
    assert "Couldn't find PID field" in engine.api("GET", "/containers/exotic/top?ps_args=-o+comm").message


def test_top_of_what_does_not_run(cli: Client) -> None:
    cli("create", "--name", "still", BUSYBOX, "true").ok()
    done = cli("top", "still")
    assert done.status == 1
    assert "is not running" in done.err


def test_top_shows_no_control_characters(engine: Engine) -> None:
    """A container names its processes; a terminal that lists them must not obey it."""
    run(engine, "evil", command=("sh", "-c", "sleep 1000; : \033]0;title\007"))
    answer = engine.api("GET", "/containers/evil/top")
    assert answer.status == 200
    (shown,) = [row[-1] for row in answer.json()["Processes"] if "title" in row[-1]]
    assert shown.startswith("sh -c sleep 1000; : ")
    assert not set(shown) & {"\033", "\007"}
    assert b"\x1b" not in answer.body


# stats


def test_stats_of_a_busy_container(cli: Client, engine: Engine) -> None:
    run(engine, "busy", "--cpus", "0.5", "-m", "64m", command=("sh", "-c", SPIN))
    out = cli("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}", "busy").ok().out
    name, percent, used, slash, most, pids = out.split()
    assert (name, slash, most, pids) == ("busy", "/", "64MiB", "1")
    # How much of a processor it gets is a matter of what else runs; more than none, and not more than it may.
    assert 0 < float(percent.rstrip("%")) < 75
    assert used.endswith(("KiB", "MiB"))


def test_the_percentage_is_what_the_kernel_counts(engine: Engine) -> None:
    """Of the two samples: time used by the container in the time that passed, as the process's own counters have it."""
    pid = run(engine, "counting", command=("sh", "-c", SPIN))["State"]["Pid"]

    def computed() -> float:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = computed()
    one = engine.api("GET", "/containers/counting/stats?stream=false").json()
    after = computed()
    used = (one["cpu_stats"]["cpu_usage"]["total_usage"] - one["precpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
    assert 0 < used <= after - before + 0.05  # counters of ticks


def test_stats_members(engine: Engine) -> None:
    run(engine, "watched", "-m", "64m", "--pids-limit", "20", command=("sh", "-c", SPIN))
    one = engine.api("GET", "/containers/watched/stats?stream=false").json()
    assert one["name"] == "/watched"
    assert one["preread"] < one["read"]
    now, before = one["cpu_stats"], one["precpu_stats"]
    assert (
        now["online_cpus"]
        == before["online_cpus"]
        == len(
            [line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu") and line[3] != " "]
        )
    )
    assert now["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"]
    elapsed = (now["system_cpu_usage"] - before["system_cpu_usage"]) / now["online_cpus"]
    assert 0.5e9 < elapsed < 5e9
    assert now["cpu_usage"]["usage_in_usermode"] > 0
    if "percpu_usage" in now["cpu_usage"]:  # cgroup version 1
        # The kernel counts on while the two files are read.
        assert sum(now["cpu_usage"]["percpu_usage"]) >= now["cpu_usage"]["total_usage"]
    assert one["memory_stats"]["limit"] == 64 * MIB
    assert 0 < one["memory_stats"]["usage"] < 64 * MIB
    assert one["memory_stats"]["stats"]["pgfault"] > 0
    assert one["pids_stats"] == {"current": 1, "limit": 20}
    assert set(one["networks"]) == {"eth0"}
    assert one["num_procs"] == 0


def test_stats_at_once(engine: Engine) -> None:
    run(engine, "shot")
    one = engine.api("GET", "/containers/shot/stats?stream=false&one-shot=true").json()
    assert one["preread"] == "0001-01-01T00:00:00Z"
    assert one["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert one["cpu_stats"]["system_cpu_usage"] > 0
    refused = engine.api("GET", "/containers/shot/stats?one-shot=true")
    assert (refused.status, refused.message) == (400, "cannot have stream=true and one-shot=true")


def test_stats_count_what_goes_through_the_network_and_to_disks(engine: Engine) -> None:
    run(engine, "sender")
    before = engine.api("GET", "/containers/sender/stats?stream=false&one-shot=true").json()["networks"]["eth0"]
    engine.darse("exec", "sender", "sh", "-c", "ping -c 3 -i 0.1 -s 1000 $(ip route | awk '/default/ {print $3}')").ok()
    after = engine.api("GET", "/containers/sender/stats?stream=false&one-shot=true").json()["networks"]["eth0"]
    assert after["tx_bytes"] - before["tx_bytes"] >= 3000
    assert after["tx_packets"] - before["tx_packets"] >= 3
    assert after["rx_bytes"] - before["rx_bytes"] >= 3000


def test_stats_without_a_network_of_its_own(engine: Engine) -> None:
    run(engine, "hosted", "--network", "host")
    run(engine, "lonely", "--network", "none")
    run(engine, "owner")
    run(engine, "joined", "--network", "container:owner")

    def networks(name: str) -> set[str]:
        return set(engine.api("GET", f"/containers/{name}/stats?stream=false&one-shot=true").json().get("networks", ()))

    assert networks("hosted") == networks("lonely") == set()
    assert networks("joined") == networks("owner") == {"eth0"}


def test_a_stream_goes_on_over_a_stop_and_ends_with_the_removal(engine: Engine) -> None:
    run(engine, "followed")
    stream = engine.api.stream("GET", "/containers/followed/stats")
    first, second = next(stream), next(stream)
    assert first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert second["preread"] == first["read"]
    engine.darse("stop", "-t", "0", "followed").ok()
    stopped = next(one for one in stream if not one["memory_stats"])
    assert stopped["read"] == "0001-01-01T00:00:00Z"
    engine.darse("start", "followed").ok()
    assert next(one for one in stream if one["memory_stats"])["pids_stats"]["current"] == 1
    engine.darse("rm", "-f", "followed").ok()
    gone = engine.api("GET", "/info").json()["SystemTime"]
    # What was sampled before may still be on its way.
    assert all(not one["memory_stats"] or one["read"] < gone for one in stream), "a sample of a container that is gone"


def test_watching_leaves_no_descriptors(engine: Engine) -> None:
    run(engine, "counted")

    def count() -> int:
        # But for network namespaces: the pool of those is filled again after a start, in its own time.
        descriptors = Path(f"/proc/{engine.pid}/fd")
        opened = 0
        for name in os.listdir(descriptors):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                opened += not os.readlink(descriptors / name).startswith("net:")
        return opened

    engine.api("GET", "/containers/counted/stats?stream=false&one-shot=true")
    before = count()
    streams = [engine.api.stream("GET", "/containers/counted/stats") for _ in range(5)]
    for stream in streams:
        next(stream)
    assert count() > before
    for stream in streams:
        stream.close()
    wait_until(lambda: count() <= before, what="the files' end")


def test_stats_of_what_does_not_run(engine: Engine) -> None:
    engine.darse("create", "--name", "quiet", BUSYBOX, "true").ok()
    one = engine.api("GET", "/containers/quiet/stats?stream=false").json()
    assert (one["read"], one["memory_stats"], one["pids_stats"]) == ("0001-01-01T00:00:00Z", {}, {})


# update


@pytest.mark.parametrize(
    ("options", "v1", "v2", "expected"),
    [
        (["-m", "32m"], "memory/memory.limit_in_bytes", "memory.max", {str(32 * MIB)}),
        (["--memory-reservation", "16m"], "memory/memory.soft_limit_in_bytes", "memory.low", {str(16 * MIB)}),
        (["--cpus", "0.25"], "cpu/cpu.cfs_quota_us", "cpu.max", {"25000", "25000 100000"}),
        (["--cpu-shares", "512"], "cpu/cpu.shares", "cpu.weight", {"512", "20"}),
        (["--pids-limit", "33"], "pids/pids.max", "pids.max", {"33"}),
        (["--cpuset-cpus", "0"], "cpuset/cpuset.cpus", "cpuset.cpus", {"0"}),
        (["--cpuset-mems", "0"], "cpuset/cpuset.mems", "cpuset.mems", {"0"}),
        (
            ["--memory-swap", "96m"],
            "memory/memory.memsw.limit_in_bytes",
            "memory.swap.max",
            {str(96 * MIB), str(32 * MIB)},
        ),
        (
            ["--cpu-period", "50000", "--cpu-quota", "25000"],
            "cpu/cpu.cfs_quota_us",
            "cpu.max",
            {"25000", "25000 50000"},
        ),
        (["--pids-limit", "-1"], "pids/pids.max", "pids.max", {"max"}),
    ],
    ids="memory reservation cpus shares pids cpuset mems swap quota unlimited".split(),
)
def test_update_is_in_force_at_once_and_after_a_restart(
    cli: Client, engine: Engine, options: list[str], v1: str, v2: str, expected: set[str]
) -> None:
    container = run(engine, "updated", "-m", "64m")
    assert cli("update", *options, "updated").ok().line == "updated"
    assert limit(container, v1, v2) in expected
    engine.darse("restart", "-t", "0", "updated").ok()
    assert limit(engine.api("GET", "/containers/updated/json").json(), v1, v2) in expected


def test_update_of_a_stopped_container_is_for_its_next_start(cli: Client, engine: Engine) -> None:
    cli("create", "--name", "later", BUSYBOX, "sleep", "1000").ok()
    cli("update", "--pids-limit", "44", "later").ok()
    cli("start", "later").ok()
    assert limit(engine.api("GET", "/containers/later/json").json(), "pids/pids.max", "pids.max") == "44"


def test_update_of_the_restart_policy(cli: Client, engine: Engine) -> None:
    run(engine, "policy")
    cli("update", "--restart", "on-failure:3", "policy").ok()
    policy = engine.api("GET", "/containers/policy/json").json()["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}
    done = cli("update", "--restart", "sometimes", "policy")
    assert (done.status, "invalid restart policy" in done.err) == (1, True)


def test_update_refuses_what_contradicts_itself_and_changes_nothing(cli: Client, engine: Engine) -> None:
    container = run(engine, "firm", "-m", "64m", "--cpus", "0.5")
    done = cli("update", "-m", "300m", "--pids-limit", "5", "firm")
    assert done.status == 1
    assert "Memory limit should be smaller than already set memoryswap limit" in done.err
    assert "CPU Quota cannot be updated as NanoCPUs" in cli("update", "--cpu-quota", "20000", "firm").err
    assert "Minimum memory limit allowed is 6MB" in cli("update", "-m", "1m", "firm").err
    assert limit(container, "pids/pids.max", "pids.max") == "max"
    after = engine.api("GET", "/containers/firm/json").json()["HostConfig"]
    assert (after["Memory"], after["PidsLimit"]) == (64 * MIB, container["HostConfig"]["PidsLimit"])


def test_update_below_what_is_used_changes_nothing(engine: Engine) -> None:
    """Version 1 refuses it; on version 2 the kernel ends the container, as with docker."""
    container = run(
        engine,
        "full",
        "-m",
        "128m",
        command=("sh", "-c", "x=$(head -c 30000000 /dev/zero | tr '\\0' a); echo ok; sleep 1000; :"),
    )
    wait_until(lambda: engine.darse("logs", "full").out == "ok\n", 60, "the memory's use")
    if engine.api("GET", "/info").json()["CgroupVersion"] == "2":
        pytest.skip("cgroup version 2 does not refuse a limit below the use")
    answer = engine.api("POST", "/containers/full/update", {"Memory": 8 * MIB, "MemorySwap": 8 * MIB, "PidsLimit": 9})
    assert (answer.status, "unable to set memory limit" in answer.message) == (409, True)
    assert limit(container, "memory/memory.limit_in_bytes", "memory.max") == str(128 * MIB)
    assert limit(container, "pids/pids.max", "pids.max") == "max"


def test_update_warns_of_what_it_cannot_change(engine: Engine) -> None:
    run(engine, "warned")
    answer = engine.api("POST", "/containers/warned/update", {"Ulimits": [{"Name": "nofile", "Soft": 5, "Hard": 5}]})
    assert answer.json() == {"Warnings": ["Ulimits is fixed when a container is created: it was not updated."]}


def test_rates_of_devices_are_ignored_before_1_55(engine: Engine) -> None:
    """Every client may send them, as the API's body has them; dockerd left them as they are without a word."""
    run(engine, "warned")
    rates = {f"BlkioDevice{name}": [{"Path": "/dev/zero", "Rate": 5}] for name in ("ReadBps", "WriteIOps")}
    answer = engine.api("POST", "/v1.54/containers/warned/update", {**rates, "PidsLimit": 9})
    assert (answer.status, answer.json()["Warnings"]) == (200, [])
    host = engine.api("GET", "/containers/warned/json").json()["HostConfig"]
    assert (host["PidsLimit"], host["BlkioDeviceReadBps"] or None) == (9, None)


def test_a_crash_in_an_update_leaves_kernel_and_record_together(engine: Engine) -> None:
    container = run(engine, "crashed", "--pids-limit", "50")
    engine.kill9()
    # As if the engine had ended between the kernel's files and the record.
    mark = engine.exec_root / "bundles" / container["Id"] / "updating"
    mark.write_text(json.dumps({"pids": {"limit": 9}, "cpu": {"shares": 200}}))
    engine.up()
    assert limit(container, "pids/pids.max", "pids.max") == "50"
    assert not mark.exists()


# The commands


def test_stats_refresh_in_place_on_a_terminal(cli: Client, engine: Engine) -> None:
    run(engine, "drawn")
    screen = cli.terminal("stats", rows=24, columns=120, timeout=60)
    try:
        screen.expect("NAME")
        screen.expect("drawn")
        screen.expect("\x1b\\[H")
        run(engine, "joining")
        screen.expect("joining")
        engine.darse("rm", "-f", "drawn").ok()
        screen.setecho(True)
        screen.sendintr()
        screen.expect([pexpect.EOF])
        if cli.name == "darse":
            assert b"^C" not in screen.before
    finally:
        screen.close(force=True)


def test_stats_stream_into_a_pipe(engine: Engine) -> None:
    run(engine, "piped")
    process = engine.darse.popen("stats", "--format", "{{.Name}} {{.PIDs}}", "piped")
    try:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == [b"piped 1\n"] * 3
        engine.darse("rm", "-f", "piped").ok()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(docker_program() is None, reason="docker's client is not installed")
def test_the_commands_print_the_same(engine: Engine) -> None:
    container = run(engine, "same", *("-p", "80", "-p", "443", "-p", "53/udp"))
    engine.darse("create", "--name", "idle", BUSYBOX, "true").ok()
    pid = container["State"]["Pid"]
    for line in (
        ["top", "same"],
        ["top", "same", "-o", "pid,comm"],
        ["top", "nobody"],
        ["top", "idle"],
        [
            "stats",
            "--no-stream",
            "--no-trunc",
            "--format",
            "{{.Container}} {{.ID}} {{.Name}} {{.PIDs}}",
            "same",
            "idle",
        ],
        ["stats", "--no-stream", "--format", "table {{.Name}}\\t{{.MemPerc}}\\t{{.CPUPerc}}", "idle"],
        ["stats", "--no-stream", "nobody"],
        ["update", "--pids-limit", "7", "same", "nobody"],
        ["update", "-m", "1k", "same"],
        ["update", "same"],
        ["update", "--kernel-memory", "8m", "same"],
        ["update", "--restart", "nonsense", "same"],
        ["port", "same"],
        ["port", "same", "80"],
        ["port", "same", "81"],
        ["port", "same", "x"],
    ):
        theirs, ours = engine.docker(*line), engine.darse(*line)
        assert ours.out.replace("darse", "docker") == theirs.out, line
        assert ours.err.replace("darse", "docker") == theirs.err, line
        assert ours.status == theirs.status, line
    assert str(pid) in engine.darse("top", "same").out
