"""What others see of a process in /proc: its arguments and variables.

A part of the program `warm_parent.py`.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LIBC = ctypes.CDLL(None)
LIBC.sbrk.restype = LIBC.malloc.restype = ctypes.c_void_p
LIBC.malloc.argtypes = [ctypes.c_size_t]
SET_MAP = 35, 14  # PR_SET_MM and PR_SET_MM_MAP, prctl(2)


def hide_environment() -> None:
    """Take the variables off the stack, where every process of this user can read them.

    C libraries look for them where the C library keeps them, so they are put there anew.
    """
    for name, value in list(os.environb.items()):
        os.unsetenv(name)
        os.putenv(name, value)
    _, _, start, end = memory_map()[-4:]
    ctypes.memset(start, 0, end - start)


def memory_map() -> list[int]:
    """The numbers of `struct prctl_mm_map`, <linux/prctl.h>, from /proc/self/stat; proc(5)."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 -- pathlib is slow to import
        after_name = file.read().rpartition(b") ")[2].split()
    field = dict(enumerate(map(int, after_name[1:]), start=4))
    return [
        *(field[n] for n in (26, 27, 45, 46, 47)),
        LIBC.sbrk(0) or 0,
        *(field[n] for n in (28, 48, 49, 50, 51)),
    ]


def show(prctl: Callable[..., int], arguments: list[bytes], variables: Iterable[bytes]) -> None:
    """Have /proc, and so `ps`, show arguments and variables as those of a fresh process.

    Only for show: kernels without checkpoint/restore refuse, and nothing else depends on it.
    """
    words = b"".join(word + b"\0" for word in arguments)
    everything = words + b"".join(variable + b"\0" for variable in variables)
    start = LIBC.malloc(len(everything) + 1)  # for ever
    ctypes.memmove(start, everything, len(everything))
    middle, end = start + len(words), start + len(everything)
    numbers = [*memory_map()[:-4], start, middle, middle, end]
    buffer = ctypes.create_string_buffer(struct.pack("11QQII", *numbers, 0, 0, 2**32 - 1))
    size = ctypes.c_ulong(ctypes.sizeof(buffer) - 1)
    prctl(SET_MAP[0], ctypes.c_ulong(SET_MAP[1]), buffer, size, ctypes.c_ulong(0))
