"""Writes mediator.json, the dashboard that Grafana imports, from mediator.yaml beside it.

`python deploy/grafana/generate.py` rewrites it; a test says when that is due. In mediator.yaml a
panel is a title, a sentence, queries and little more; what every panel needs besides is here. The
form is Grafana's (https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCE, TARGET = HERE / "mediator.yaml", HERE / "mediator.json"
SCHEMA = 39
"""Of Grafana 10.4 and 11; later ones migrate it when it is opened."""
_WIDTH = 24
"""Columns of Grafana's grid."""
_HEIGHTS = {"stat": 4}
_HEIGHT = 8
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def main() -> None:
    """Rewrite the dashboard."""
    TARGET.write_text(dashboard(yaml.safe_load(SOURCE.read_text(encoding="utf-8"))), "utf-8")


def dashboard(source: Mapping[str, Any]) -> str:
    """The dashboard as JSON text."""
    document = {
        "uid": source["uid"],
        "title": source["title"],
        "description": source["description"],
        "tags": ["mediator"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [],
        "annotations": {"list": [_annotation(**entry) for entry in source["annotations"]]},
        "templating": {"list": [_datasource(), *map(_variable, source["variables"])]},
        "panels": list(_placed(source["rows"])),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _annotation(*, name: str, query: str, color: str) -> Json:
    return {
        "name": name,
        "datasource": _DATASOURCE,
        "enable": True,
        "expr": query,
        "iconColor": color,
        "titleFormat": name,
        "step": "60s",
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "refresh": 1,
    }


def _variable(variable: Mapping[str, str]) -> Json:
    return {
        "name": variable["name"],
        "label": variable["label"],
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": variable["query"],
        "query": {"query": variable["query"], "refId": variable["name"]},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _placed(rows: Sequence[Mapping[str, Any]]) -> Iterator[Json]:
    """Rows and their panels, from left to right and from top to bottom."""
    numbers, y = count(1), 0
    for row in rows:
        yield _row(next(numbers), row["title"], y)
        x, height, y = 0, 0, y + 1
        for panel in row["panels"]:
            tall = _HEIGHTS.get(panel["type"], _HEIGHT)
            if x + panel["width"] > _WIDTH:
                x, y, height = 0, y + height, 0
            place = {"x": x, "y": y, "w": panel["width"], "h": tall}
            yield _panel(next(numbers), panel, place)
            x, height = x + panel["width"], max(height, tall)
        y += height


def _row(number: int, title: str, y: int) -> Json:
    place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": place,
        "panels": [],
    }


def _panel(number: int, panel: Mapping[str, Any], place: Mapping[str, int]) -> Json:
    kind = panel["type"]
    queries = panel["queries"].items()
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "description": panel["description"],
        "datasource": _DATASOURCE,
        "gridPos": dict(place),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[kind],
        "targets": [_target(ref, kind, *query) for ref, query in zip(ascii_uppercase, queries)],  # noqa: B905 - there are more letters
        **_joined(panel),
    }


def _target(ref: str, kind: str, legend: str, query: str) -> Json:
    once = kind in {"stat", "table"}
    return {
        "refId": ref,
        "datasource": _DATASOURCE,
        "expr": query.strip(),
        "legendFormat": legend,
        "format": {"table": "table", "heatmap": "heatmap"}.get(kind, "time_series"),
        "instant": once,
        "range": not once,
        "exemplar": kind == "timeseries" and "_bucket" in query,
    }


def _defaults(panel: Mapping[str, Any]) -> Json:
    found: Json = {"unit": panel["unit"], "mappings": [], "min": panel.get("min", 0)}
    colors = panel.get("colors")
    if colors is not None:  # from which value on it has which colour
        steps = [{"color": color, "value": value} for value, color in colors.items()]
        steps[0]["value"] = None
        found["thresholds"] = {"mode": "absolute", "steps": steps}
        found["color"] = {"mode": "thresholds"}
    if texts := panel.get("texts"):
        options = {
            str(value): {"text": text, "index": n} for n, (value, text) in enumerate(texts.items())
        }
        found["mappings"] = [{"type": "value", "options": options}]
    if panel["type"] == "timeseries":
        found["custom"] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
        if panel.get("stacked"):
            found["custom"]["stacking"] = {"mode": "normal", "group": "A"}
    return found


def _joined(panel: Mapping[str, Any]) -> Json:
    """For a table: one line for each script, one column for each query."""
    if panel["type"] != "table":
        return {}
    names = {f"Value #{ref}": name for ref, name in zip(ascii_uppercase, panel["queries"])}  # noqa: B905 - there are more letters
    organize = {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": {}}
    return {
        "transformations": [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    }


_LEGEND = {
    "displayMode": "table",
    "placement": "right",
    "calcs": ["lastNotNull", "max"],
    "showLegend": True,
}
_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Mapping[str, Json] = {
    "stat": {
        "reduceOptions": _LAST,
        "colorMode": "background",
        "graphMode": "none",
        "textMode": "auto",
    },
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
    "state-timeline": {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single"},
    },
}


if __name__ == "__main__":
    main()
