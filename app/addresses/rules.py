"""Reading addresses as people write them, saying where a point is, and when to leave a geocoder alone. Pure."""

import re
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from app.core.text import clean, fold

K = TypeVar("K", bound=Hashable)
Certainty = Literal["certain", "likely", "possible"]
Level = Literal["commune", "district", "province", "elsewhere"]

# What an address means ----------------------------------------------------------------------------------------------

# Words and abbreviations before a name: what they announce and, of communes, the kind. A street or a hamlet may bear
# the name of a commune and lie in another one.
_ANNOUNCED: dict[str, tuple[Level, str]] = {
    "phường": ("commune", "phuong"),
    "p": ("commune", "phuong"),
    "xã": ("commune", "xa"),
    "x": ("commune", "xa"),
    "thị trấn": ("commune", "thi_tran"),
    "tt": ("commune", "thi_tran"),
    **dict.fromkeys(("huyện", "h", "thành phố", "tp", "thị xã", "tx", "quận", "q"), ("district", "")),
    **dict.fromkeys(("tỉnh", "t"), ("province", "")),
    **dict.fromkeys(
        ("đường", "phố", "ngõ", "ngách", "hẻm", "xóm", "thôn", "bản", "làng", "khu", "tổ dân phố", "tdp"),
        ("elsewhere", ""),
    ),
}
_PREFIXES = {tuple(spelt.split()): told for word, told in _ANNOUNCED.items() for spelt in (word, fold(word))}
_LONGEST_PREFIX = max(map(len, _PREFIXES))
_LONGEST_NAME = 6
_TOKEN = re.compile(r"[^\W_]+|[,;:\n/()\-]")
# An offer that far below the best one is noise.
_MARGIN = 4

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Named(Generic[K]):
    """A name, without its kind, that a commune bears or bore, and what it lies or lay in.

    `heirs` are today's communes that it is or became. `was` says the former unit in full; None for those of today.
    """

    name: str
    kind: str
    districts: frozenset[str]
    provinces: frozenset[str]
    heirs: tuple[K, ...]
    was: str | None = None


@dataclass(frozen=True, slots=True)
class Offer(Generic[K]):
    """A commune of today that an address may mean. `was`: the former unit it was found by; `part`: that was split."""

    commune: K
    certainty: Certainty
    was: str | None = None
    part: bool = False


class _Seen(NamedTuple):
    """A known name in the text, as it is spelt there and announced."""

    start: int
    words: Words
    level: Level | None
    kind: str
    alone: bool


class _Reading(NamedTuple, Generic[K]):
    """A commune's name taken for what a place of the text means."""

    score: int
    exact: bool
    seen: _Seen
    named: Named[K]


class Gazetteer(Generic[K]):
    """All names of communes, and of districts and provinces above them; immutable."""

    def __init__(self, names: Iterable[Named[K]]) -> None:
        self._named: dict[Words, list[Named[K]]] = defaultdict(list)
        self._below: dict[Words, set[K]] = defaultdict(set)
        for named in names:
            self._named[_folded(named.name)].append(named)
            for above in named.districts | named.provinces:
                self._below[_folded(above)].update(named.heirs)

    def search(self, text: str) -> list[Offer[K]]:
        """Today's communes that the text may mean, the likeliest first.

        certain: the only one, spelt with its diacritics. likely: ahead of the others, or the only one without
        diacritics. possible: as good as others, or a part of a split one. Nothing is chosen by a folded name alone.
        """
        seen = self._seen(_TOKEN.findall(clean(text).lower()))
        readings = sorted(self._readings(seen), key=lambda each: (-each.score, each.seen.start))
        if not readings:
            return self._of_a_district(seen)
        best = readings[0]
        context = {_folded(name) for name in best.named.districts | best.named.provinces}
        kept = [
            each
            for each in readings
            if each.score >= best.score - _MARGIN
            and (each.seen.start == best.seen.start or _folded_words(each.seen) not in context)
        ]
        return _offers(kept)

    def _seen(self, tokens: Sequence[str]) -> list[_Seen]:
        """The known names in the text; none that stands inside a longer one."""
        folded = [fold(token) for token in tokens]
        spans = [
            (start, end)
            for start in range(len(folded))
            for end in range(start + 1, min(start + _LONGEST_NAME, len(folded)) + 1)
            if tuple(folded[start:end]) in self._named or tuple(folded[start:end]) in self._below
        ]
        whole = [
            (start, end)
            for start, end in spans
            if not any(a <= start and end <= b and (a, b) != (start, end) for a, b in spans)
        ]
        taken = {place for start, end in whole for place in range(start, end)}
        return [_announced(tokens, start, end, taken) for start, end in whole]

    def _readings(self, seen: Sequence[_Seen]) -> Iterator[_Reading[K]]:
        above = [each for each in seen if each.level in (None, "district", "province")]
        for each in seen:
            if each.level in (None, "commune"):
                for named in self._named.get(_folded_words(each), ()):
                    exact = _toneless(each.words) == _toneless(named.name.lower().split())
                    yield _Reading(_score(named, each, above, exact=exact), exact, each, named)

    def _of_a_district(self, seen: Sequence[_Seen]) -> list[Offer[K]]:
        """Where nothing smaller is named: today's communes in the smallest of the districts and provinces named."""
        below = [heirs for each in seen if each.level != "elsewhere" and (heirs := self._below[_folded_words(each)])]
        return [Offer(heir, "possible") for heir in sorted(min(below, key=len, default=()), key=str)]


