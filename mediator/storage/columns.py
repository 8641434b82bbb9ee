"""Column types that mean the same on every database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """A time as `Instant` keeps it."""
    return (time - _EPOCH) // _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """A time with zone UTC, kept as whole microseconds since 1970: it sorts and never shifts."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        del dialect
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        del dialect
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Sentence(TypeDecorator[str]):
    """Text for a person. What a database cannot keep (a NUL, half a character) is spelled out.

    A path of a script may hold such bytes, and no attempt may go unrecorded for it.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        del dialect
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class Json(TypeDecorator[Any]):
    """A document as ASCII JSON text.

    Text instead of a JSON type of the database, because arguments may hold bytes that are not
    UTF-8 (as lone surrogates), which those refuse.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """To the database."""
        del dialect
        return json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the database."""
        del dialect
        return json.loads(value)


class Word(TypeDecorator[StrEnum]):
    """A word from a closed set, kept as text so that a person can read the table."""

    impl = String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__(20)
        self.words = words

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        """To the database."""
        del dialect
        return None if value is None else value.value

    def process_result_value(self, value: Any, dialect: Dialect) -> StrEnum | None:
        """From the database."""
        del dialect
        return None if value is None else self.words(value)
