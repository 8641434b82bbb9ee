"""Types of values that several sections have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
ScriptName = Annotated[str, StringConstraints(pattern=r"^[^/\x00]+$", max_length=255)]
