"""What deliveries are told, in one language."""

from collections.abc import Iterable

from app.core.remarks import Remark


def english(told: Iterable[Remark]) -> list[str]:
    """The English sentences; a test of its own reads the Vietnamese ones."""
    return [each.en for each in told]
