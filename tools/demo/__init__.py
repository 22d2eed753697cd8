"""A province that lives: demo accounts, and half a year of invented reports. For development only."""

from random import Random


def dice(*parts: object) -> Random:
    """Chance that falls the same way in every run, of its own for each thing it is asked about."""
    return Random(":".join(map(str, parts)))  # noqa: S311 - nothing here is secret
