"""Filters made shorter, which must say the same as before for every call."""

import itertools
import random
import struct

import pytest

from darse.runtime.seccomp import bpf
from darse.runtime.seccomp.bpf import Instruction, UnsupportedFilter

_LOAD, _JUMP, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
_NATIVE, _COMPAT = 0xC000003E, 0x40000003
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050001


def _bytes(instructions):
    return b"".join(struct.pack("=HBBI", *one) for one in instructions)


def _data(number, architecture, *arguments):
    return struct.pack("=IIQ6Q", number, architecture, 0, *(list(arguments) + [0] * 6)[:6])


def _chain(numbers, verdict=_ALLOW):
    """What libseccomp writes: one comparison for each number, and then the answer to all others."""
    body = []
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        # Too far for a conditional jump: a jump over the rest of the comparisons.
        body += [Instruction(_EQUAL, 0, 1, number), Instruction(_JUMP, 0, 0, 2 * left - 1)]
    return [*body, Instruction(_RETURN, 0, 0, _ERRNO), Instruction(_RETURN, 0, 0, verdict)]


def _for_two(native, compat):
    return [
        Instruction(_LOAD, 0, 0, 4),
        Instruction(_EQUAL, 1, 0, _NATIVE),
        Instruction(_JUMP, 0, 0, len(native) + 1),
        Instruction(_LOAD, 0, 0, 0),
        *native,
        Instruction(_EQUAL, 1, 0, _COMPAT),
        Instruction(_RETURN, 0, 0, 0),
        Instruction(_LOAD, 0, 0, 0),
        *compat,
    ]


def _same(program, numbers, architectures=(_NATIVE, _COMPAT, 1), arguments=((),)):
    short = bpf.shortened(_bytes(program))
    parsed = bpf.parse(short)
    for number, architecture, values in itertools.product(numbers, architectures, arguments):
        data = _data(number, architecture, *values)
        assert bpf.run(parsed, data) == bpf.run(program, data), (number, architecture, values)
    return parsed


def test_a_chain_of_neighbours_becomes_a_comparison_of_two():
    numbers = [*range(0, 154), *range(156, 400)]
    program = _for_two(_chain(numbers), _chain([3, 4, 5, 250]))
    short = _same(program, [*range(500), 0x40000000, 0xFFFFFFFF])
    assert len(program) > 800
    assert len(short) < 25


def test_a_search_longer_than_a_conditional_jump_is_right():
    numbers = list(range(0, 2000, 2))
    program = [Instruction(_LOAD, 0, 0, 0), *_chain(numbers)]
    short = _same(program, range(2100))
    assert len(short) <= len(program)


def test_what_looks_at_arguments_is_taken_over():
    program = [
        Instruction(_LOAD, 0, 0, 0),
        *[
            one
            for number in range(40)
            for one in (Instruction(_EQUAL, 0, 1, number), Instruction(_RETURN, 0, 0, _ALLOW))
        ],
        Instruction(_EQUAL, 0, 5, 56),
        Instruction(_LOAD, 0, 0, 16),
        Instruction(_AND, 0, 0, 0x7E020000),
        Instruction(_EQUAL, 0, 1, 0),
        Instruction(_RETURN, 0, 0, _ALLOW),
        Instruction(_RETURN, 0, 0, _ERRNO),
        Instruction(_AT_LEAST, 0, 4, 100),
        Instruction(_LOAD, 0, 0, 24),
        Instruction(_ANY_BIT, 0, 1, 0x80),
        Instruction(_JUMP, 0, 0, 1),
        Instruction(_RETURN, 0, 0, _ALLOW),
        Instruction(_RETURN, 0, 0, _ERRNO),
    ]
    arguments = [(), (0x11,), (0x10000000,), (0x7E020000,), (0, 0x80), (0, 0x7F), (1 << 32, 0xFFFFFFFF)]
    short = _same(program, [*range(120), 0xFFFFFFFF], arguments=arguments)
    assert len(short) < len(program)


@pytest.mark.parametrize("seed", range(30))
def test_random_filters_say_the_same(seed):
    chance = random.Random(seed)
    verdicts = [_ALLOW, _ERRNO, 0x7FFC0000, 0x80000000]

    def block(length):
        body = []
        for index in range(length):
            left = length - index
            kind = chance.choice((_EQUAL, _EQUAL, _EQUAL, _GREATER, _AT_LEAST, _JUMP))
            if kind == _JUMP:
                body.append(Instruction(_JUMP, 0, 0, chance.randrange(left)))
            else:
                body.append(Instruction(kind, chance.randrange(left), chance.randrange(left), chance.randrange(60)))
        return [*body, Instruction(_RETURN, 0, 0, chance.choice(verdicts))]

    native = block(120)
    for index in range(len(native) - 1):
        if chance.random() < 0.1:
            native[index] = Instruction(_RETURN, 0, 0, chance.choice(verdicts))
    _same(_for_two(native, block(60)), [*range(64), 0xFFFFFFFF])


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x06\0\0\0\0\0\0",
        _bytes([Instruction(_LOAD, 0, 0, 0), Instruction(_JUMP, 0, 0, 7)]),
        _bytes([Instruction(0x87, 0, 0, 0), Instruction(_RETURN, 0, 0, _ALLOW)]),
        _bytes([Instruction(_LOAD, 0, 0, 4), Instruction(_GREATER, 0, 0, 1), Instruction(_RETURN, 0, 0, _ALLOW)]),
        _bytes([Instruction(_LOAD, 0, 0, 0), Instruction(_ANY_BIT, 0, 0, 1), Instruction(_RETURN, 0, 0, _ALLOW)]),
    ],
)
def test_what_is_not_understood_is_refused(program):
    with pytest.raises(UnsupportedFilter):
        bpf.shortened(program)
