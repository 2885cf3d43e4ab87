"""The loop of the engine's own processes."""

from __future__ import annotations

import os

from darse.linux.loop import Loop


def test_an_event_of_a_descriptor_that_was_closed_is_not_one_of_the_next_with_its_number() -> None:
    """Several are ready; the first handler closes the others, and opens descriptors that nothing has happened to."""
    loop, called, pipes = Loop(), [], [os.pipe() for _ in range(3)]
    quiet = os.pipe()

    def replace(descriptor: int) -> None:
        loop.remove(descriptor)
        os.dup2(quiet[0], descriptor)
        loop.add(descriptor, lambda _: called.append(descriptor))

    def first(_: int) -> None:
        for reading, _writing in pipes:
            replace(reading)
        loop.later(0.05, loop.stop)

    for reading, writing in pipes:
        os.write(writing, b"x")
        loop.add(reading, first)
    loop.run()
    assert called == []
    loop.close()
    for one in (*pipes, quiet):
        for descriptor in one:
            os.close(descriptor)
