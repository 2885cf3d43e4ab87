"""Health checks: a command that is run in the container from time to time, and what its results mean.

docker's rules: within the start period failures do not count, and probes come at the start interval until the first
success; `Retries` failures in a row make a container unhealthy, one success makes it healthy.
"""

from __future__ import annotations

import msgspec

from darse.wire.containers import ContainerConfig, Health, HealthConfig, HealthResult

NANOSECONDS = 1_000_000_000
_INTERVAL = 30 * NANOSECONDS
_TIMEOUT = 30 * NANOSECONDS
_START_INTERVAL = 5 * NANOSECONDS
_RETRIES = 3
_RESULTS_KEPT = 5
_DEFAULT_SHELL = ("/bin/sh", "-c")


class HealthPlan(msgspec.Struct, frozen=True):
    """A health check with its defaults filled in; times in seconds."""

    command: list[str]
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int

    def pause(self, health: Health, running_for: float) -> float:
        """Seconds until the next probe."""
        if health.Status == "starting" and running_for < self.start_period:
            return self.start_interval
        return self.interval

    def judge(self, health: Health, result: HealthResult, running_for: float) -> str:
        """Count a result of a probe that began after `running_for` seconds; return the new status."""
        health.Log = [*(health.Log or ()), result][-_RESULTS_KEPT:]
        if result.ExitCode == 0:
            health.FailingStreak = 0
            health.Status = "healthy"
        elif health.Status != "starting" or running_for >= self.start_period:
            health.FailingStreak += 1
            if health.FailingStreak >= self.retries:
                health.Status = "unhealthy"
        return health.Status


def health_plan(config: ContainerConfig) -> HealthPlan | None:
    """The health check of a container; None when it has none."""
    check = config.Healthcheck
    command = _command(check, config.Shell) if check is not None else None
    if check is None or command is None:
        return None
    return HealthPlan(
        command,
        interval=(check.Interval or _INTERVAL) / NANOSECONDS,
        timeout=(check.Timeout or _TIMEOUT) / NANOSECONDS,
        start_period=check.StartPeriod / NANOSECONDS,
        start_interval=(check.StartInterval or _START_INTERVAL) / NANOSECONDS,
        retries=check.Retries or _RETRIES,
    )


def _command(check: HealthConfig, shell: list[str] | None) -> list[str] | None:
    kind, *words = check.Test or [""]
    if kind == "CMD" and words:
        return words
    if kind == "CMD-SHELL" and words:
        return [*(shell or _DEFAULT_SHELL), *words]
    return None


def first_health(config: ContainerConfig) -> Health | None:
    """The health of a container that has just started."""
    return Health("starting", Log=[]) if health_plan(config) is not None else None
