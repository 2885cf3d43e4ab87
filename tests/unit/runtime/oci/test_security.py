from __future__ import annotations

import pytest

from darse.core.errors import InvalidParameter
from darse.runtime.oci.security import SecurityOptions, read_security_options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, SecurityOptions()),
        (["no-new-privileges"], SecurityOptions(no_new_privileges=True)),
        (["no-new-privileges:false"], SecurityOptions(no_new_privileges=False)),
        (["no-new-privileges=true"], SecurityOptions(no_new_privileges=True)),
        (["seccomp=unconfined"], SecurityOptions(seccomp="unconfined")),
        (["seccomp:unconfined", "apparmor=mine"], SecurityOptions(seccomp="unconfined", apparmor="mine")),
        (['seccomp={"defaultAction": "a=b:c"}'], SecurityOptions(seccomp='{"defaultAction": "a=b:c"}')),
        (["systempaths=unconfined"], SecurityOptions(unmasked=True)),
        (["writable-cgroups=true"], SecurityOptions(writable_cgroups=True)),
        (["label=disable", "label=level:s0:c1"], SecurityOptions(labels=["disable", "level:s0:c1"])),
    ],
)
def test_options(options: list[str] | None, expected: SecurityOptions) -> None:
    assert read_security_options(options) == expected


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nothing", 'invalid --security-opt 1: "nothing"'),
        ("", 'invalid --security-opt 1: ""'),
        ("foo=bar", 'invalid --security-opt 2: "foo=bar"'),
        ("no-new-privileges=perhaps", 'invalid --security-opt 2: "no-new-privileges=perhaps"'),
        ("systempaths=confined", 'invalid --security-opt 2: "systempaths=confined"'),
        ("label=what", 'invalid --security-opt 2: "label=what"'),
    ],
)
def test_errors(option: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        read_security_options([option])
    assert str(raised.value) == message
