"""Says as JSON whether a Python file can be compiled, and which of its imports are not there.

Not imported: its text is given with `-c` to the interpreter of a script, which may be an old one.
It neither runs the file nor imports anything of it.
"""

import sys

FIRST = sys.path[:1] == [""]
if FIRST:
    del sys.path[0]  # where this happens to run; nothing is to be imported from there

import ast  # noqa: E402 - see above
import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import warnings  # noqa: E402

CHANGES = {"version_info", "platform", "TYPE_CHECKING"}
ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def words(node: ast.AST) -> "set[object]":
    """Names and attributes in an expression."""
    return {getattr(part, "id", getattr(part, "attr", None)) for part in ast.walk(node)}


def guarded(node: ast.AST) -> bool:
    """Whether an import in it may fail on purpose."""
    if isinstance(node, ast.If):
        return bool(words(node.test) & CHANGES)
    if isinstance(node, ast.Try):
        kinds = [handler.type for handler in node.handlers]
        return any(kind is None or words(kind) & ERRORS for kind in kinds)
    return False


def imports(node: ast.AST) -> "list[tuple[str, int]]":
    """Top-level modules that must be there, with their lines."""
    if isinstance(node, ast.Import):
        return [(name.name.partition(".")[0], node.lineno) for name in node.names]
    if isinstance(node, ast.ImportFrom):
        return [((node.module or "").partition(".")[0], node.lineno)] if not node.level else []
    if guarded(node):
        return []
    return [found for child in ast.iter_child_nodes(node) for found in imports(child)]


def is_missing(name: str) -> bool:
    """Whether nothing of that name can be found."""
    try:
        return name not in sys.modules and importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return False


def look(path: str) -> "dict[str, object]":
    """All that can be said of the file."""
    with open(path, "rb") as file:  # noqa: PTH123 - as few imports as possible
        source = file.read()
    try:
        compile(source, path, "exec", dont_inherit=True)
        tree = ast.parse(source)
    except SyntaxError as error:
        return {"syntax": [error.lineno, error.msg]}
    except ValueError as error:
        return {"syntax": [None, str(error)]}
    changes_path = any(
        isinstance(node, ast.Attribute) and node.attr == "path" and words(node) >= {"sys"}
        for node in ast.walk(tree)
    )
    if changes_path:  # where it looks is not known before it runs
        return {}
    if FIRST:
        sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120
    found: dict[str, int] = {}
    for name, line in imports(tree):
        found.setdefault(name, line)
    return {"missing": [[name, line] for name, line in found.items() if is_missing(name)]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(look(sys.argv[1])))  # noqa: T201 - the answer
