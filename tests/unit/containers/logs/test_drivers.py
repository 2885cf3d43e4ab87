"""Logging drivers and their options."""

import pytest

from darse.containers.logs.drivers import Retention, check, retention, with_defaults
from darse.core.errors import InvalidParameter
from darse.wire.host_config import LogConfig


@pytest.mark.parametrize(
    ("driver", "options", "kept"),
    [
        ("json-file", {}, Retention(0, 1, compress=False)),
        ("json-file", {"max-size": "10m", "max-file": "3"}, Retention(10_000_000, 3, compress=False)),
        ("json-file", {"max-size": "-1"}, Retention(0, 1, compress=False)),
        ("json-file", {"max-size": "1.5kb", "max-file": "2", "compress": "T"}, Retention(1500, 2, compress=True)),
        ("local", {}, Retention(20_000_000, 5, compress=True)),
        ("local", {"compress": "false", "max-size": "1g"}, Retention(1_000_000_000, 5, compress=False)),
    ],
)
def test_how_files_are_kept(driver, options, kept):
    config = LogConfig(driver, options)
    check(config)
    assert retention(config) == kept


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        ("a-plugin", {"mode": "never"}, "logging mode not supported: never"),
        ("json-file", {"nope": "1"}, "unknown log opt 'nope' for json-file log driver"),
        ("json-file", {"max-size": "ten"}, "invalid size: 'ten'"),
        ("json-file", {"max-size": "0"}, "must be a positive number"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, "max-file cannot be less than 1"),
        ("json-file", {"compress": "true"}, "compress cannot be true when max-file is less than 2"),
        ("json-file", {"compress": "maybe"}, "neither true nor false"),
        ("json-file", {"mode": "never"}, "logging mode not supported: never"),
        ("json-file", {"labels-regex": "("}, "no regular expression"),
        ("json-file", {"tag": "{{.Nope}}"}, "unknown {{.Nope}}"),
        ("local", {"tag": "a\0b"}, "NUL"),
    ],
)
def test_what_is_refused(driver, options, said):
    with pytest.raises(InvalidParameter) as refused:
        check(LogConfig(driver, options))
    assert said in str(refused.value)


def test_the_engines_options_count_for_its_own_driver_only():
    assert with_defaults(LogConfig(), "local", {"max-size": "1m"}) == LogConfig("local", {"max-size": "1m"})
    own = LogConfig("local", {"max-size": "2m"})
    assert with_defaults(own, "local", {"max-size": "1m", "max-file": "9"}).Config == {
        "max-size": "2m",
        "max-file": "9",
    }
    assert with_defaults(LogConfig("none"), "local", {"max-size": "1m"}) == LogConfig("none", {})
