"""The filter of system calls, run by an interpreter of this test: what it answers for each kind of machine."""

from __future__ import annotations

import errno
import struct

import pytest

from aegis.adapters.executor_init.calls import ALLOW, DENY, FAMILIES, KINDS, LATER, NEWEST, TERMINAL, denied, program

EVERY = pytest.mark.parametrize("machine", sorted(KINDS))


def answer(code: bytes, number: int, kind: int, *arguments: int) -> int:
    """What the kernel would do: the classic machine has one register, loads, jumps and an end."""
    data = struct.pack("<IIQ6Q", number, kind, 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("<HBBI", code))
    at, register, steps = 0, 0, 0
    while True:
        steps += 1
        assert steps <= len(lines)
        what, yes, no, value = lines[at]
        at += 1
        if what == 0x20:
            register = struct.unpack_from("<I", data, value)[0]
        elif what == 0x06:
            return value
        else:
            holds = {0x15: register == value, 0x25: register > value, 0x35: register >= value}[what]
            at += yes if holds else no


@EVERY
def test_each_listed_call_is_denied_and_all_others_are_not(machine: str) -> None:
    kind, _, socket, _ = KINDS[machine]
    code, listed = program(machine), {number: name for name, number in denied(machine).items()}
    for number in range(NEWEST + 1):
        got = answer(code, number, kind, 2)
        if number in listed:
            assert got == DENY | (errno.ENOSYS if listed[number] in LATER else errno.EPERM), listed[number]
        else:
            assert got == ALLOW, number
    assert socket not in listed


@EVERY
def test_newer_calls_and_those_of_another_machine_are_not_there(machine: str) -> None:
    kind, code = KINDS[machine][0], program(machine)
    for number in (NEWEST + 1, 1000, 0x40000000, 0x40000000 + 39, 0xFFFFFFFF):
        assert answer(code, number, kind) == DENY | errno.ENOSYS
    for other in {one[0] for one in KINDS.values()} - {kind} | {0x40000003, 0x40000028}:
        assert answer(code, 0, other) == DENY | errno.ENOSYS


@EVERY
def test_only_the_usual_kinds_of_sockets_are_there(machine: str) -> None:
    kind, _, socket, _ = KINDS[machine]
    for family in range(64):
        allowed = family in FAMILIES
        assert answer(program(machine), socket, kind, family) == (ALLOW if allowed else DENY | errno.EAFNOSUPPORT), (
            family
        )


@EVERY
def test_nobody_types_into_a_terminal_in_anothers_place(machine: str) -> None:
    kind, _, _, control = KINDS[machine]
    assert all(answer(program(machine), control, kind, 0, one) == DENY | errno.EPERM for one in TERMINAL)
    assert all(answer(program(machine), control, kind, 0, one) == ALLOW for one in (0x5401, 0x5413, 0))


def test_no_number_stands_twice() -> None:
    for machine in KINDS:
        listed = denied(machine)
        assert len(set(listed.values())) == len(listed)
