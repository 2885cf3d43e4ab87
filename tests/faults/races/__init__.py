"""All pairs of operations on one container, raced against each other while other containers come to their ends.

A run has a container in some state, begins two operations on it with a random delay between them, and asserts: both
answer in time, none with a fault of the engine's, and afterwards the engine and the kernel agree on what runs. Several
containers are raced at once. Meanwhile bystanders end, one after another: the kernel tells the harness of each end
by a pidfd, and the engine must tell of it, too. At the end the engine holds as many descriptors as before, and nothing
is left on the host.

Many runs: `python -m tests.faults.races --runs 60000`, or `make test-heavy`. A container that survives its run is
raced again. The same seed gives the same pairs, delays and states; what the kernel makes of them is its own.
"""

from tests.faults.races.operations import OPERATIONS, PAIRS, pairs_with
from tests.faults.races.reports import Report
from tests.faults.races.runs import race, race_in_slices

__all__ = ["OPERATIONS", "PAIRS", "Report", "pairs_with", "race", "race_in_slices"]
