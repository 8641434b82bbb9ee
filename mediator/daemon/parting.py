"""Ends listening without hanging up on whoever has connected but was not accepted yet.

A kernel completes connections by itself and queues them; those that are in the queue when the
listening socket is closed are reset. So first new ones are kept out, then the queue is emptied,
then the socket is closed. Who is kept out tries again by itself (TCP sends a SYN again after a
second), and then finds another mediator, or nobody.
"""

from __future__ import annotations

import ctypes
import socket
from contextlib import suppress

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it
_SYN, _SYN_ACK = 0x02, 0x12
_FLAGS = 13
"""Offset of the flags in a TCP header, where the filter of a TCP socket begins to see a packet."""
_ALL = 0xFFFFFFFF


class _Instruction(ctypes.Structure):
    """`struct sock_filter` of linux/filter.h."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


_NO_SYN = (_Instruction * 5)(
    _Instruction(0x30, 0, 0, _FLAGS),  # load a byte
    _Instruction(0x54, 0, 0, _SYN_ACK),  # and
    _Instruction(0x15, 0, 1, _SYN),  # a SYN that begins a connection?
    _Instruction(0x06, 0, 0, 0),  # then keep nothing of it
    _Instruction(0x06, 0, 0, _ALL),
)


def keep_out(listening: socket.socket) -> None:
    """Let no new connection begin; those that have begun can still be accepted.

    Where the kernel cannot filter, connections that come in the next moment may be reset.
    """
    program = _Program(len(_NO_SYN), _NO_SYN)
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))


def accepted(listening: socket.socket) -> list[socket.socket]:
    """All connections that are in the queue now."""
    found: list[socket.socket] = []
    listening.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            with suppress(ConnectionAbortedError):  # its client has gone
                found.append(listening.accept()[0])
    return found
