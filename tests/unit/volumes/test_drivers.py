from __future__ import annotations

from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.linux.fs import mounts
from darse.volumes import drivers
from darse.volumes.drivers import LocalDriver, _resolved, _split, _without_secrets


@pytest.fixture
def driver(tmp_path: Path) -> LocalDriver:
    made = LocalDriver(tmp_path)
    made.trash.open()
    return made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": "x"}, 'invalid option: "foo"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "/x"}, 'missing required option: "type"'),
        ({"o": "bind"}, 'missing required option: "device"'),
        ({"o": "bind", "device": "/x"}, 'missing required option: "type"'),
        ({"size": "1g"}, "quota size requested but no quota support"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "x" * 5000}, "options longer than mount(2) takes"),
    ],
)
def test_options_are_checked_as_docker_does(driver: LocalDriver, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        driver.check(options)
    assert str(raised.value) == message


def test_options_that_docker_takes(driver: LocalDriver) -> None:
    driver.check({})
    driver.check({"type": "tmpfs", "device": "tmpfs", "o": "size=100m,uid=1000"})
    driver.check({"type": "none", "device": "/home", "o": "bind"})


def test_a_volume_is_made_and_removed(driver: LocalDriver, tmp_path: Path) -> None:
    driver.create("vol")
    data = tmp_path / "vol" / "_data"
    assert driver.path("vol") == data
    (data / "file").write_text("x")
    aside = driver.remove("vol")
    assert aside is not None
    assert driver.remove("vol") is None
    assert list(tmp_path.iterdir()) == [driver.trash.directory]
    assert [path.name for path in aside.iterdir()] == ["_data"]


def test_a_new_volume_keeps_the_data_that_is_there(driver: LocalDriver, tmp_path: Path) -> None:
    (tmp_path / "vol/_data").mkdir(parents=True)
    (tmp_path / "vol/_data/secret").write_text("x")
    driver.create("vol")
    assert (tmp_path / "vol/_data/secret").read_text() == "x"


def test_a_volume_that_nothing_is_in_needs_no_trash(driver: LocalDriver, tmp_path: Path) -> None:
    driver.create("vol")
    assert driver.remove("vol") is None
    assert list(tmp_path.iterdir()) == [driver.trash.directory]
    driver.create("vol")
    (tmp_path / "vol/note").write_text("of a copy that was cut short")
    aside = driver.remove("vol")
    assert aside is not None
    assert [path.name for path in aside.iterdir()] == ["note"]


def test_what_is_mounted_on_an_empty_volume_is_unmounted(driver: LocalDriver, tmp_path: Path) -> None:
    driver.create("vol")
    mounts.mount("tmpfs", str(driver.path("vol")), "tmpfs", 0, "")
    (driver.path("vol") / "file").write_text("x")
    aside = driver.remove("vol")
    assert aside is not None
    assert not mounts.is_mount_point(aside / "_data")
    assert list((aside / "_data").iterdir()) == []
    assert not (tmp_path / "vol").exists()


def test_a_name_is_used_again_only_when_its_removal_is_on_the_disk(
    driver: LocalDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(drivers, "sync_directory", flushed.append)
    driver.create("one")
    assert flushed == [tmp_path], "an engine before may have removed it"
    driver.create("two", "three")
    assert flushed == [tmp_path], "what power loss takes of these `repair` makes anew"
    (driver.path("two") / "file").write_text("x")
    driver.remove("two")
    driver.remove("three")
    driver.create("four")
    assert flushed == [tmp_path]
    for name in ("two", "three"):
        driver.create(name)
        assert flushed == [tmp_path] * 2, "one flush for all that were removed"


def test_names_of_removed_volumes_are_not_kept_for_ever(driver: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    driver.create("first")
    monkeypatch.setattr(drivers, "sync_directory", flushed.append)
    monkeypatch.setattr(drivers, "_MOST_REMOVED", 2)
    for number in range(4):
        driver.create(f"vol{number}")
        driver.remove(f"vol{number}")
    assert len(flushed) == 1


def test_repair_makes_a_lost_directory_and_keeps_what_is_there(driver: LocalDriver, tmp_path: Path) -> None:
    driver.repair("vol")
    (tmp_path / "vol/_data/file").write_text("x")
    driver.repair("vol")
    assert (tmp_path / "vol/_data/file").read_text() == "x"


@pytest.mark.parametrize(
    ("options", "flags", "words"),
    [
        ("", 0, []),
        ("bind", mounts.MS_BIND, []),
        ("rbind,ro", mounts.MS_BIND | mounts.MS_REC | mounts.MS_RDONLY, []),
        ("size=1m,noexec,uid=5", mounts.MS_NOEXEC, ["size=1m", "uid=5"]),
        ("ro,rw,nosuid,suid", 0, []),
        ("addr=10.0.0.1,vers=4,defaults", 0, ["addr=10.0.0.1", "vers=4"]),
    ],
)
def test_words_of_mount_become_flags_and_data(options: str, flags: int, words: list[str]) -> None:
    assert _split(options) == (flags, words)


def test_addresses_stay_and_secrets_do_not_show() -> None:
    assert _resolved("addr=10.0.0.1") == "addr=10.0.0.1"
    assert _resolved("vers=4") == "vers=4"
    assert _resolved("addr=localhost") in ("addr=127.0.0.1", "addr=::1")
    assert _without_secrets("user=a,password=b") == "user=a,password=********"
