"""`diff`: what a container has changed in its files, in docker's words."""

from __future__ import annotations

import pytest
from tests.support.engine import BUSYBOX, Client

# What is in the image: /etc/passwd, /home (empty), /var/www (empty), /root …
CASES = {
    "nothing": ("true", ""),
    "a file added": ("echo x > /home/new", "C /home\nA /home/new"),
    "a file in the root": ("echo x > /new", "A /new"),
    "directories added": ("mkdir -p /srv/a/b && touch /srv/a/b/c", "A /srv\nA /srv/a\nA /srv/a/b\nA /srv/a/b/c"),
    "a file changed": ("echo x >> /etc/passwd", "C /etc\nC /etc/passwd"),
    "a mode changed": ("chmod 600 /etc/passwd", "C /etc\nC /etc/passwd"),
    "an owner changed": ("chown 5:6 /etc/passwd", "C /etc\nC /etc/passwd"),
    "a file touched": ("touch /etc/passwd", "C /etc\nC /etc/passwd"),
    "opened for writing, and left as it was": (
        "t=$(stat -c %Y /etc/passwd) && exec 3<>/etc/passwd && touch -d @$t /etc/passwd",
        "",
    ),
    "a directory's mode changed": ("chmod 700 /var/www", "C /var\nC /var/www"),
    "a file removed": ("rm /etc/passwd", "C /etc\nD /etc/passwd"),
    "a directory removed": ("rm -r /var", "D /var"),
    "added and removed": ("touch /home/x && rm /home/x", ""),
    "removed and made again": (
        "rm -r /etc/passwd && echo other > /etc/passwd && chmod 600 /etc/passwd",
        "C /etc\nC /etc/passwd",
    ),
    # The new directory is opaque: nothing of the old one shows through.
    "a directory removed and made again": (
        "rm -r /var && mkdir /var && touch /var/x",
        "C /var\nD /var/run\nD /var/tmp\nD /var/www\nA /var/x",
    ),
    "a directory renamed": (
        "mv /var /rav",
        "A /rav\nA /rav/run\nA /rav/tmp\nA /rav/www\nD /var",
    ),
    "a file renamed": ("mv /etc/passwd /etc/other", "C /etc\nA /etc/other\nD /etc/passwd"),
    "a file in a directory's place": ("rm -r /var && touch /var", "C /var"),
    "a directory in a file's place": (
        "rm /etc/passwd && mkdir /etc/passwd && touch /etc/passwd/x",
        "C /etc\nC /etc/passwd\nA /etc/passwd/x",
    ),
    "a link": ("ln -s / /home/up && ln /etc/passwd /home/hard", "C /home\nA /home/hard\nA /home/up"),
    "a strange name": ("touch '/home/a b'", "C /home\nA /home/a b"),
}


@pytest.mark.parametrize("case", CASES)
def test_diff(cli: Client, case: str) -> None:
    command, expected = CASES[case]
    cli("run", "--name", "changed", BUSYBOX, "sh", "-ec", command).ok()
    assert cli("diff", "changed").ok().out.strip() == expected


def test_diff_of_a_container_that_runs_or_never_ran(cli: Client) -> None:
    cli("create", "--name", "created", BUSYBOX, "true").ok()
    assert cli("container", "diff", "created").ok().out == ""
    # Mounted over, these are no part of the container's files; what is below a volume is none either.
    cli("run", "-d", "--name", "runs", "-v", "vol:/home", "--tmpfs", "/root", BUSYBOX, "sleep", "1000").ok()
    cli(
        "exec", "runs", "sh", "-c", "echo x > /home/in-volume; echo x > /root/y; echo x > /etc/hosts; echo x > /tmp/z"
    ).ok()
    assert cli("diff", "runs").ok().out == "C /tmp\nA /tmp/z\n"


def test_diff_of_nobody(cli: Client) -> None:
    done = cli("diff", "nobody")
    assert (done.status, "No such container: nobody" in done.err) == (1, True)
    assert cli("diff").status in (1, 125)


def test_diff_follows_no_link_and_goes_to_any_depth(cli: Client) -> None:
    """A container cannot make the engine look at the host's files, or give up."""
    script = """
    ln -s /proc/1/root/etc /home/etc
    cd /home; i=0; while [ $i -lt 600 ]; do mkdir dddddddddd; cd dddddddddd; i=$((i+1)); done
    """
    cli("run", "--name", "deep", BUSYBOX, "sh", "-c", script).ok()
    lines = cli("diff", "deep").ok().out.splitlines()
    assert lines[-1] == "A /home/etc"
    # 4,095 bytes are as long as a path can be.
    assert 300 < len(lines) <= 603
