"""Writes the chart's README, its copies from deploy/, and the plain manifests in deploy/kubernetes.

`python helm/generate.py` rewrites all of them and needs the command `helm`, version 3 or 4; a test
says when that is due. Helm reads no file outside the chart, so alerts, dashboard and roles are
copied into it. The plain manifests are the chart's, without what only Helm needs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
CHART = REPOSITORY / "helm" / "mediator"
MANIFESTS = REPOSITORY / "deploy" / "kubernetes"
COPIES = {
    CHART / "files" / "rules.yaml": REPOSITORY / "deploy" / "prometheus" / "mediator.rules.yaml",
    CHART / "files" / "dashboard.json": REPOSITORY / "deploy" / "grafana" / "mediator.json",
    CHART / "files" / "jobs-role.yaml": REPOSITORY / "deploy" / "kubernetes-runner" / "role.yaml",
    CHART / "files" / "shim-role.yaml": REPOSITORY / "deploy" / "kubernetes-shim" / "role.yaml",
}
"""The copy, and what it is a copy of."""
_BEGIN, _END = "<!-- values: begin -->\n", "<!-- values: end -->"
_HEAD = "| value | default | meaning |\n| --- | --- | --- |\n"
_ONLY_HELM = re.compile(
    r"^# Source: .*\n"
    r"|^  namespace: default\n"  # whoever applies it says where
    r"|^ *(?:helm\.sh/(?:chart|resource-policy)|app\.kubernetes\.io/managed-by): .*\n"
    r"|^ *checksum/config: .*\n",  # it would say nothing of settings that somebody changes
    re.MULTILINE,
)
_EMPTY_ANNOTATIONS = re.compile(r"^  annotations:\n(?! {4})", re.MULTILINE)


def main() -> None:
    """Rewrite everything."""
    helm = shutil.which("helm")
    if helm is None:
        sys.exit("generate.py: there is no helm; tests/helm/get-helm DIRECTORY fetches one")
    for path in MANIFESTS.glob("*/*.yaml"):
        path.unlink()
    for path, text in {**documents(), **manifests(helm)}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def documents() -> dict[Path, str]:
    """The README and the copies, as they should be."""
    readme = CHART / "README.md"
    copies = {copy: source.read_text(encoding="utf-8") for copy, source in COPIES.items()}
    return {readme: _filled(readme.read_text(encoding="utf-8")), **copies}


def _filled(text: str) -> str:
    before, _, rest = text.partition(_BEGIN)
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    return f"{before}{_BEGIN}\n{values_tables(values)}\n{_END}{rest.partition(_END)[2]}"


# ------------------------------------------------------------------------------------- the values


def values_tables(text: str) -> str:
    """A heading and a table for each `## Section` of values.yaml."""
    lines = text.splitlines()
    tables: dict[str, str] = {}
    for line, key, default, sentence in values_rows(text):
        row = f"| `{key}` | {default} | {sentence} |\n"
        section = _section(lines, line)
        tables[section] = tables.get(section, _HEAD) + row
    return "\n".join(f"### {section}\n\n{table}" for section, table in tables.items())


def values_rows(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Line, key, default and sentence of every value that `# --` describes.

    Raises ValueError for a value that nothing describes.
    """
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - values.yaml is a mapping
    yield from _rows(root, text.splitlines(), above="")


def _rows(
    node: yaml.MappingNode, lines: list[str], *, above: str
) -> Iterator[tuple[int, str, str, str]]:
    for name, value in node.value:
        key, line = f"{above}{name.value}", name.start_mark.line
        comment = lines[line - 1].strip()
        if comment.startswith("# -- "):
            yield line, key, _default(value), comment.removeprefix("# -- ").replace("|", "\\|")
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _rows(value, lines, above=f"{key}.")
        else:
            raise ValueError(f"values.yaml: {key} has no comment that begins with `# --`")


def _default(node: yaml.Node) -> str:
    value = yaml.safe_load(yaml.serialize(node))
    if value in ("", None, [], {}):
        return "-"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"  # `...` ends a scalar


def _section(lines: list[str], line: int) -> str:
    titles = (text for text in reversed(lines[:line]) if text.startswith("## "))
    return next(titles).removeprefix("## ")


# ---------------------------------------------------------------------------- the plain manifests


def manifests(helm: str) -> dict[Path, str]:
    """A directory for each `NAME-values.yaml` in deploy/kubernetes, with a file for each object."""
    found: dict[Path, str] = {}
    for values in sorted(MANIFESTS.glob("*-values.yaml")):
        directory = MANIFESTS / values.stem.removesuffix("-values")
        objects = dict(_objects(helm, values))
        objects["kustomization.yaml"] = _kustomization(values, list(objects))
        found |= {directory / name: text for name, text in objects.items()}
    return found


def _objects(helm: str, values: Path) -> Iterator[tuple[str, str]]:
    command = [helm, "template", "mediator", str(CHART), "--values", str(values), "--no-hooks"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    for document in re.split(r"^---\n", done.stdout, flags=re.MULTILINE):
        text = _EMPTY_ANNOTATIONS.sub("", _ONLY_HELM.sub("", document).strip() + "\n")
        if text.strip():
            yield f"{yaml.safe_load(text)['kind'].lower()}.yaml", text


def _kustomization(values: Path, files: list[str]) -> str:
    title = values.read_text(encoding="utf-8").partition("\n")[0]
    tree = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }
    note = "# Made by helm/generate.py out of the chart. Use it as a base and change it there."
    return f"{title}\n{note}\n{yaml.safe_dump(tree, sort_keys=False)}"


if __name__ == "__main__":
    main()
