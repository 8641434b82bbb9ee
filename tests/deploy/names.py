"""Which metrics there are, and which an expression asks for."""

from __future__ import annotations

import re
from functools import cache

from mediator.metrics import Metrics

_NAME = re.compile(r"\b(?:(?:mediator|process|python)_[a-z_]+|up)\b")
_SUFFIX = {"counter": ["_total"], "info": ["_info"], "histogram": ["_bucket", "_sum", "_count"]}


@cache
def known_metrics() -> frozenset[str]:
    """Every name that a mediator's page has samples of."""
    families = Metrics().registry.collect()
    return frozenset(
        f"{family.name}{suffix}" for family in families for suffix in _SUFFIX.get(family.type, [""])
    )


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression of PromQL asks for; recorded ones have colons, and are not."""
    bare = re.sub(r'"[^"]*"', '""', re.sub(r"\b[a-z]+:[a-z_:0-9]+", "", expression))
    return set(_NAME.findall(bare))
