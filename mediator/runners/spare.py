"""A script's process, forked before its attempt is known. See `launcher.py`.

A part of that program, which loads it: like that, it imports nothing of the mediator. To fork a
process that has imported much takes a millisecond or two, which nobody waits for this way.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Protocol

    from mediator.runners import kernel  # noqa: TC004 -- at run time `launcher.py` puts it here

    Specification = dict[str, Any]

    class Starter(Protocol):
        """How a process becomes a script."""

        def learn(self, specification: int) -> None:
            """In the supervisor, after an attempt: what helps the next one of the same script.

            `specification` is the file; see `read`. Raises nothing.
            """

        def ahead(self, line: int) -> None:
            """In the script's process, before it is known which: do what can be done by then.

            `line` is the descriptor that the attempt comes by.
            """

        def become(self, specification: Specification, status: int) -> object:
            """Be the script. What this raises is why it failed, but for `Leave`.

            `status` is a descriptor to be closed before the script's own code runs (exec does it).
            """


IGNORED: list[int] = []  # signals ignored here, a disposition that would survive exec


class Program:
    """The script is a program, which the process executes."""

    def learn(self, _specification: int) -> None:
        """Nothing."""

    def ahead(self, _line: int) -> None:
        """Nothing."""

    def become(self, specification: Specification, _status: int) -> None:
        """Execute it."""
        execute(specification)


class Spare:
    """A child that waits for an attempt, and becomes its script."""

    def __init__(self, starter: Starter, line: socket.socket) -> None:
        """Fork it. Raises OSError. `line`: what the child is to close."""
        parent = os.getpid()
        self._line, theirs = kernel.pair()
        try:
            self.pid = os.fork()
        except OSError:
            self._line.close()
            theirs.close()
            raise
        if self.pid == 0:
            with kernel.exit_after():
                kernel.prctl(kernel.SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == parent:
                    line.close()
                    self._line.close()
                    wait_and_become(starter, theirs)
        theirs.close()

    def give(self, descriptors: list[int]) -> bool:
        """Hand the attempt over; False when this process has died."""
        try:
            kernel.send(self._line, b"order", descriptors)
        except OSError:
            self.kill()
            return False
        self._line.close()
        return True

    def kill(self) -> None:
        """End it before it has become a script."""
        self._line.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def wait_and_become(starter: Starter, line: socket.socket) -> NoReturn:
    """Be ready, wait for an attempt, and become its script."""
    get_ready()
    starter.ahead(line.fileno())
    _, descriptors = kernel.receive(line)
    line.close()
    if len(descriptors) == kernel.DESCRIPTORS:
        become(starter, *descriptors)
    elif descriptors:
        kernel.fail(socket.socket(fileno=descriptors[0]), errno.EMFILE)
    os._exit(127)


def get_ready() -> None:
    """Make session, signals and umask those of a fresh process."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)


def become(starter: Starter, status: int, *given: int) -> None:
    """Turn this process into the script, or say why it cannot be."""
    step = b"prepare"
    try:
        os.write(status, b"forked %d %d" % (os.getpid(), os.getppid()))
        *streams, file = given
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        specification = read(file)
        kernel.close_all(given)
        step = b"enter"
        os.chdir(specification["directory"].encode("latin-1"))
        step = b"limit"
        for number, bound in specification["limits"]:
            limit(number, *bound)
        step = b"execute"
        starter.become(specification, status)
    except Exception as error:  # noqa: BLE001 -- or it would pass for the script's own end
        memory = errno.ENOMEM if isinstance(error, MemoryError) else 0
        os.write(status, b"failed %d %s" % (getattr(error, "errno", memory) or 0, step))


def read(file: int) -> Specification:
    """The specification of an attempt."""
    size = os.fstat(file).st_size
    specification: Specification = json.loads(os.pread(file, size, 0))
    return specification


def limit(number: int, soft: int, hard: int) -> None:
    """Lower a resource limit; one that is lower already stays."""
    present = resource.getrlimit(number)[1]
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    resource.setrlimit(number, (soft, hard))


def execute(specification: Specification) -> NoReturn:
    """Become a program."""
    program, *arguments = (text.encode("latin-1") for text in specification["argv"])
    environment = {
        name.encode("latin-1"): value.encode("latin-1")
        for name, value in specification["environment"].items()
    }
    os.execve(program, [program, *arguments], environment)  # noqa: S606 -- no shell is the point
