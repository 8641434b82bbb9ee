"""The settings section `routes`: which scripts an event goes to."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from mediator.model.routing import Route
from mediator.model.strict import Strict
from mediator.settings.names import ScriptName

Patterns = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class Row(Strict):
    """One row of the routing table: patterns such as `Fire*`, and scripts."""

    event: Patterns = ()
    """Events (`SCW_EVENT`), one or a list; by default any."""
    workflow: str | None = None
    """Workflow, as the trigger's arguments in SecureChange name it; by default any."""
    step: str | None = None
    """Name of the step; by default any."""
    priority: str | None = None
    """Name of the priority; by default any."""
    subject: str | None = None
    """Subject of the ticket; by default any."""
    scripts: Annotated[tuple[ScriptName, ...], Field(min_length=1)]
    """Scripts that get the event, by exact file name."""

    @property
    def route(self) -> Route:
        """As the model has it."""
        return Route(**{name: getattr(self, name) for name in type(self).model_fields})
