"""How the parts of the catalog say that a file cannot be run."""

from __future__ import annotations


class Unfit(Exception):
    """Why a file cannot be run, as a whole sentence that ends in a full stop."""


class BeingWritten(Unfit):
    """The file changed while it was read, or a program has it open for writing."""
