"""Classic BPF as seccomp has it: a filter made shorter, and run on one call.

libseccomp compares the number of a call with every number that the profile names, one after the other, for each
architecture: 1,200 instructions for docker's profile. The kernel compiles them, and runs them once for each call that
exists, whenever a process installs the filter (seccomp_cache_prepare in kernel/seccomp.c): over a millisecond of each
start and each exec. Calls whose numbers lie side by side mostly have the same answer, so that a search by halves over
the spans of equal answers says the same in a quarter of the instructions and a dozen steps.

See seccomp(2), and the kernel's Documentation/networking/filter.rst for the instructions.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD, _JUMP, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
# Offsets in `struct seccomp_data`: the call's number and the architecture. The arguments follow.
_NUMBER, _ARCHITECTURE = 0, 4
_LAST: Final = 0xFFFFFFFF
_FURTHEST: Final = 0xFF
# BPF_MAXINSNS
_LONGEST: Final = 4096


class UnsupportedFilter(Exception):
    """The filter does what only a program of another origin does; it is best left alone."""


class Instruction(NamedTuple):
    """`struct sock_filter`; jumps are counted from the next instruction."""

    code: int
    if_true: int
    if_false: int
    operand: int


class _Span(NamedTuple):
    """Numbers of calls for which the filter does the same: return a value, or go on at an instruction."""

    first: int
    last: int
    returns: bool
    value: int


def parse(program: bytes) -> list[Instruction]:
    """The instructions of an array of `struct sock_filter`. Raises UnsupportedFilter."""
    if len(program) % _INSTRUCTION.size or not 0 < len(program) <= _LONGEST * _INSTRUCTION.size:
        raise UnsupportedFilter("this is no filter")
    return [Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(program)]


def run(instructions: Sequence[Instruction], data: bytes) -> int:
    """What the filter returns for a `struct seccomp_data`. Raises UnsupportedFilter."""
    position = accumulator = 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        if code == _RETURN:
            return operand
        if code == _LOAD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif code == _AND:
            accumulator &= operand
        elif code == _JUMP:
            position += operand
        else:
            position += if_true if _holds(code, accumulator, operand) else if_false


def shortened(program: bytes) -> bytes:
    """A program that returns the same for every call, as a search by halves. Raises UnsupportedFilter."""
    instructions = parse(program)
    named: set[int] = set()
    others = _spans(instructions, None, named)
    builder = _ProgramBuilder(instructions)
    builder.dispatch({one: _spans(instructions, one, set()) for one in sorted(named)}, others)
    result = builder.finish()
    return result if len(result) < len(program) else program


def _holds(code: int, accumulator: int, operand: int) -> bool:
    if code == _EQUAL:
        return accumulator == operand
    if code == _GREATER:
        return accumulator > operand
    if code == _AT_LEAST:
        return accumulator >= operand
    if code == _ANY_BIT:
        return bool(accumulator & operand)
    raise UnsupportedFilter(f"instruction {code:#x}")


def _spans(instructions: Sequence[Instruction], architecture: int | None, named: set[int]) -> list[_Span]:
    """What the filter does for each number on one architecture; None is one that it does not name.

    The architectures with which this one was compared are added to `named`.
    Jumps go forward only, so one pass in the order of the instructions sees each with all the numbers that reach it.
    """
    arriving: dict[tuple[int, int], list[tuple[int, int]]] = {(0, -1): [(0, _LAST)]}
    spans = []
    for position, (code, if_true, if_false, operand) in enumerate(instructions):
        for loaded in (-1, _NUMBER, _ARCHITECTURE):
            numbers = arriving.pop((position, loaded), None)
            if numbers is None:
                continue
            following = position + 1
            if code == _RETURN:
                spans += [_Span(first, last, True, operand) for first, last in numbers]
            elif code == _LOAD and operand not in (_NUMBER, _ARCHITECTURE):
                spans += [_Span(first, last, False, position) for first, last in numbers]
            elif code == _LOAD:
                _arrive(arriving, (following, operand), numbers)
            elif code == _JUMP:
                _arrive(arriving, (following + operand, loaded), numbers)
            elif loaded == _ARCHITECTURE:
                if code != _EQUAL:
                    raise UnsupportedFilter("architectures are compared by size")
                named.add(operand)
                jump = if_true if architecture == operand else if_false
                _arrive(arriving, (following + jump, loaded), numbers)
            elif loaded == _NUMBER:
                inside, outside = _split(code, operand, numbers)
                _arrive(arriving, (following + if_true, loaded), inside)
                _arrive(arriving, (following + if_false, loaded), outside)
            else:
                raise UnsupportedFilter("a comparison of nothing")
    if arriving:
        raise UnsupportedFilter("a jump beyond the end")
    return list(_joined(sorted(spans)))


def _arrive(
    arriving: dict[tuple[int, int], list[tuple[int, int]]], at: tuple[int, int], numbers: list[tuple[int, int]]
) -> None:
    if not numbers:
        return
    known = arriving.get(at)
    arriving[at] = numbers if known is None else sorted(known + numbers)


def _split(
    code: int, operand: int, numbers: list[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The numbers for which a comparison holds, and the others; `numbers` is sorted, and used up."""
    if code == _EQUAL:
        first, last = operand, operand
    elif code in (_GREATER, _AT_LEAST):
        first, last = operand + (code == _GREATER), _LAST
    else:
        raise UnsupportedFilter(f"instruction {code:#x} on a number")
    inside, outside = [], []
    if code == _EQUAL:
        # The usual one, hundreds of times: all but one span stays as it is.
        position = bisect_right(numbers, (operand, _LAST)) - 1
        if position < 0 or numbers[position][1] < operand:
            return [], numbers
        low, high = numbers[position]
        rest = [(begin, end) for begin, end in ((low, operand - 1), (operand + 1, high)) if begin <= end]
        numbers[position : position + 1] = rest
        return [(operand, operand)], numbers
    for low, high in numbers:
        if low <= min(high, first - 1):
            outside.append((low, min(high, first - 1)))
        if max(low, first) <= min(high, last):
            inside.append((max(low, first), high))
    return inside, outside