def _announced(tokens: Sequence[str], start: int, end: int, taken: set[int]) -> _Seen:
    """A name with the words before it that say what it is, unless they belong to another name."""
    level, kind, first = None, "", start
    for length in range(min(_LONGEST_PREFIX, start), 0, -1):
        told = _PREFIXES.get(tuple(tokens[start - length : start]))
        if told is not None and not taken & set(range(start - length, start)):
            (level, kind), first = told, start - length
            break
    before, after = tokens[first - 1 : first], tokens[end : end + 1]
    alone = all(not token or not token[0].isalnum() for token in (*before, *after))
    return _Seen(start, tuple(tokens[start:end]), level, kind, alone)


def _score(named: Named[K], seen: _Seen, above: Sequence[_Seen], *, exact: bool) -> int:
    """How well a name fits; only the order counts, and a distance of more than the margin."""
    score = 3 if exact else 2 if fold(" ".join(seen.words)) == " ".join(seen.words) else 0
    score += seen.alone
    if seen.kind:
        score += 2 if seen.kind == named.kind else -1
    after = [place for place in above if place.start > seen.start]
    of_before = any(place.level == "district" for place in after)  # there are no districts any more
    score += of_before == (named.was is not None)
    return score + sum(_fits(named, place) for place in after)


def _fits(named: Named[K], place: _Seen) -> int:
    """A district or province named after it: the right one speaks for it, one announced and wrong against it."""
    words = _folded_words(place)
    if place.level != "province" and any(_folded(name) == words for name in named.districts):
        return 3
    if place.level != "district" and any(_folded(name) == words for name in named.provinces):
        return 1
    return 0 if place.level is None else -3


def _offers(readings: Sequence[_Reading[K]]) -> list[Offer[K]]:
    """One offer for each commune of today, by its best reading."""
    best: dict[K, _Reading[K]] = {}
    for reading in readings:
        for heir in reading.named.heirs:
            best.setdefault(heir, reading)
    top = max(reading.score for reading in readings)
    first = [heir for heir, reading in best.items() if reading.score == top]
    offers = []
    for heir, reading in best.items():
        certainty: Certainty = "possible"
        if first == [heir]:
            certainty = "certain" if len(best) == 1 and reading.exact else "likely"
        offers.append(Offer(heir, certainty, reading.named.was, part=len(reading.named.heirs) > 1))
    return offers


def _folded(name: str) -> Words:
    return tuple(fold(name).split())


def _folded_words(seen: _Seen) -> Words:
    return tuple(fold(word) for word in seen.words)


# The tone may stand on either vowel (hòa, hoà): it counts for the syllable.
_TONES = dict.fromkeys(map(ord, "\u0300\u0301\u0303\u0309\u0323"))


def _toneless(words: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Each syllable as its letters and its tone."""
    parts = [unicodedata.normalize("NFD", word) for word in words]
    return tuple(
        (unicodedata.normalize("NFC", part.translate(_TONES)), "".join(char for char in part if ord(char) in _TONES))
        for part in parts
    )


# Where a point is, in words -------------------------------------------------------------------------------------------

ON_M = 15.0
ROAD_WITHIN_M = 100.0
PLACE_WITHIN_M = 1000.0


@dataclass(frozen=True, slots=True)
class Spot:
    """Something with a name near a point."""

    name: str
    distance_m: float


def worded(street: str | None, road: Spot | None, place: Spot | None, units: Sequence[str], *, english: bool) -> str:
    """An address from the small to the large; what is not right at the point is only "near"."""
    near = "near" if english else "gần"
    parts = [street] if street else []
    if road is not None and not street:
        parts.append(road.name if road.distance_m <= ON_M else f"{near} {road.name}")
    if place is not None:
        parts.append(f"{near} {place.name}")
    return ", ".join([*parts, *units])


# A geocoder that may fail ---------------------------------------------------------------------------------------------

FAILURES = 3
REST_S = 30.0


class Breaker:
    """Steps aside after three failures in a row; half a minute later lets one call through to see."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def allows(self, now: float) -> bool:
        """Whether a call may be made at `now` (seconds of a monotonic clock); its end must be told."""
        with self._lock:
            if self._failures < FAILURES:
                return True
            if now < self._until:
                return False
            self._until = now + REST_S
            return True

    def ended(self, now: float, *, well: bool) -> None:
        """A call ended."""
        with self._lock:
            self._failures = 0 if well else self._failures + 1
            self._until = now + REST_S
