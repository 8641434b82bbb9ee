"""The base of everything that a person states: policies and settings."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.fields import FieldInfo


class Strict(BaseModel):
    """Stated by a person: an unknown key is an error, and so is `yes` where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` as true, and pydantic reads true as 1: port 1, one attempt."""
        if isinstance(value, bool) and not _takes_bool(cls.model_fields[str(info.field_name)]):
            shown = str(value).lower()
            raise ValueError(f"{shown} is no number or text; if text is meant, write it in quotes")
        return value


def _takes_bool(field: FieldInfo) -> bool:
    return bool in {field.annotation, *get_args(field.annotation)}
