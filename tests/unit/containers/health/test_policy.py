"""Health checks: when to probe, and what results mean."""

import pytest

from darse.containers.health.policy import first_health, health_plan
from darse.containers.lifecycle.create import merged
from darse.wire.containers import ContainerConfig, HealthConfig, HealthResult

SECOND = 1_000_000_000


def plan_of(**fields: object):
    plan = health_plan(ContainerConfig(Healthcheck=HealthConfig(Test=["CMD", "true"], **fields)))
    assert plan is not None
    return plan


def result(code: int) -> HealthResult:
    return HealthResult("", "", code, "")


@pytest.mark.parametrize(
    ("test", "shell", "command"),
    [
        (["CMD", "curl", "-f"], None, ["curl", "-f"]),
        (["CMD-SHELL", "a || b"], None, ["/bin/sh", "-c", "a || b"]),
        (["CMD-SHELL", "a"], ["/bin/bash", "-lc"], ["/bin/bash", "-lc", "a"]),
    ],
)
def test_the_command(test, shell, command):
    plan = health_plan(ContainerConfig(Healthcheck=HealthConfig(Test=test), Shell=shell))
    assert plan is not None
    assert plan.command == command


@pytest.mark.parametrize("check", [None, HealthConfig(), HealthConfig(Test=["NONE"]), HealthConfig(Test=["CMD"])])
def test_no_check(check):
    config = ContainerConfig(Healthcheck=check)
    assert health_plan(config) is None
    assert first_health(config) is None


def test_defaults_are_dockers():
    plan = plan_of()
    assert (plan.interval, plan.timeout, plan.start_period, plan.start_interval, plan.retries) == (30, 30, 0, 5, 3)


def test_three_failures_in_a_row_are_unhealthy_and_one_success_is_healthy():
    plan, health = plan_of(), first_health(ContainerConfig(Healthcheck=HealthConfig(Test=["CMD", "true"])))
    assert health is not None
    codes = (1, 1, 0, 1, 1, 1, 1, 0)
    seen = [plan.judge(health, result(code), 60) for code in codes]
    assert seen == ["starting", "starting", "healthy", "healthy", "healthy", "unhealthy", "unhealthy", "healthy"]
    assert health.FailingStreak == 0
    assert [one.ExitCode for one in health.Log or ()] == [1, 1, 1, 1, 0]


def test_failures_within_the_start_period_do_not_count():
    plan, health = (
        plan_of(StartPeriod=10 * SECOND, Retries=1),
        first_health(ContainerConfig(Healthcheck=HealthConfig(Test=["CMD", "true"]))),
    )
    assert health is not None
    assert plan.judge(health, result(1), 9.9) == "starting"
    assert health.FailingStreak == 0
    assert plan.judge(health, result(1), 10.0) == "unhealthy"


def test_a_failure_after_a_success_counts_also_within_the_start_period():
    plan, health = (
        plan_of(StartPeriod=10 * SECOND, Retries=1),
        first_health(ContainerConfig(Healthcheck=HealthConfig(Test=["CMD", "true"]))),
    )
    assert health is not None
    plan.judge(health, result(0), 1)
    assert plan.judge(health, result(1), 2) == "unhealthy"


def test_the_start_interval_holds_until_the_first_success_or_the_end_of_the_start_period():
    plan = plan_of(StartPeriod=10 * SECOND, StartInterval=2 * SECOND, Interval=7 * SECOND)
    health = first_health(ContainerConfig(Healthcheck=HealthConfig(Test=["CMD", "true"])))
    assert health is not None
    assert plan.pause(health, 1) == 2
    assert plan.pause(health, 10) == 7
    plan.judge(health, result(0), 1)
    assert plan.pause(health, 1) == 7


def test_a_containers_options_are_merged_with_its_images_check():
    image = ContainerConfig(Healthcheck=HealthConfig(Test=["CMD", "up"], Interval=5 * SECOND, Retries=9))
    own = ContainerConfig(Healthcheck=HealthConfig(Interval=SECOND))
    check = merged(own, image).Healthcheck
    assert check == HealthConfig(Test=["CMD", "up"], Interval=SECOND, Retries=9)
    assert merged(ContainerConfig(Healthcheck=HealthConfig(Test=["NONE"])), image).Healthcheck.Test == ["NONE"]
