"""A warm parent: an interpreter that has imported what scripts need, and forks itself for each.

`prefork.py` starts it by the interpreter of the scripts, as `PYTHON OPTIONS
warm_importlib_bootstrap.py CONTROL ORDER STDOUT STDERR`. So it has the flags, the paths and the
locale that a script has. It imports nothing of the mediator but `launcher.py`, from its file, and
is a launcher otherwise: each attempt has a supervisor, and the script is a fork of that.

ORDER is a file with JSON: `command` (interpreter and options), `directory` (that of the scripts,
which they import from) and `preload`. What came of it is written there instead: `problem`, one
sentence without its full stop or nothing, and `watch`, files with modification time, size and
inode: once one of them has changed, this parent is out of date. STDOUT and STDERR are the reading
ends of this process's own output.

A script must not be able to tell such a fork from a fresh interpreter. What cannot be had that way
(a syntax error's report, a file that may not be executed) is left to a fresh interpreter: the fork
executes the program after all. The streams need no care: no module has read from stdin or written
to the others, or this parent would not be fit, so their objects begin as fresh ones do. A fork ends
as every interpreter ends, by itself: it takes apart all modules, the parent's too, and that costs
more than the fork did (18 ms with Tufin's SDK), but it is what scripts count on.

Others see more: /proc has the arguments of the parent, and no variables; the name is the script's.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import json
import os
import signal
import socket
import stat
import struct
import sys
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import CodeType, ModuleType, TracebackType
    from typing import Any

    Order = dict[str, Any]

OF_MAIN = (
    *("__name__", "__doc__", "__package__", "__loader__", "__spec__", "__annotations__"),
    *("__builtins__", "__file__", "__cached__"),
)
"""What the interpreter puts into `__main__`, in this order."""
CHANGING = ("SCW_", "MEDIATOR_", "TRACEPARENT", "TRACESTATE")
"""Beginnings of the names of variables that are another attempt's own; see `prefork.py`."""


