"""What races have found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.races.operations import OPERATIONS, PAIRS


@dataclass
class Report:
    """What was run, and what was wrong."""

    seed: int
    runs: int = 0
    seconds: float = 0
    hangs: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    exits: int = 0
    lost: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def failures(self) -> list[str]:
        """All that was wrong."""
        return [*self.hangs, *self.faults, *self.disagreements, *self.lost, *self.leaks]

    def add(self, other: Report) -> None:
        """Count another slice in."""
        self.runs += other.runs
        self.seconds += other.seconds
        self.exits += other.exits
        self.statuses += other.statuses
        self.slowest = max(self.slowest, other.slowest)
        for name in ("hangs", "faults", "disagreements", "lost", "leaks"):
            getattr(self, name).extend(getattr(other, name))

    def __str__(self) -> str:
        rate = self.runs / self.seconds if self.seconds else 0
        slow, pair = self.slowest
        return (
            f"races: {self.runs} runs of {len(PAIRS)} pairs of {len(OPERATIONS)} operations, {rate:.0f} a second; "
            f"{len(self.hangs)} hangs, {len(self.faults)} faults, {len(self.disagreements)} disagreements with the "
            f"kernel, {len(self.lost)} of {self.exits} bystanders' exits lost, {len(self.leaks)} leaks; slowest "
            f"{slow:.1f} s ({pair}); DARSE_RACE_SEED={self.seed}"
        )
