"""Starts attempts and watches over them: a small program of its own, not a part of the daemon.

`launching.py` starts it as `python -I -S launcher.py FD`. It imports nothing of the mediator, so it
starts in about 15 ms, has one thread, and forks in a third of a millisecond. It stays in one file,
longer than a module usually is here, because it must stand alone. Three kinds of process come of
it, each the parent of the next:

* the **launcher** waits for orders on FD and forks a supervisor for each;
* a **supervisor** belongs to one attempt. It is a child subreaper (prctl(2)): whatever the script
  starts, however often it forks or calls setsid, becomes the supervisor's child once its own
  parent is gone, and so can be found and killed;
* the **script**, in a session of its own.

Who dies first? The daemon: supervisors see their status socket hang up and kill everything. A
supervisor: the launcher, a subreaper too, inherits its processes and kills them. The launcher:
supervisors carry on, for they report to the daemon directly. The script: its supervisor kills what
it left behind, then reports.

An order is a message with five descriptors: status socket, stdin, stdout, stderr, and a file with
the specification (JSON; each string holds bytes, decoded as Latin-1). On the status socket the
daemon sends `T` (SIGTERM to the script's process group) and `K` (kill everything). It hears
`forked SCRIPT SUPERVISOR`, their process ids, before the script's first instruction;
`refused ERRNO STEP` when there will be none; and in the end `ended STATUS ASKED LEFTOVERS
SURVIVORS`, where STATUS is that of wait(2) and ASKED is 1 if `T` or `K` reached the script before
its end. A hang-up after `refused` is an end too.

A runner that starts something else than a program calls `run` with its own `become`. That is called
in the script's process with the specification and the status socket, to be closed before the
script's own code runs (exec does it). What `become` raises is the reason of a refusal; only `Leave`
passes through everything here and comes out of `run`, in the script's process.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # importing `typing` would cost a third of the start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    Specification = dict[str, Any]
    Become = Callable[[Specification, socket.socket], object]

SET_PARENT_DEATH_SIGNAL, SET_NAME, SET_CHILD_SUBREAPER = 1, 15, 36  # prctl(2)
DESCRIPTORS = 5
PATIENCE = 5.0  # seconds after which killed processes that do not die are reported as survivors
LAST_WAIT = 2 * PATIENCE  # seconds without news after which supervisors without a daemon are killed
RESCAN = (0.01, 1.0)  # first and longest time in seconds between two looks at what does not die

IGNORED: list[int] = []  # signals ignored here, a disposition that would survive exec

prctl = ctypes.CDLL(None, use_errno=True).prctl


class Leave(BaseException):
    """Raised by a `become`: this process is the script's from now on, and `run` is left."""


