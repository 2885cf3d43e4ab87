"""What the package raises.

ArchiveRefused     the archive holds something that no layer may hold
  └ Truncated      it ends before it is over
Damaged            files do not give back the archive that they came from
"""


class ArchiveRefused(Exception):
    """The archive holds something that no layer may hold."""


class Truncated(ArchiveRefused):
    """The archive ends before it is over."""

    def __init__(self) -> None:
        super().__init__("Truncated archive: it ends within an entry")


class Damaged(Exception):
    """The files of a layer do not give back the archive that they came from."""
