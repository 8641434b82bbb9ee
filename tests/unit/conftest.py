"""For every unit test: a busy machine is no fault of what is tested."""

from __future__ import annotations

from hypothesis import settings

# Hypothesis measures each example by the wall clock, which a second test run on the same machine
# fails. What must be quick is measured by its own test.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
