"""How long it usually takes, from what was finished and from what is not yet. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

# Fewer finished cases than this are no ground for a number, and could tell of single ones.
LEAST = 10
DAY_H = 24
_CLOSE = 1e-9


@dataclass(slots=True)
class Durations:
    """How many cases took so many whole hours (begun ones count), and how many have waited so long so far."""

    finished: Counter[int] = field(default_factory=Counter)
    waiting: Counter[int] = field(default_factory=Counter)

    def add(self, hours: int, number: int, *, finished: bool) -> None:
        """Count `number` cases more."""
        (self.finished if finished else self.waiting)[max(hours, 0)] += number


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of `n` finished cases: within how many hours half of all were finished, and nine of ten.

    None: so many are not finished yet that nobody knows.
    """

    n: int
    median_h: int | None
    p90_h: int | None


def outlook(seen: Durations) -> Outlook | None:
    """What may be said; None where too few cases are finished to say anything."""
    n = seen.finished.total()
    if n < LEAST:
        return None
    return Outlook(n, hours_until(seen.finished, seen.waiting, 50), hours_until(seen.finished, seen.waiting, 90))


def hours_until(finished: Mapping[int, int], waiting: Mapping[int, int], percent: int) -> int | None:
    """Hours within which `percent` of all cases are finished, those that still wait included; None: never seen yet.

    The quantile of Kaplan and Meier (1958): a case that waits says "longer than this" and no more, so neither leaving
    it out (only quick ones are finished by now) nor taking its age for a duration flatters. With none waiting it is the
    nearest-rank percentile.
    """
    at_risk = sum(finished.values()) + sum(waiting.values())
    left = 1.0
    for hours in sorted({*finished, *waiting}):
        done = finished.get(hours, 0)
        left *= 1 - done / at_risk
        if done and left <= 1 - percent / 100 + _CLOSE:
            return hours
        at_risk -= done + waiting.get(hours, 0)
    return None


def told(hours: int, *, english: bool) -> str:
    """A duration as people say it: hours below a day, else begun days."""
    number, unit, word = (hours, "giờ", "hour") if hours < DAY_H else (-(-hours // DAY_H), "ngày", "day")
    number = max(number, 1)
    return f"{number} {word}{'' if number == 1 else 's'}" if english else f"{number} {unit}"


def sentence(found: Outlook | None, what: str, *, english: bool) -> str:
    """The forecast in words; `what` names the kind of report and the place."""
    if found is None:
        return (
            "Too little history to say how long this usually takes."
            if english
            else "Chưa đủ số liệu để cho biết thường mất bao lâu."
        )
    if found.median_h is None:
        return (
            f"Less than half of the reports of the last 12 months are finished (n = {found.n}, {what})."
            if english
            else f"Chưa được một nửa số phản ánh trong 12 tháng qua xử lý xong (n = {found.n}, {what})."
        )
    usual = told(found.median_h, english=english)
    slow = told(found.p90_h, english=english) if found.p90_h is not None else None
    if english:
        return f"Usually {usual}{f', nine of ten within {slow}' if slow else ''} (n = {found.n}, {what})."
    return f"Thường {usual}{f', chín trên mười trường hợp trong {slow}' if slow else ''} (n = {found.n}, {what})."