def run(control: socket.socket, become: Become) -> None:
    """Be the launcher until the daemon's end of `control` closes and every attempt has ended.

    Raises what `become` raises of `Leave`, in another process.
    """
    os.set_inheritable(control.fileno(), False)
    set_process("mediator-launch")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the daemon decides when this ends, not a terminal
    signal.signal(signal.SIGCHLD, lambda *_: None)  # the default would not ring the bell
    IGNORED[:] = [n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
    gc.disable()
    gc.freeze()  # a collection in a child would copy every page
    os.stat("/proc/self/stat")  # noqa: PTH116 -- fail now, not when a leftover must be found
    control.send(b"ready")
    Launcher(control, become).serve()


def set_process(name: str) -> None:
    """Take a name that `ps` shows, and become the parent of orphans below. Raises OSError."""
    prctl(SET_NAME, name.encode(), 0, 0, 0)
    if prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Bell:
    """A pipe that becomes readable when a child changes state."""

    def __init__(self) -> None:
        self.read, self._write = os.pipe()
        os.set_blocking(self.read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def silence(self) -> None:
        """Forget the rings so far. Call it before looking at children, never after."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.read, 4096):
                pass

    def wait(self, seconds: float) -> None:
        """Wait for a ring."""
        poll = select.poll()
        poll.register(self.read, select.POLLIN)
        poll.poll(seconds * 1000)
        self.silence()

    def close(self) -> None:
        """Let go of the pipe; the wake-up descriptor must point elsewhere by now."""
        os.close(self.read)
        os.close(self._write)


class Launcher:
    """Forks a supervisor for every order, and reaps it."""

    def __init__(self, control: socket.socket, become: Become) -> None:
        self.control = control
        self.become = become
        self.bell = Bell()
        self.supervisors: set[int] = set()

    def serve(self) -> None:
        """Take orders until the daemon hangs up, then see every attempt out."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.bell.read, select.POLLIN)
        listening = True
        while listening or self.supervisors:
            ready = {number for number, _ in poll.poll(None if listening else LAST_WAIT * 1000)}
            if self.bell.read in ready:
                self.bell.silence()
                self.reap()
            if self.control.fileno() in ready and not self.take_order():
                poll.unregister(self.control)
                listening = False
            if not (ready or listening):  # a script may have stopped its supervisor
                kill_children(spare=frozenset())
        sweep(self.bell, time.monotonic() + PATIENCE)

    def take_order(self) -> bool:
        """Carry out one order; False when the daemon has hung up."""
        try:
            message, descriptors = receive(self.control)
        except ConnectionResetError:
            return False
        if len(descriptors) == DESCRIPTORS:
            self.fork_supervisor(descriptors)
        elif descriptors:  # this process has no descriptors left; the first is the status socket
            refuse(descriptors[0], errno.EMFILE)
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(message)

    def fork_supervisor(self, descriptors: list[int]) -> None:
        """Start a supervisor, which never comes back from here."""
        try:
            pid = os.fork()
        except OSError as error:
            refuse(descriptors[0], error.errno or errno.EAGAIN)
            return
        if pid == 0:
            with exit_after():
                self.control.close()  # or the daemon would not see that the launcher died
                Supervisor(descriptors, self.bell).supervise(self.become)
        self.supervisors.add(pid)

    def reap(self) -> None:
        """Reap supervisors, and kill what one of them that was killed has left."""
        strangers = False
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                strangers |= found[1] != 0 or found[0] not in self.supervisors
                self.supervisors.discard(found[0])
        if strangers:
            kill_children(spare=self.supervisors)


class Supervisor:
    """Starts one script, passes signals on to it, and clears up behind it."""

    def __init__(self, descriptors: list[int], bell_above: Bell) -> None:
        set_process("mediator-superv")
        self.bell = Bell()
        bell_above.close()
        self.status = socket.socket(fileno=descriptors[0])
        self.given = descriptors[1:]
        self.script = 0
        self.script_alive = True
        self.asked = self.killed = False

    def supervise(self, become: Become) -> None:
        """See the attempt through from fork to report."""
        if self.daemon_is_gone():  # it gave the attempt up while the order waited
            return
        self.fork_script(become)
        for descriptor in self.given:
            os.close(descriptor)
        poll = select.poll()
        poll.register(self.status, select.POLLIN)
        poll.register(self.bell.read, select.POLLIN)
        while self.script_alive:
            for descriptor, _ in poll.poll():
                if descriptor == self.bell.read:
                    self.bell.silence()
                    self.reap()
                elif not self.obey():
                    poll.unregister(self.status)
        self.clear_up()

    def daemon_is_gone(self) -> bool:
        """Whether the daemon has closed its end."""
        poll = select.poll()
        poll.register(self.status, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def fork_script(self, become: Become) -> None:
        """Fork the process that becomes the script."""
        parent = os.getpid()
        try:
            self.script = os.fork()
        except OSError as error:
            refuse(self.status.fileno(), error.errno or errno.EAGAIN)
            os._exit(0)
        if self.script == 0:
            with exit_after():
                prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == parent:
                    self.tell(b"forked %d %d" % (os.getpid(), parent))
                    become_script(self.given, self.status, become)

    def obey(self) -> bool:
        """Take one command from the daemon; when it is gone, kill the script and say False."""
        try:
            command = self.status.recv(16)
        except ConnectionResetError:
            command = b""
        self.reap()  # a script that has ended by itself was not asked to
        if self.script_alive:
            self.asked = True
            self.killed |= command != b"T"
            self.signal_script(signal.SIGKILL if self.killed else signal.SIGTERM)
        return bool(command)

    def signal_script(self, number: int) -> None:
        """Signal the script's group. It is not reaped yet, so its number is not another's."""
        try:
            os.killpg(self.script, number)
        except ProcessLookupError:  # it has not come as far as setsid
            os.kill(self.script, number)
        except PermissionError:  # it became another user
            pass

    def reap(self) -> None:
        """Reap orphans that ended; leave the script itself unreaped, its group may be alive."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while found := os.waitid(os.P_ALL, 0, flags):
            if found.si_pid == self.script:
                self.script_alive = False
                return
            os.waitpid(found.si_pid, 0)

    def clear_up(self) -> None:
        """Kill what the script left behind, and report.

        What will not die (in an uninterruptible wait, or another user's) is reported as survivors,
        and this process stays until they are gone.
        """
        with contextlib.suppress(OSError):
            os.killpg(self.script, signal.SIGKILL)
        _, status = os.waitpid(self.script, 0)
        leftovers, survivors = sweep(self.bell, time.monotonic() + PATIENCE)
        if self.killed:
            leftovers = 0  # the script had no chance to end them
        self.tell(b"ended %d %d %d %d" % (status, self.asked, leftovers, survivors))
        self.status.close()
        if survivors:
            sweep(self.bell, float("inf"))

    def tell(self, message: bytes) -> None:
        """Report to the daemon, unless it is gone."""
        with contextlib.suppress(OSError):
            self.status.send(message)


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """A message and its descriptors, closed on exec: `socket.recv_fds` would not see to that."""
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS * descriptors.itemsize)
    message, ancillary, _, _ = control.recvmsg(64, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, descriptors.tolist()


def refuse(status: int, number: int) -> None:
    """Report that there could be no process for the attempt."""
    daemon = socket.socket(fileno=status)
    with contextlib.suppress(OSError):
        daemon.send(b"refused %d fork" % number)
    daemon.detach()


@contextlib.contextmanager
def exit_after() -> Iterator[None]:
    """Keep a forked child from ever returning into its parent's code."""
    leaving = False
    code = 1
    try:
        yield
        code = 0
    except Leave:
        leaving = True
        raise
    finally:
        if not leaving:
            os._exit(code)


def become_script(given: list[int], status: socket.socket, become: Become) -> NoReturn:
    """Turn this process into the script, or say why it cannot be."""
    step = b"prepare"
    try:
        specification = prepare(given)
        step = b"enter"
        os.chdir(specification["directory"].encode("latin-1"))
        step = b"limit"
        for number, bound in specification["limits"]:
            limit(number, *bound)
        step = b"execute"
        become(specification, status)
    except Exception as error:  # noqa: BLE001 -- or it would pass for the script's own end
        memory = errno.ENOMEM if isinstance(error, MemoryError) else 0
        status.send(b"refused %d %s" % (getattr(error, "errno", memory) or 0, step))
    os._exit(127)


def prepare(given: list[int]) -> Specification:
    """Make session, signals, umask and streams those of a fresh process; read what to become."""
    os.setsid()
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    *streams, specification = given
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
    size = os.fstat(specification).st_size
    loaded: Specification = json.loads(os.pread(specification, size, 0))
    return loaded


def limit(number: int, soft: int, hard: int) -> None:
    """Lower a resource limit; one that is lower already stays."""
    present = resource.getrlimit(number)[1]
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    resource.setrlimit(number, (soft, hard))


def execute(specification: Specification, _status: socket.socket) -> None:
    """Become a program."""
    program, *arguments = (text.encode("latin-1") for text in specification["argv"])
    environment = {
        name.encode("latin-1"): value.encode("latin-1")
        for name, value in specification["environment"].items()
    }
    os.execve(program, [program, *arguments], environment)  # noqa: S606 -- no shell is the point


def sweep(bell: Bell, deadline: float) -> tuple[int, int]:
    """Kill and reap all below: how many died of it, and how many are alive at the deadline."""
    killed, (pause, longest) = 0, RESCAN
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return killed, 0
        if pid:
            killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            continue
        alive = kill_children(spare=frozenset())
        if time.monotonic() > deadline:
            return killed, alive
        bell.wait(pause)
        pause = min(2 * pause, longest)


def kill_children(*, spare: set[int] | frozenset[int]) -> int:
    """SIGKILL the children of this process and their groups; how many were alive.

    A child keeps its number, and its group's, until it is reaped, and only this process reaps it:
    no stranger can be hit. A group is killed in one step, so its members cannot fork away.
    """
    alive = 0
    own = os.getpgrp()
    for pid, group in list(living_children()):
        if pid in spare:
            continue
        alive += 1
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            if group not in (0, 1, own):
                os.killpg(group, signal.SIGKILL)
    return alive


def living_children() -> Iterator[tuple[int, int]]:
    """Number and process group of each child that is not a zombie, by a look through /proc.

    /proc/PID/task/TID/children would be quicker, but not every kernel has it.
    """
    me = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208 -- pathlib is slow to import
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 -- the same
                state, parent, group, *_ = file.read().rpartition(b") ")[2].split(b" ", 3)
        except OSError:
            continue
        if int(parent) == me and state not in b"ZX":
            yield int(name), int(group)


if __name__ == "__main__":
    run(socket.socket(fileno=int(sys.argv[1])), execute)
