"""Clients' regular expressions: docker's syntax, and bounds on time and memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import pytest

from darse.core.expressions import LONGEST, Budget, CostlyExpression, Expression, InvalidExpression


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("^web[[:digit:]]$", "web1"),
        ("[[:^digit:]]eb1", "web1"),
        (r"^\pL+1$", "web1"),
        (r"\Aweb1\z", "web1"),
        (r"\Qw.b\E", "w.b"),
        ("(?U)w.*", "web1"),
        ("(?i)WEB", "web1"),
        ("(?P<a>w)(?:e)", "web1"),
        ("(?s)a.b", "a\nb"),
        ("é+$", "caféé"),
        ("", "anything"),
        ("web$", "web"),
    ],
)
def test_dockers_syntax(text: str, subject: str) -> None:
    assert Expression(text).found_in(subject)


@pytest.mark.parametrize("text", ["web$", "^eb", r"web\z", "W"])
def test_what_is_not_found(text: str) -> None:
    assert not Expression(text).found_in("web\n")


@pytest.mark.parametrize(
    "text",
    [
        "(?<=w)eb1",
        "(?!x)web1",
        "web1++",
        "web1(?#c)",
        "(",
        "[",
        "a{1001}",
        r"\Z",
        r"(a)\1",
        "a**",
        "((a{1,30}){1,30}){1,30}",
    ],
)
def test_what_is_no_expression_of_dockers(text: str) -> None:
    with pytest.raises(InvalidExpression):
        Expression(text)


@pytest.mark.parametrize("text", ["(a+)+$", r"^(\w+-?)+!$", "(a|a)*$", "(.*)*x", "((a?){1,30}){1,30}$"])
def test_time_is_linear(text: str) -> None:
    begun = time.thread_time()
    Expression(text).found_in("a" * 200 + "b")
    assert time.thread_time() - begun < 0.2


@pytest.mark.parametrize(
    "text",
    [
        r"[\pL\pN\pS]{1,1000}",
        r"(\pL{1,30}){1,30}",
        "a" * (LONGEST + 1),
        "(" * 900 + ")" * 4000,
        "|".join(["(a|b){0,1000}"] * 20),
    ],
)
def test_an_expression_has_a_greatest_size(text: str) -> None:
    begun = time.thread_time()
    with pytest.raises(CostlyExpression):
        Expression(text)
    assert time.thread_time() - begun < 0.2


@pytest.mark.parametrize("text", [r"\C{0,1000}?" * 4, "(a|b){0,1000}" * 10, r"(a\x{10FFFF}|\A){0,1000}|" * 9])
def test_compiling_takes_no_long_time(text: str) -> None:
    """RE2's work on a program grows with the square of its size: 1.3 s for one of 40,000 instructions."""
    begun = time.thread_time()
    with contextlib.suppress(CostlyExpression):
        Expression(text)
    assert time.thread_time() - begun < 0.15


def test_a_list_of_two_hundred_names_is_no_large_expression() -> None:
    names = [f"project{number:03}-service" for number in range(200)]
    assert Expression(f"^({'|'.join(names)})$").found_in("project199-service")


def test_a_text_has_a_greatest_length_for_its_expression() -> None:
    expression = Expression("(x|y|.){0,200}q")
    with pytest.raises(CostlyExpression):
        expression.found_in("x" * 1_000_000)


def test_a_budget_ends() -> None:
    budget = Budget(0.05)

    def spend_it() -> None:
        for number in range(100_000):
            Expression(r"\pL{1,5}" + str(number), budget)

    with pytest.raises(CostlyExpression, match="too long"):
        spend_it()


def test_the_library_is_loaded_by_the_first_expression() -> None:
    code = (
        "import sys; from darse.core import expressions, filters; from darse import daemon;"
        "assert 're2' not in sys.modules; expressions.Expression('a'); assert 're2' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
