"""What a process prints, as services pass it: batches of pieces, each with the stream that it belongs to.

Streams have the numbers of their descriptors, which are the API's, too. Batches and not single pieces, because a log
has millions of short lines. What clients see of them, frames or bytes alone, is the API's (`darse.api.multiplexing`).
"""

from __future__ import annotations

from typing import Final

STDOUT: Final = 1
STDERR: Final = 2

#: A stream, and bytes that were written to it.
Piece = tuple[int, bytes]
#: Pieces in the order in which they were written.
Batch = list[Piece]
