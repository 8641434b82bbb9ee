"""Starts attempts and watches over them: a small program of its own, not a part of the daemon.

`launcher_client.py` starts it as `python -I -S launcher.py FD`. It imports nothing of the mediator,
so it starts in about 15 ms, has one thread, and forks in a third of a millisecond. Three kinds of
process come of it, each the parent of the next, each with a file of its own that is loaded here:

* the **launcher** waits for orders on FD and passes each to a supervisor;
* a **supervisor** (`supervisor.py`) has one attempt at a time. It is a child subreaper (prctl(2)):
  whatever the script starts, however often it forks or calls setsid, becomes the supervisor's
  child once its own parent is gone, and so can be found and killed. Only when all of it is dead is
  the supervisor idle and gets another attempt;
* the **script**, in a session of its own. Its process is forked before the attempt is known
  (`spare.py`), and waits for it.

Who dies first? The daemon: supervisors see their status socket hang up and kill everything. A
supervisor: the launcher, a subreaper too, inherits its processes and kills them. The launcher:
supervisors carry on, for they report to the daemon directly, and end with their attempt. The
script: its supervisor kills what it left behind, then reports.

An order is a message with five descriptors: status socket, stdin, stdout, stderr, and a file with
the specification (JSON; each string holds bytes, decoded as Latin-1). On the status socket the
daemon sends `T` (SIGTERM to the script's process group) and `K` (kill everything). It hears
`forked SCRIPT SUPERVISOR`, their process ids, before the script's first instruction;
`failed ERRNO STEP` when there will be none; and in the end `ended STATUS ASKED LEFTOVERS
SURVIVORS`, where STATUS is that of wait(2) and ASKED is 1 if `T` or `K` reached the script before
its end. A hang-up after `failed` is an end too.

A runner that starts something else than a program calls `run` with its own `Starter`. What its
`become` raises is why it failed; only `Leave` passes through everything here and comes
out of `run`, in the script's process.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # importing `typing` would cost a third of the start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from mediator.runners import kernel, spare, supervisor

PATIENCE = 5.0  # seconds for killed processes to die in the end
LAST_WAIT = 2 * PATIENCE  # seconds without news after which supervisors without a daemon are killed
KEEP_IDLE = 3.0  # seconds that more than one idle supervisor is kept


def load(name: str, **known: ModuleType) -> ModuleType:
    """A part of this program, which nobody else finds among the modules."""
    program = __file__.removesuffix("launcher.py") + f"{name}.py"
    part = type(sys)(f"mediator.runners.{name}")
    vars(part).update(known, __file__=program)
    with open(program, encoding="utf-8") as file:  # noqa: PTH123 -- pathlib is slow to import
        exec(compile(file.read(), program, "exec"), vars(part))  # noqa: S102 -- our own
    return part


if not TYPE_CHECKING:
    kernel = load("kernel")
    spare = load("spare", kernel=kernel)
    supervisor = load("supervisor", kernel=kernel, spares=spare)


def run(control: socket.socket, starter: spare.Starter) -> None:
    """Be the launcher until the daemon's end of `control` closes and every attempt has ended.

    Raises what `starter.become` raises of `Leave`, in another process.
    """
    os.set_inheritable(control.fileno(), False)
    kernel.set_process("mediator-launch")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the daemon decides when this ends, not a terminal
    signal.signal(signal.SIGCHLD, lambda *_: None)  # the default would not be heard of
    ignored = [n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
    spare.IGNORED[:] = ignored
    gc.disable()
    gc.freeze()  # a collection in a child would copy every page
    os.stat("/proc/self/stat")  # noqa: PTH116 -- fail now, not when a leftover must be found
    control.send(b"ready")
    Launcher(control, starter).serve()


class Launcher:
    """Passes every order to an idle supervisor, forks one when there is none, and reaps them."""

    def __init__(self, control: socket.socket, starter: spare.Starter) -> None:
        self.control = control
        self.starter = starter
        self.changes = kernel.Wakeup()
        self.poll = select.poll()
        self.supervisors: set[int] = set()
        self.lines: dict[int, socket.socket] = {}
        """to the supervisors, by descriptor"""
        self.idle: list[tuple[int, float]] = []
        """descriptors of the lines of those without an attempt, and since when"""
        self.listening = True

    def serve(self) -> None:
        """Take orders until the daemon hangs up, then see every attempt out."""
        self.poll.register(self.control, select.POLLIN)
        self.poll.register(self.changes.read, select.POLLIN)
        with contextlib.suppress(OSError):  # then the first order tries again
            self.rest(self.fork_supervisor())
        orders = self.control.fileno()
        while self.listening or self.supervisors:
            ready = [number for number, _ in self.poll.poll(self.longest_wait())]
            if not (ready or self.listening):  # a script may have stopped its supervisor
                kernel.kill_children(spare=frozenset())
            for number in sorted(ready, key=lambda number: number == orders):  # who is idle, first
                self.hear(number)
            self.dismiss()
        kernel.sweep(self.changes, time.monotonic() + PATIENCE)

    def longest_wait(self) -> float | None:
        """Milliseconds until something is to be done without being told."""
        if not self.listening:
            return LAST_WAIT * 1000
        return KEEP_IDLE * 1000 if len(self.idle) > 1 else None

    def hear(self, number: int) -> None:
        """Deal with a descriptor that has something to say."""
        if number == self.changes.read:
            self.changes.drain()
            self.reap()
        elif number == self.control.fileno():
            self.take_order()
        elif (line := self.lines.get(number)) is not None:
            with contextlib.suppress(BlockingIOError):  # the number was another line's just now
                if kernel.receive(line)[0]:
                    self.rest(number)
                else:
                    self.hang_up(number)

    def rest(self, number: int) -> None:
        """The supervisor at this line is idle."""
        self.idle.append((number, time.monotonic()))

    def hang_up(self, number: int) -> None:
        """Let the supervisor at this line end, as soon as its attempt has ended."""
        self.idle = [entry for entry in self.idle if entry[0] != number]
        self.poll.unregister(number)
        self.lines.pop(number).close()

    def dismiss(self) -> None:
        """Let go of idle supervisors that are not needed: all but one, after a while."""
        keep, long_ago = int(self.listening), time.monotonic() - KEEP_IDLE
        while len(self.idle) > keep and (not self.listening or self.idle[0][1] < long_ago):
            self.hang_up(self.idle[0][0])

    def take_order(self) -> None:
        """Pass one order on; when the daemon has hung up, listen no more."""
        message, descriptors = kernel.receive(self.control)
        if not message:
            self.poll.unregister(self.control)
            self.listening = False
        elif len(descriptors) == kernel.DESCRIPTORS:
            self.pass_on(descriptors)
        elif descriptors:  # this process has no descriptors left; the first is the status socket
            self.fail(descriptors, errno.EMFILE)
        kernel.close_all(descriptors)

    def pass_on(self, descriptors: list[int]) -> None:
        """Give the order to the supervisor that was busy last, for it is still in the caches."""
        while self.idle:
            number, _ = self.idle.pop()
            try:
                kernel.send(self.lines[number], b"order", descriptors)
            except OSError:  # somebody killed it
                self.hang_up(number)
            else:
                return
        try:
            number = self.fork_supervisor(descriptors)
            kernel.send(self.lines[number], b"order", descriptors)
        except OSError as error:
            self.fail(descriptors, error.errno or errno.EAGAIN)

    def fail(self, descriptors: list[int], number: int) -> None:
        """Report that there will be no attempt."""
        daemon = socket.socket(fileno=descriptors[0])
        kernel.fail(daemon, number)
        daemon.detach()

    def fork_supervisor(self, strange: Sequence[int] = ()) -> int:
        """Start a supervisor, which never comes back from here; its line. Raises OSError.

        `strange`: descriptors that are open here now and none of its business.
        """
        ours, theirs = kernel.pair()
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                with kernel.exit_after():
                    for line in (self.control, ours, *self.lines.values()):
                        line.close()  # or nobody would see that the launcher died
                    kernel.close_all(strange)
                    supervisor.Supervisor(theirs, self.changes, self.starter).serve()
        ours.setblocking(False)
        self.supervisors.add(pid)
        self.lines[ours.fileno()] = ours
        self.poll.register(ours, select.POLLIN)
        return ours.fileno()

    def reap(self) -> None:
        """Reap supervisors, and kill what one of them that was killed has left."""
        strangers = False
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                strangers |= found[1] != 0 or found[0] not in self.supervisors
                self.supervisors.discard(found[0])
        if strangers:
            kernel.kill_children(spare=self.supervisors)


if __name__ == "__main__":
    run(socket.socket(fileno=int(sys.argv[1])), spare.Program())
