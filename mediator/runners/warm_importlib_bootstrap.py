"""The main program of a warm parent; of the scripts that are its forks it is the outermost frame.

All it does is in `warm_parent.py`. The interpreter itself reports the exception or the exit code
that its last line ends with, so that these are right for every kind of exception. The name of this
file has `warnings` pass over that frame, as over those of the import system.
"""

import sys

found = frozenset(sys.modules)
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]  # this directory
program = __file__.replace("warm_importlib_bootstrap", "warm_parent")
parent = type(sys)("mediator.runners.warm_parent")
parent.__file__ = program
with open(program, encoding="utf-8") as file:  # noqa: PTH123 -- pathlib would be imported
    exec(compile(file.read(), program, "exec"), parent.__dict__)  # noqa: S102 -- our own program

with parent.no_trace_of_us:
    exec(*parent.become_script(found))  # noqa: S102 -- running scripts is the point
