"""Runs one attempt after another, and lets nothing of them live on. See `launcher.py`.

A part of that program, which loads it: like that, it imports nothing of the mediator.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mediator.runners import kernel  # noqa: TC004 -- at run time `launcher.py` puts it here
    from mediator.runners import spare as spares  # noqa: TC004 -- the same

MOST_ATTEMPTS = 1000  # of one supervisor: whatever might grow in it does not grow for ever
PATIENCE = 5.0  # seconds after which killed processes that do not die are reported as survivors


class Supervisor:
    """A process that serves one attempt after another; idle, it has a spare for the next one."""

    def __init__(
        self, line: socket.socket, changes_above: kernel.Wakeup, starter: spares.Starter
    ) -> None:
        kernel.set_process("mediator-superv")
        self.changes = kernel.Wakeup()
        changes_above.close()
        self.line = line
        self.starter = starter
        self.spare: spares.Spare | None = None
        self.attempts_left = MOST_ATTEMPTS

    def serve(self) -> None:
        """Take orders until the launcher hangs up."""
        while self.attempts_left:
            with contextlib.suppress(OSError):
                self.spare = spares.Spare(self.starter, self.line)
            _, descriptors = kernel.receive(self.line)
            if not descriptors:
                break
            self.attempts_left -= 1
            *channels, specification = descriptors
            self.carry_out(channels, specification)
            self.starter.learn(specification)
            os.close(specification)
        if self.spare is not None:
            self.spare.kill()

    def carry_out(self, channels: list[int], specification: int) -> None:
        """See one attempt through; nothing of it is alive afterwards."""
        status, *streams = channels
        daemon = socket.socket(fileno=status)
        script = self.hand_over([*channels, specification], daemon)
        kernel.close_all(streams)
        if script:
            ScriptProcess(script, daemon, self.changes).supervise(self.rest)
        else:
            self.rest()
        daemon.close()

    def rest(self) -> None:
        """Tell the launcher that the next order may come, unless this was the last attempt."""
        if self.attempts_left:
            with contextlib.suppress(OSError):  # the launcher is gone, as the next look will tell
                self.line.send(b"idle")

    def hand_over(self, descriptors: list[int], daemon: socket.socket) -> int:
        """Have the spare become the script: its process id, 0 when there is none."""
        if is_gone(daemon):  # it gave the attempt up while the order waited
            return 0
        spare, self.spare = self.spare, None
        try:
            if spare is None or not spare.give(descriptors):  # somebody killed it
                spare = spares.Spare(self.starter, self.line)
                spare.give(descriptors)
        except OSError as error:
            kernel.fail(daemon, error.errno or errno.EAGAIN)
            return 0
        return spare.pid


def is_gone(daemon: socket.socket) -> bool:
    """Whether the daemon has closed its end of a status socket."""
    poll = select.poll()
    poll.register(daemon, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class ScriptProcess:
    """Watches over one script, passes signals on to it, and clears up behind it."""

    def __init__(self, pid: int, status: socket.socket, changes: kernel.Wakeup) -> None:
        self.pid = pid
        self.status = status
        self.changes = changes
        self.alive = True
        self.asked = self.killed = False

    def supervise(self, rest: Callable[[], None]) -> None:
        """See it through to the report. Calls `rest` when nothing of it is alive any more."""
        poll = select.poll()
        poll.register(self.status, select.POLLIN)
        poll.register(self.changes.read, select.POLLIN)
        self.reap()  # it may have ended before
        while self.alive:
            for descriptor, _ in poll.poll():
                if descriptor == self.changes.read:
                    self.changes.drain()
                    self.reap()
                elif not self.obey():
                    poll.unregister(self.status)
        self.clear_up(rest)

    def obey(self) -> bool:
        """Take one command from the daemon; when it is gone, kill the script and say False."""
        try:
            command = self.status.recv(16)
        except ConnectionResetError:
            command = b""
        self.reap()  # a script that has ended by itself was not asked to
        if self.alive:
            self.asked = True
            self.killed |= command != b"T"
            self.send_signal(signal.SIGKILL if self.killed else signal.SIGTERM)
        return bool(command)

    def send_signal(self, number: int) -> None:
        """Signal the script's group. It is not reaped yet, so its number is not another's."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # it has not come as far as setsid
            os.kill(self.pid, number)
        except PermissionError:  # it became another user
            pass

    def reap(self) -> None:
        """Reap orphans that ended; leave the script itself unreaped, its group may be alive."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while found := os.waitid(os.P_ALL, 0, flags):
            if found.si_pid == self.pid:
                self.alive = False
                return
            os.waitpid(found.si_pid, 0)

    def clear_up(self, rest: Callable[[], None]) -> None:
        """Kill what the script left behind, and report.

        What will not die (in an uninterruptible wait, or another user's) is reported as survivors,
        and this process stays until they are gone.
        """
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        leftovers, survivors = kernel.sweep(self.changes, time.monotonic() + PATIENCE)
        if self.killed:
            leftovers = 0  # the script had no chance to end them
        if not survivors:  # before the report, which may bring the next order about
            rest()
        self.tell(b"ended %d %d %d %d" % (status, self.asked, leftovers, survivors))
        self.status.close()
        if survivors:
            kernel.sweep(self.changes, float("inf"))
            rest()

    def tell(self, message: bytes) -> None:
        """Report to the daemon, unless it is gone."""
        with contextlib.suppress(OSError):
            self.status.send(message)
