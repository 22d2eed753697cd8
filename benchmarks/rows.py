"""What a measurement is: one line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Ours, the reference, their ratio, what was promised, and whether it is kept."""

    what: str
    ours: str
    reference: str
    ratio: str
    promise: str
    kept: bool
