"""Runners run one attempt of a script and report how it ended."""
