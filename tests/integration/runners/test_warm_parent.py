"""The warm runner: a script cannot tell that it is a fork. Whatever it looks at, both ways."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mediator.model.delivery import Ended, Outcome, Output
from mediator.runners.port import Warm
from mediator.runners.prefork import Parents
from mediator.runners.process import ProcessRunner
from tests.integration.runners.support import Scripts

PROBE = Path(__file__).with_name("probe.py")
MODULE = """
import sys, os, random, uuid, ssl, threading, logging, tempfile, multiprocessing, atexit
import concurrent.futures
stdin, stdout, stderr = sys.stdin, sys.stdout, sys.stderr
token = uuid.uuid4().hex
"""
"""What scripts import here: it binds streams when it is imported, as Tufin's SDK does."""

Both = Callable[..., Coroutine[Any, Any, tuple[Ended, Ended]]]


@pytest.fixture
def both(local_runner: ProcessRunner, parents: Parents, scripts: Scripts) -> Both:
    """Runs a script in a fresh interpreter, and as a fork."""

    async def both(
        text: str, *arguments: str, options: str = "", **keywords: Any
    ) -> tuple[Ended, Ended]:
        (scripts.directory / "module.py").write_text(MODULE)
        command = (sys.executable, *([options] if options else []))
        script = scripts.write(f"#!{' '.join(command)}\n{text}")
        preload = () if "I" in options else ("module",)
        warm = Warm(command=command, script=script, preload=preload)
        fresh = scripts.run(script, *arguments, **keywords)
        forked = scripts.run(script, *arguments, warm=warm, **keywords)
        assert await parents.prepare(forked) == ""
        return (
            await local_runner.run(fresh, stop=asyncio.Event()),
            await local_runner.run(forked, stop=asyncio.Event()),
        )

    return both


@pytest.mark.parametrize("options", ["", "-IS", "-u", "-OO", "-B", "-Wdefault"])
@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(
            {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}, id="usual"
        ),
        pytest.param({}, id="empty"),
        pytest.param({"LC_ALL": "POSIX", "A": "\udcff", "TZ": "Asia/Tokyo"}, id="POSIX"),
        pytest.param({"PYTHONIOENCODING": "latin-1:replace", "PYTHONPATH": "/x:/y"}, id="PYTHON"),
        pytest.param({"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "1"}, id="unbuffered"),
        pytest.param({"TRACEPARENT": "00-1-2-01", "TRACESTATE": "a=b"}, id="trace"),
    ],
)
async def test_everything_is_as_in_a_fresh_interpreter(
    both: Both, options: str, environment: dict[str, str]
) -> None:
    environment = {**environment, "SCW_EVENT": "CREATE", "MEDIATOR_ATTEMPT": "1"}
    text = PROBE.read_text()
    fresh, forked = await both(
        text, "a", "\udcff", options=options, environment=environment, stdin=b"a ticket"
    )
    assert fresh.outcome is forked.outcome is Outcome.OK, forked
    assert (fresh.stderr.kept, forked.stderr.kept) == (b"", b"")
    assert json.loads(forked.stdout.kept) == json.loads(fresh.stdout.kept)