def become_script(found: Collection[str]) -> tuple[CodeType, dict[str, Any]]:
    """Be a warm parent. Comes back in the process of a script, with its code and its namespace.

    `found`: the modules that every interpreter begins with.
    """
    control, file, *outputs = (int(number) for number in sys.argv[-4:])
    launcher = load_launcher()
    kernel = launcher.kernel
    kernel.prctl(kernel.SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    order = json.loads(os.pread(file, os.fstat(file).st_size, 0))
    begin_afresh(outputs)
    problem = enter(order["directory"], found) or preload(order["preload"], kernel, outputs)
    report(file, {"problem": problem, "watch": list(watched())})
    kernel.prctl(kernel.SET_PARENT_DEATH_SIGNAL, 0, 0, 0, 0)
    if problem:
        os._exit(0)
    hide_environment()
    fork = Fork(order["command"], launcher)
    try:
        launcher.run(socket.socket(fileno=control), fork)
        os._exit(0)  # nothing of the modules' exit handlers: no script has ended
    except kernel.Leave:
        pass
    return fork.code, new_main(fork.script)


def load_launcher() -> ModuleType:
    """`launcher.py`, which nobody else finds among the modules."""
    program = __file__.removesuffix("warm_parent.py") + "launcher.py"
    launcher = type(sys)("mediator.runners.launcher")
    launcher.__file__ = program
    with open(program, encoding="utf-8") as file:  # noqa: PTH123 -- pathlib is slow to import
        exec(compile(file.read(), program, "exec"), launcher.__dict__)  # noqa: S102 -- our own
    return launcher


def begin_afresh(outputs: list[int]) -> None:
    """Undo what the daemon's state would mean to modules: signals, mask of files, descriptors."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    pythons_own = {signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - pythons_own:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o022)
    for descriptor in outputs:
        os.set_inheritable(descriptor, False)


def enter(directory: str, found: Collection[str]) -> str:
    """Import from the scripts' directory as they do; a problem where that changes too much."""
    if sys.flags.isolated or getattr(sys.flags, "safe_path", False):
        return ""
    ours = {name.partition(".")[0] for name in sys.modules} - set(found)
    ours -= set(sys.builtin_module_names)
    hidden = ours & {name.removesuffix(".py") for name in os.listdir(directory)}  # noqa: PTH208
    sys.path.insert(0, directory)
    sys.path_importer_cache.pop(os.path.dirname(__file__), None)  # noqa: PTH120
    if hidden:
        return f"the directory of the script hides the standard module {min(hidden)}"
    return ""


def preload(names: list[str], kernel: ModuleType, outputs: list[int]) -> str:
    """Import the modules; why that does not do, naming the one to blame."""
    known = frozenset(descriptors())
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 -- a module may even call sys.exit
            why = " ".join(f"{type(error).__name__}: {error}".split())
            return f"{name} cannot be imported ({why})"
        problem = odd(known, kernel, outputs)
        if problem:
            return f"{name} {problem} when it is imported"
    return ""


def odd(known: frozenset[int], kernel: ModuleType, outputs: list[int]) -> str:
    """What an import has done that no fork can share with another."""
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 -- pathlib is slow to import
        return "starts a thread"
    if any(kernel.living_children()):
        return "starts a process"
    kinds = [os.fstat(number).st_mode for number in descriptors() if number not in known]
    if any(stat.S_ISSOCK(mode) for mode in kinds):
        return "opens a socket"
    if not all(stat.S_ISCHR(mode) for mode in kinds):
        return "leaves a file open"
    return odd_streams(outputs)


def odd_streams(outputs: list[int]) -> str:
    """What an import has done to standard input and outputs."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    if any(waiting(output) for output in outputs):
        return "prints"
    return "reads stdin" if waiting(0) != 1 else ""


def descriptors() -> list[int]:
    """The open ones."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 -- as above
    return [number for number in listed if is_open(number)]  # one was that of the listing


def is_open(number: int) -> bool:
    """Whether a descriptor is open."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def waiting(pipe: int) -> int:
    """Bytes that can be read from a pipe; -1 when it is none any more."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])
    except OSError:
        return -1


def watched() -> Iterator[tuple[str, int, int, int]]:
    """What this process was made of, and how it was: path, modification time, size, inode.

    Files of modules; directories instead where installers put packages, for these replace them.
    The standard library changes with the interpreter.
    """
    library = os.path.dirname(os.__file__)  # noqa: PTH120 -- pathlib is slow to import
    paths = {sys.executable, os.path.realpath(sys.executable), f"{sys.prefix}/pyvenv.cfg"}
    paths |= {path for path in sys.path if "-packages" in path}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or path in US:
            continue
        if "-packages/" in path:
            paths.add(os.path.dirname(path))  # noqa: PTH120
        elif not path.startswith(library):
            paths.add(path)
    for path in sorted(paths):
        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
        yield path, found.st_mtime_ns, size, found.st_ino


def report(file: int, found: dict[str, Any]) -> None:
    """Write the answer over the order."""
    os.ftruncate(file, 0)
    content = json.dumps(found).encode()
    while content:
        content = content[os.pwrite(file, content, os.fstat(file).st_size) :]
    os.close(file)


def hide_environment() -> None:
    """Take the variables off the stack, where every process of this user can read them (/proc).

    C libraries look for them where the C library keeps them, so they are put there anew.
    """
    for name, value in list(os.environb.items()):
        os.unsetenv(name)
        os.putenv(name, value)
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 -- pathlib is slow to import
        after_name = file.read().rpartition(b") ")[2].split()
    start, end = (int(after_name[n - 3]) for n in (50, 51))  # env_start and env_end, proc(5)
    ctypes.memset(start, 0, end - start)


class Fork:
    """How a fork of this process becomes a script."""

    code: CodeType
    script: str

    def __init__(self, command: list[str], launcher: ModuleType) -> None:
        self._command = [word.encode("latin-1") for word in command]
        self._launcher = launcher
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._descriptors = frozenset(descriptors())
        self._kept = frozenset(n for n in self._descriptors if stat.S_ISCHR(os.fstat(n).st_mode))
        self._collects = gc.isenabled()
        self._codes = launcher.load("compiled").Codes()

    def learn(self, specification: int) -> None:
        """Compile the script that has just run, for the next one that is a fork of this process."""
        try:
            order = self._launcher.spare.read(specification)
            self._codes.learn(os.fsdecode(self._taken_apart(order)[1]))
        except Exception:  # noqa: BLE001, S110 -- whatever is wrong will show in the script's process
            pass

    def ahead(self, line: int) -> None:
        """Have signals and modules as imports left them, and what is the launcher's closed."""
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        for descriptor in descriptors():
            if descriptor > 2 and descriptor != line and descriptor not in self._kept:
                os.close(descriptor)
        forget_process()
        gc.freeze()  # what the supervisor made is not the script's either

    def become(self, specification: Order, status: int) -> None:
        """Leave the launcher as the script. Executes the program where a fork will not do."""
        named, script, arguments = self._taken_apart(specification)
        self.script = os.fsdecode(script)
        for name, value in specification["environment"].items():
            if name.startswith(CHANGING):
                os.environb[name.encode("latin-1")] = value.encode("latin-1")
        try:
            self.code = self._codes.of(self.script, executed=not named)
        except Exception:  # noqa: BLE001 -- whatever is wrong with it, the interpreter will say
            self._launcher.spare.execute(specification)
        sys.argv[:] = [self.script, *map(os.fsdecode, arguments)]
        sys.orig_argv[:] = map(os.fsdecode, [*self._command, script, *arguments])
        program = script if not named and b"/" in self._command[0] else self._command[0]
        kernel = self._launcher.kernel
        kernel.prctl(kernel.SET_NAME, os.path.basename(program), 0, 0, 0)  # noqa: PTH119
        forget_directory()
        if self._collects:
            gc.enable()
        os.close(status)
        raise kernel.Leave

    def _taken_apart(self, specification: Order) -> tuple[bool, bytes, list[bytes]]:
        """Whether the command names the script or its first line does, the script, arguments."""
        argv = [word.encode("latin-1") for word in specification["argv"]]
        named = argv[: len(self._command)] == self._command
        script, *arguments = argv[len(self._command) :] if named else argv
        return named, script, arguments


def forget_process() -> None:
    """Have modules forget that the parent was another process."""
    for finder in sys.path_importer_cache.values():
        if finder is not None and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    threading = sys.modules.get("threading")
    if threading is not None and hasattr(threading.main_thread(), "_set_native_id"):
        threading.main_thread()._set_native_id()  # noqa: SLF001 -- it keeps that of the parent
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)


