"""Sentences about what somebody delivered, for the administrator who reads them: Vietnamese first, English beside."""

from collections.abc import Iterable
from typing import NamedTuple


class Remark(NamedTuple):
    """One thing that was found, or a place where something was found, in both languages."""

    vi: str
    en: str

    def says(self, vi: str, en: str) -> "Remark":
        """This place, and what is said about it."""
        return Remark(f"{self.vi}: {vi}", f"{self.en}: {en}")

    def of(self, vi: str, en: str) -> "Remark":
        """This place, told more closely."""
        return Remark(f"{self.vi}, {vi}", f"{self.en}, {en}")

    def __str__(self) -> str:
        return f"{self.vi} / {self.en}"


def named(name: str) -> Remark:
    """A name, which is the same in every language: of a file, of a unit."""
    return Remark(name, name)


class DeliveryError(Exception):
    """A delivery that may not be used, with everything that was found wrong; nothing was changed."""

    def __init__(self, faults: Iterable[Remark]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(map(str, self.faults)))


def refusal(vi: str, en: str) -> DeliveryError:
    """A delivery refused for one reason."""
    return DeliveryError([Remark(vi, en)])