ENDS = {
    "returns": "pass",
    "exit": "sys.exit()",
    "None": "sys.exit(None)",
    "0": "sys.exit(0)",
    "1": "sys.exit(1)",
    "75": "sys.exit(75)",
    "256": "sys.exit(256)",
    "minus one": "sys.exit(-1)",
    "huge": "sys.exit(2**70)",
    "true": "sys.exit(True)",
    "float": "sys.exit(1.5)",
    "text": "sys.exit('a sentence \u00e9')",
    "bytes": "sys.exit(b'bytes')",
    "tuple": "sys.exit((1, 2))",
    "object": "sys.exit(type('Odd', (), {'__str__': lambda self: 'odd'})())",
    "no text": "sys.exit(type('Odd', (), {'__str__': lambda self: 1 / 0})())",
    "SystemExit": "raise SystemExit",
    "subclass": "raise type('Exit', (SystemExit,), {})(3)",
    "quit": "quit(4)",
    "os._exit": "print('lost'); os._exit(5)",
    "error": "def f():\n    1 / 0\nf()",
    "chained": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('x') from error"
    ),
    "in handling": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['key']",
    "group": "raise ExceptionGroup('several', [ValueError(1), OSError(2, 'two')])",
    "note": "e = ValueError(1)\ne.add_note('a note')\nraise e",
    "in a library": "import json\njson.loads('{')",
    "recursion": "def f(): f()\nf()",
    "syntax error": "def f(:\n    pass",
    "indentation": "if True:\npass",
    "not UTF-8": "print('\udce9')",
    "NUL": "print('\0')",
    "late syntax error": "print(1)\nreturn 2",
    "syntax error in exec": "exec('a b')",
    "keyboard": "raise KeyboardInterrupt",
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGPIPE": "os.kill(os.getpid(), signal.SIGPIPE)",
    "excepthook": (
        "sys.excepthook = lambda *a: print('hook', a[0], a[2].tb_lineno, a[2].tb_next)\n1 / 0"
    ),
    "excepthook fails": "def hook(*a): {}['x']\nsys.excepthook = hook\n1 / 0",
    "print_exc": (
        "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()"
    ),
    "stdout closed": "print(1)\nsys.stdout.flush()\nos.close(1)\nprint(2)",
    "stdout full": "sys.stdout = open('/dev/full', 'w')\nprint(2)",
    "warning": "import warnings\nwarnings.warn('careful')\nwarnings.warn('deep', stacklevel=2)",
    "syntax warning": "print(1 is 1)",
    "atexit": "import atexit\n[atexit.register(print, n) for n in range(3)]\nprint('end')",
    "atexit fails": "import atexit\natexit.register(lambda: 1 / 0)\nprint('end')",
    "atexit exits": "import atexit\natexit.register(sys.exit, 7)",
    "atexit sees": "import atexit\natexit.register(lambda: print(sorted(globals())))",
    "thread": (
        "import threading\nmain = threading.main_thread()\n"
        "def late():\n    main.join()\n    print('late', threading.current_thread().name)\n"
        "threading.Thread(target=late).start()\nprint('main ends', main.name, main.is_alive())"
    ),
    "daemon thread": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=[999], daemon=True).start()"
    ),
    "thread fails": (
        "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()"
    ),
    "child": "if os.fork() == 0:\n    sys.exit(3)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))",
    "source": "import inspect\ndef f(): pass\nprint(inspect.getsource(f), inspect.getfile(f))",
    "main": "import __main__\nprint(__main__.sys is sys, __main__ is sys.modules['__main__'])",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))",
    "unittest": (
        "import runpy\nprint(sorted(runpy.run_path(__file__)) if __name__ == '__main__' else 0)"
    ),
    "faulthandler": "import faulthandler\nfaulthandler.enable()\nprint(faulthandler.is_enabled())",
    "destructor": "class A:\n    def __del__(self): print('gone')\na = A()",
    "open file": "kept = open(1, 'w', closefd=False)\nkept.write('late')",
    "open file in a module": "import module\nmodule.it = open(1, 'w', closefd=False)\n"
    "module.it.write('late')",
    "destructor in a module": "import module\nclass A:\n    def __del__(self): print('gone')\n"
    "module.it = [A()]",
    "finalizer": "import module, weakref\nclass A: pass\nmodule.it = a = A()\n"
    "weakref.finalize(a, print, 'gone')",
    "stdout replaced": "import io\nsys.stdout = io.StringIO()\nprint('lost')",
    "stdout gone": "sys.stdout = None\nprint('lost')",
    "exit handlers early": "import atexit\natexit._run_exitfuncs()\nprint('on')",
    "exit in a child": "pid = os.fork()\nif pid == 0:\n    sys.exit('child')\n"
    "print(os.waitpid(pid, 0)[1])\nsys.exit(2)",
    "generator": "def f():\n    try:\n        yield\n    finally:\n        print('gone')\n"
    "g = f()\nnext(g)",
    "logging": "import logging\nlogging.basicConfig(level=logging.INFO)\nlogging.info('hello')",
    "asyncio": "import asyncio\nprint(asyncio.run(asyncio.sleep(0, 'slept')))",
    "loop left open": "import asyncio\nloop = asyncio.new_event_loop()\nprint(loop.is_closed())",
    "executor": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor() as pool:\n    print(list(pool.map(abs, [-1])))",
    "weak reference": "import weakref\nclass A: pass\na = A()\n"
    "ref = weakref.ref(a, lambda _: print('gone'))",
    "finaliser without a dictionary": "class A:\n    __slots__ = ()\n"
    "    def __del__(self): print('gone')\na = A()",
    "warnings shown": (
        "import logging\nlogging.warning('careful')\nlogging.getLogger('a').error('b')"
    ),
}


