"""Prints what a script can see of its interpreter and its process, but for what differs anyway."""

import sys

names = sorted(globals())
main = {name: repr(globals()[name]) for name in names if name not in ("sys", "__loader__")}
loader = globals()["__loader__"]
kind = type(loader).__qualname__, loader.name, loader.path
del loader

import gc
import json
import locale
import os
import resource
import signal
import stat
import subprocess
import threading
import time
import warnings

STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
OF_A_STREAM = ("encoding", "errors", "newlines", "line_buffering", "write_through", "mode", "name")


def lines(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().splitlines()


def stream(name: str) -> dict[str, object]:
    it = getattr(sys, name)
    buffer = getattr(it, "buffer", it)
    raw = getattr(buffer, "raw", buffer)
    return {
        "attributes": {key: repr(getattr(it, key, None)) for key in OF_A_STREAM},
        "types": [type(part).__name__ for part in (it, buffer, raw)],
        "is": [repr(part) for part in (it, buffer, raw)],
        "can": [it.readable(), it.writable(), it.seekable(), it.isatty(), it.closed, it.fileno()],
        "raw": [raw.mode, raw.closefd, raw.seekable(), raw._blksize],  # noqa: SLF001 -- what buffers go by
        "identity": it is getattr(sys, name.strip("_")),
    }


def handler(number: int) -> str:
    found = signal.getsignal(number)
    return str(getattr(found, "__qualname__", repr(found)))


def status() -> list[str]:
    wanted = (
        "Umask",
        "State",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "SigPnd",
        "Threads",
        "Name",
        "Seccomp",
    )
    return [line for line in lines("/proc/self/status") if line.partition(":")[0] in wanted]


def hidden(text: object) -> str:
    return str(text).replace(os.getcwd(), "HERE")


def of_sys() -> dict[str, str]:
    left_out = {
        "modules", "path_importer_cache", "argv", "path", "stdin", "stdout", "stderr", "__stdin__",
        "__stdout__", "__stderr__", "last_type", "last_value", "last_traceback", "meta_path",
        "path_hooks", "_git",
    }  # fmt: skip
    found = {key: value for key, value in vars(sys).items() if key not in left_out}
    found = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in found.items()}
    return {key: hidden(repr(value)).partition(" at 0x")[0] for key, value in found.items()}


known = {
    "main": main,
    "names": names,
    "loader": kind,
    "builtins": __builtins__ is sys.modules["builtins"],
    "is main": sys.modules["__main__"].__dict__ is globals(),
    "argv": sys.argv,
    "orig_argv": sys.orig_argv,
    "path": sys.path,
    "sys": of_sys(),
    "calls": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile()],
    "flags": str(sys.flags),
    "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__],
    "exception": [repr(part) for part in sys.exc_info()],
    "meta path": [repr(part).partition(" at 0x")[0] for part in sys.meta_path],
    "path hooks": len(sys.path_hooks),
    "environ": sorted(os.environ.items()),
    "environb": sorted(map(repr, os.environb.items())),
    "environ of the C library": sorted(
        hidden(line) for line in subprocess.check_output("env").splitlines()
    ),
    "comm": lines("/proc/self/comm"),
    "exe": os.readlink("/proc/self/exe"),
    "streams": {name: stream(name) for name in STREAMS},
    "stdin": sys.stdin.read(),
    "at its end": sys.stdin.read(),
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "pipes": [stat.S_ISFIFO(os.fstat(number).st_mode) for number in range(3)],
    "blocking": [os.get_blocking(number) for number in range(3)],
    "inheritable": [os.get_inheritable(number) for number in range(3)],
    "signals": {str(number): handler(number) for number in signal.valid_signals()},
    "wakeup": signal.set_wakeup_fd(-1),
    "timers": [signal.getitimer(timer) for timer in range(3)],
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "limits": [resource.getrlimit(number) for number in range(16)],
    "status": status(),
    "umask": os.umask(0o022),
    "here": [os.listdir(), os.stat(".").st_mode, os.path.isabs(os.getcwd())],
    "leads": [os.getpid() == os.getpgrp() == os.getsid(0)],
    "nice": os.nice(0),
    "affinity": sorted(os.sched_getaffinity(0)),
    "locale": [locale.getlocale(), locale.setlocale(locale.LC_ALL), locale.getpreferredencoding()],
    "file system": [sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()],
    "time": [time.tzname, time.timezone, time.localtime(0).tm_hour],
    "threads": [threading.active_count(), threading.current_thread().name],
    "main thread": threading.main_thread() is threading.current_thread(),
    "native": threading.main_thread().native_id == os.getpid(),
    "collector": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
    "filters": [repr(entry) for entry in warnings.filters],
    "children": lines(f"/proc/self/task/{os.getpid()}/children"),
}
json.dump(known, sys.stdout)
