"""Limits: those that `update` can change, too, and the others."""

from __future__ import annotations

from darse.cli.command_line.flags import Options
from darse.cli.creating.values import is_integer, size
from darse.cli.errors import CliError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.host_config import ResourcesDocument, RestartPolicyDocument, UlimitDocument

_RLIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)


def limits(options: Options) -> ResourcesDocument:
    """The limits that `update` can change, too. Raises CliError."""
    swap = -1 if options.memory_swap == "-1" else size(options.memory_swap, "memory-swap") if options.memory_swap else 0
    reservation = size(options.memory_reservation, "memory-reservation") if options.memory_reservation else 0
    found: ResourcesDocument = {
        "BlkioWeight": options.blkio_weight or 0,
        "CpuShares": options.cpu_shares or 0,
        "NanoCpus": _cpus(options.cpus),
        "CpuPeriod": options.cpu_period or 0,
        "CpuQuota": options.cpu_quota or 0,
        "CpuRealtimePeriod": options.cpu_rt_period or 0,
        "CpuRealtimeRuntime": options.cpu_rt_runtime or 0,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "Memory": size(options.memory, "memory") if options.memory else 0,
        "MemoryReservation": reservation,
        "MemorySwap": swap,
        "PidsLimit": options.pids_limit,
    }
    if options.kernel_memory:
        found["KernelMemory"] = size(options.kernel_memory, "kernel-memory")
    return found


def restart_policy(text: str) -> RestartPolicyDocument:
    """`on-failure:3`. Raises CliError."""
    name, separator, count = text.partition(":")
    if separator and not name:
        raise CliError("invalid restart policy format: no policy provided before colon", 125)
    if separator and not is_integer(count):
        raise CliError("invalid restart policy format: maximum retry count must be an integer", 125)
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def _cpus(text: str) -> int:
    if not text:
        return 0
    from fractions import Fraction

    try:
        nanoseconds = Fraction(text) * 1_000_000_000
    except (ValueError, ZeroDivisionError):
        raise InvalidArgument(text, "cpus", f"failed to parse {text} as a rational number") from None
    if nanoseconds.denominator != 1:
        raise InvalidArgument(text, "cpus", "value is too precise")
    return int(nanoseconds)


def swappiness(value: int | None) -> int | None:
    """`--memory-swappiness`. Raises CliError."""
    if value is not None and not -1 <= value <= 100:
        raise CliError(f"invalid value: {value}. Valid memory swappiness range is 0-100", 125)
    return value


def ulimit(text: str) -> UlimitDocument:
    """One `--ulimit`: `name=soft[:hard]`. Raises InvalidArgument."""

    def wrong(reason: str) -> InvalidArgument:
        return InvalidArgument(text, "ulimit", reason)

    def number(word: str) -> int:
        try:
            return int(word)
        except ValueError:
            raise wrong(f'strconv.ParseInt: parsing "{word}": invalid syntax') from None

    name, equals, values = text.partition("=")
    if not equals:
        raise wrong(f"invalid ulimit argument: {text}")
    if name not in _RLIMITS:
        raise wrong(f"invalid ulimit type: {name}")
    words = values.split(":")
    if len(words) > 2:
        raise wrong(f"too many limit value arguments - {values}, can only have up to two, `soft[:hard]`")
    high = number(words[-1])
    low = number(words[0])
    if high != -1 and low == -1:
        raise wrong(f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {high}")
    if high != -1 and low > high:
        raise wrong(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return {"Name": name, "Soft": low, "Hard": high}