@pytest.mark.parametrize("text", ENDS.values(), ids=ENDS)
async def test_it_ends_as_in_a_fresh_interpreter(both: Both, text: str) -> None:
    fresh, forked = await both(f"import os, signal, sys\n{text}\n", stdin=b"a line\n")
    assert same(forked) == same(fresh)


def same(ended: Ended) -> Ended:
    """What must not differ: an address may, and how much of the stack is left to a recursion."""
    stderr = re.sub(rb" at 0x\w+|repeated \d+ more", b"", ended.stderr.kept)
    return replace(ended, leftovers=0, stderr=Output(head=stderr))


@pytest.mark.parametrize(
    "read", ["sys.stdin.read()", "module.stdin.read()", "input()", "open(0).read()"]
)
async def test_a_module_that_bound_the_streams_when_it_was_imported_has_the_scripts(
    both: Both, read: str
) -> None:
    text = (
        f"import sys, module\nprint(repr({read}), file=module.stdout)\n"
        "print(2, file=module.stderr)\n"
    )
    fresh, forked = await both(text, stdin=b"a ticket\n")
    assert forked == fresh
    assert b"a ticket" in forked.stdout.kept
    assert forked.stderr.kept == b"2\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_multiprocessing_works(both: Both, method: str) -> None:
    text = f"""
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
def work(n):
    return n * n, os.path.basename(os.getcwd()) == here
here = os.path.basename(os.getcwd())
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    with context.Pool(2) as pool:
        print(pool.map(work, range(4)))
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        print(list(pool.map(work, range(4))))
"""
    fresh, forked = await both(text)
    assert same(forked) == same(fresh)
    assert forked.outcome is Outcome.OK


Tokens = Callable[[str], Coroutine[Any, Any, list[bytes]]]


@pytest.fixture
def tokens(local_runner: ProcessRunner, parents: Parents, scripts: Scripts) -> Tokens:
    """What an expression is in three runs."""

    async def tokens(expression: str) -> list[bytes]:
        (scripts.directory / "module.py").write_text(MODULE)
        script = scripts.write(f"#!{sys.executable}\nimport module\nprint({expression})\n")
        run = scripts.run(
            script, warm=Warm(command=(sys.executable,), script=script, preload=("module",))
        )
        assert await parents.prepare(run) == ""
        ended = [await local_runner.run(run, stop=asyncio.Event()) for _ in range(3)]
        assert {end.outcome for end in ended} == {Outcome.OK}, ended
        return [end.stdout.kept for end in ended]

    return tokens


async def test_it_really_is_a_fork(tokens: Tokens) -> None:
    assert len(set(await tokens("module.token"))) == 1


@pytest.mark.parametrize(
    "chance",
    [
        "module.random.random()",
        "module.uuid.uuid4()",
        "module.uuid.uuid1()",
        "module.ssl.RAND_bytes(8)",
        "module.os.urandom(8)",
        "next(module.tempfile._get_candidate_names())",
        "bytes(module.multiprocessing.current_process().authkey)",
        "module.threading.get_native_id()",
    ],
)
async def test_no_two_runs_share_chance(tokens: Tokens, chance: str) -> None:
    assert len(set(await tokens(chance))) == 3


async def test_sigint_is_an_exception_and_sigterm_ends_it(both: Both) -> None:
    text = (
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    signal.pause()\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()\n"
    )
    fresh, forked = await both(text)
    assert forked == fresh
    assert (forked.signal, forked.stdout.kept) == (signal.SIGTERM, b"interrupted\n")