def _joined(spans: list[_Span]) -> Iterator[_Span]:
    """Neighbours that do the same, as one."""
    current = spans[0]
    for span in spans[1:]:
        if (span.returns, span.value) == (current.returns, current.value):
            current = current._replace(last=span.last)
        else:
            yield current
            current = span
    yield current


class _ProgramBuilder:
    """The new program. What looks at arguments is taken over as it is."""

    def __init__(self, original: Sequence[Instruction]) -> None:
        self._original = original
        self._code: list[Instruction] = []
        # Jumps to what is taken over: where they stand, and the place in the original that they go to.
        self._onward: dict[int, int] = {}

    def dispatch(self, searches: Mapping[int, list[_Span]], others: list[_Span]) -> None:
        """Go by architecture to the search for its numbers, and to `others` from one without."""
        self._code.append(Instruction(_LOAD, 0, 0, _ARCHITECTURE))
        entries = []
        for architecture in searches:
            self._code.append(Instruction(_EQUAL, 0, 1, architecture))
            entries.append(len(self._code))
            self._code.append(Instruction(_JUMP, 0, 0, 0))
        self._search(others)
        for entry, spans in zip(entries, searches.values(), strict=True):
            self._code[entry] = Instruction(_JUMP, 0, 0, len(self._code) - entry - 1)
            self._search(spans)

    def finish(self) -> bytes:
        """The program's bytes. Raises UnsupportedFilter when it has become too long."""
        places = self._take_over()
        for position, target in self._onward.items():
            self._code[position] = Instruction(_JUMP, 0, 0, places[target] - position - 1)
        if len(self._code) > _LONGEST:
            raise UnsupportedFilter("this becomes too long")
        return b"".join(_INSTRUCTION.pack(*one) for one in self._code)

    def _search(self, spans: list[_Span]) -> None:
        if len(spans) > 1:
            self._code.append(Instruction(_LOAD, 0, 0, _NUMBER))
        self._halves(spans)

    def _halves(self, spans: list[_Span]) -> None:
        if len(spans) == 1:
            (span,) = spans
            if not span.returns:
                self._onward[len(self._code)] = span.value
            self._code.append(Instruction(_RETURN if span.returns else _JUMP, 0, 0, span.value if span.returns else 0))
            return
        middle = len(spans) // 2
        bound = spans[middle].first
        here = len(self._code)
        # A search of n spans has 2n - 1 instructions, as long as each conditional jump reaches over its lower half.
        near = 2 * middle - 1 <= _FURTHEST
        self._code += [Instruction(0, 0, 0, 0)] * (1 if near else 2)
        below = len(self._code)
        self._halves(spans[:middle])
        length = len(self._code) - below
        if near:
            self._code[here] = Instruction(_AT_LEAST, length, 0, bound)
        else:
            self._code[here : here + 2] = [Instruction(_AT_LEAST, 0, 1, bound), Instruction(_JUMP, 0, 0, length)]
        self._halves(spans[middle:])

    def _take_over(self) -> dict[int, int]:
        """Copy what is reached from the jumps onward; return where each instruction of the original now stands."""
        reached = set()
        todo = list(self._onward.values())
        while todo:
            position = todo.pop()
            if position not in reached:
                reached.add(position)
                todo += _targets(self._original[position], position)
        order = sorted(reached)
        places = {position: len(self._code) + index for index, position in enumerate(order)}
        for position in order:
            code, if_true, if_false, operand = self._original[position]
            here = places[position] + 1
            if code == _JUMP:
                operand = places[position + 1 + operand] - here
            elif code in (_EQUAL, _GREATER, _AT_LEAST, _ANY_BIT):
                if_true = places[position + 1 + if_true] - here
                if_false = places[position + 1 + if_false] - here
            self._code.append(Instruction(code, if_true, if_false, operand))
        return places


def _targets(instruction: Instruction, position: int) -> list[int]:
    code, if_true, if_false, operand = instruction
    if code == _RETURN:
        return []
    if code == _JUMP:
        return [position + 1 + operand]
    if code in (_EQUAL, _GREATER, _AT_LEAST, _ANY_BIT):
        return [position + 1 + if_true, position + 1 + if_false]
    if code in (_LOAD, _AND):
        return [position + 1]
    raise UnsupportedFilter(f"instruction {code:#x}")