def forget_directory() -> None:
    """Have modules forget where the parent worked."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = os.getcwd()  # noqa: PTH109


def new_main(script: str) -> dict[str, Any]:
    """A module `__main__` as it is before a script's first line.

    A new one, because collections leave out what was there before `launcher.run`, and the values
    of a script are to be collected at its end.
    """
    known = vars(sys.modules["__main__"])
    main = type(sys)("__main__")
    vars(main).clear()
    vars(main).update({name: known[name] for name in OF_MAIN if name in known})
    vars(main)["__doc__"] = None
    vars(main)["__file__"] = script
    vars(main)["__loader__"] = type(known["__loader__"])("__main__", script)
    if "__annotations__" in known:
        vars(main)["__annotations__"] = {}
    sys.modules["__main__"] = main
    return vars(main)


class NoTraceOfUs:
    """Ends a script: takes the frames of this program out of the traceback, for example."""

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Cut the traceback. The frame that called this adds nothing when it raises it again."""
        if error is not None:
            error.__traceback__ = without_us(error.__traceback__)
        main = vars(sys.modules["__main__"])
        for name in ("__file__", "__cached__"):  # so does the interpreter when its program ends
            main.pop(name, None)


def without_us(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from where the script begins."""
    while trace is not None and trace.tb_frame.f_code.co_filename in US:
        trace = trace.tb_next
    return trace


US = frozenset({__file__, __file__.replace("warm_parent", "warm_importlib_bootstrap")})
"""The files of this program."""
no_trace_of_us = NoTraceOfUs()
