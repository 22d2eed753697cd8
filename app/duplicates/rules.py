"""How alike two reports are, when a problem is back, and what makes a closure suspicious. Pure."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from app.core.text import fold
from app.reports.rules import METRES_PER_DEGREE

# --- words ---------------------------------------------------------------------------------------------------------
# The folded form, further reduced to what two people who type differently have in common. Never shown.

_WORD = re.compile(r"[a-z]+|[0-9]+")
# Telex keys that no input method took away. No Vietnamese syllable holds f, j, w, ends in r, s or x, or doubles a
# letter, so that taking them out leaves what was typed with diacritics as it is.
_TONE_KEY = re.compile(r"(?<=[aeiouy])[sfrxj](?=(?:c|ch|m|n|ng|nh|p|t)?$)|(?<=[cghmnpt])[sfrxj]$")
_DOUBLED = (("dd", "d"), ("aa", "a"), ("ee", "e"), ("oo", "o"))
# Short forms of phones, folded.
TEENCODE: Mapping[str, str] = {
    "k": "khong", "ko": "khong", "kh": "khong", "hok": "khong", "kg": "khong", "dc": "duoc",
    "dk": "duoc", "j": "gi", "ji": "gi", "z": "vay", "v": "vay", "wa": "qua", "ng": "nguoi",
    "nguoii": "nguoi", "mn": "moi nguoi", "mng": "moi nguoi", "m": "minh", "bn": "bao nhieu", "bit": "biet",
    "vs": "voi", "cx": "cung", "cg": "cung", "trc": "truoc", "ns": "noi", "nc": "nuoc", "dg": "duong",
    "h": "gio", "ntn": "the nao", "xl": "xu ly", "tg": "thoi gian", "nh": "nhieu", "nhiu": "nhieu", "rui": "roi",
    "r": "roi", "bh": "bay gio", "hn": "hom nay", "hqua": "hom qua", "lm": "lam", "lun": "luon", "e": "em",
    "ae": "anh em", "xm": "xe may", "oto": "o to", "gt": "giao thong", "qlo": "quoc lo", "ql": "quoc lo",
    "tl": "tinh lo", "dt": "duong tinh", "p": "phuong", "tdp": "to dan pho", "sn": "so nha", "th": "tieu hoc",
    "ubnd": "uy ban",
}  # fmt: skip
# What every report says, whatever it is about.
COMMON = frozenset({
    "a", "ai", "anh", "bao", "bay", "ben", "bi", "bo", "boi", "ca", "cac", "cach", "cai", "can", "cang", "chi",
    "chieu", "cho", "chu", "chua", "chung", "co", "con", "cu", "cua", "cung", "da", "dan", "dang", "day", "de", "den",
    "di", "do", "duoc", "duong", "em", "gan", "gi", "gio", "giup", "ha", "hay", "hiem", "hien", "hom", "khi", "khong",
    "kinh", "la", "lai", "lam", "lau", "len", "luc", "luon", "ly", "mai", "may", "minh", "moi", "mot", "nao", "nay",
    "nen", "ngay", "nguoi", "nguy", "nha", "nhanh", "nhe", "nhieu", "nhu", "nhung", "o", "ong", "phan", "phia", "pho",
    "phuong", "qua", "ra", "rat", "roi", "sang", "sau", "se", "som", "song", "suot", "tai", "tam", "tao", "thang",
    "thay", "the", "theo", "thi", "thoi", "toan", "toi", "tren", "trong", "truoc", "tu", "tuan", "tung", "uy", "va",
    "van", "vao", "vay", "ve", "vi", "viec", "voi", "xa", "xin", "xu", "y",
})  # fmt: skip


def words(text: str) -> tuple[str, ...]:
    """The words of a text, folded, without the residue of typing and with short forms written out, in their order."""
    found: list[str] = []
    for token in _WORD.findall(fold(text)):
        plain = token if token.isdigit() else TEENCODE.get(token) or _untyped(token)
        found.extend(TEENCODE.get(plain, plain).split())
    return tuple(found)


def _untyped(token: str) -> str:
    """A word without the Telex keys left in it: dduwowngf is duong."""
    plain = token.replace("w", "") or token
    for twice, once in _DOUBLED:
        plain = plain.replace(twice, once)
    return _TONE_KEY.sub("", plain)


def text_likeness(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1: shared words and shared runs of three letters, each as a Dice coefficient.

    The shorter text decides half: "mất nắp hố ga" is all there is in a long description of the same hole. House and
    post numbers that both name and that differ speak against it.
    """
    left, right = _features(one), _features(other)
    if not left.words or not right.words:
        return 0.0
    shared = len(left.words & right.words)
    dice = 2 * shared / (len(left.words) + len(right.words))
    contained = shared / min(len(left.words), len(right.words))
    runs = _dice(left.runs, right.runs)
    differ = left.numbers and right.numbers and not left.numbers & right.numbers
    return (dice + contained + runs) / 3 * (NUMBERS_DIFFER if differ else 1)


class _Features(NamedTuple):
    words: frozenset[str]
    runs: frozenset[str]
    numbers: frozenset[str]


# Who reports asks for what was reported around, again and again; 200 texts anew take 26 ms, known ones 1.
@lru_cache(maxsize=1024)
def _features(text: str) -> _Features:
    said = words(text)
    content = frozenset(word for word in said if word not in COMMON) or frozenset(said)
    return _Features(content, _runs(content), frozenset(word for word in content if word.isdigit()))


def _runs(said: Iterable[str]) -> frozenset[str]:
    padded = [f" {word} " for word in said]
    return frozenset(word[at : at + 3] for word in padded for at in range(len(word) - 2))


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one and other else 0.0


# --- photos --------------------------------------------------------------------------------------------------------

_MASK = 0xFFFF_FFFF_FFFF_FFFF
SAME_PHOTO_BITS = 6
UNLIKE_PHOTO_BITS = 18


def bits_apart(one: int, other: int) -> int:
    """In how many of 64 bits two difference hashes (dHash, signed as stored) differ."""
    return ((one ^ other) & _MASK).bit_count()


def nearest_photos(ours: Collection[int], theirs: Collection[int]) -> int | None:
    """The smallest difference between a photo of one and a photo of the other, in bits; None without two photos."""
    return min((bits_apart(one, other) for one in ours for other in theirs), default=None)


# --- likeness of two reports ---------------------------------------------------------------------------------------
# Every weight and bound of the ranking stands here. Set by hand on the labelled pairs of tests/duplicates, which are
# synthetic: docs/duplicates.md says how well they are told apart.

Part = Literal["place", "text", "kind", "time", "photo"]
WEIGHTS: Mapping[Part, float] = {"place": 0.30, "text": 0.40, "kind": 0.25, "time": 0.05}
# How much of what is missing to certainty two photos that are all but the same make up for.
PHOTO_SHARE = 0.75
NUMBERS_DIFFER = 0.4
SAME_GROUP = 0.3
HALF_NEAR_M = 70.0
HALF_AGE = timedelta(days=30)
NEAR_M = 250.0
THRESHOLD = 0.60
PROPOSED_MAX = 5
# From here on a part is named among the reasons.
SPEAKS = 0.3


@dataclass(frozen=True, slots=True)
class Said:
    """What of a report is compared. `category` None: not chosen yet. `hashes`: its photos' difference hashes."""

    at: datetime
    text: str
    category: str | None
    group: str | None
    hashes: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """How alike two reports are, 0 to 1, with what it rests on, each 0 to 1 as well.

    `metres` and `apart` are between them in place and time; `photo_bits` between their nearest photos.
    """

    score: float
    parts: Mapping[Part, float]
    metres: float
    apart: timedelta
    photo_bits: int | None

    @property
    def is_likely(self) -> bool:
        """Whether it is worth somebody's look."""
        return self.score >= THRESHOLD


def metres_apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres between two near points (WGS 84 degrees): on the plane, wrong by less than 1 % within a kilometre."""
    north = (one[0] - other[0]) * METRES_PER_DEGREE
    east = (one[1] - other[1]) * METRES_PER_DEGREE * math.cos(math.radians(one[0]))
    return math.hypot(north, east)


def around(lat: float, lon: float, metres: float) -> tuple[float, float, float, float]:
    """The box (west, south, east, north, in degrees) that holds everything at most so far away."""
    north = metres / METRES_PER_DEGREE
    east = north / math.cos(math.radians(lat))
    return lon - east, lat - north, lon + east, lat + north


def compare(one: Said, other: Said, metres: float) -> Match:
    """How alike two reports `metres` apart are.

    The weighted mean of what is known of both; photos that look the same close part of the gap to 1, others say
    nothing: one hole has many sides. Beyond `NEAR_M` nothing is alike.
    """
    apart = abs(one.at - other.at)
    parts: dict[Part, float] = {
        "place": 1 / (1 + (metres / HALF_NEAR_M) ** 2),
        "text": text_likeness(one.text, other.text),
        "time": 1 / (1 + apart / HALF_AGE),
    }
    if one.category is not None and other.category is not None:
        parts["kind"] = 1.0 if one.category == other.category else SAME_GROUP if one.group == other.group else 0.0
    score = sum(WEIGHTS[part] * value for part, value in parts.items()) / sum(WEIGHTS[part] for part in parts)
    bits = nearest_photos(one.hashes, other.hashes)
    if bits is not None:
        parts["photo"] = min(1.0, max(0.0, (UNLIKE_PHOTO_BITS - bits) / (UNLIKE_PHOTO_BITS - SAME_PHOTO_BITS)))
        score += (1 - score) * PHOTO_SHARE * parts["photo"]
    return Match(score if metres <= NEAR_M else 0.0, parts, metres, apart, bits)


def reasons(match: Match, lang: str) -> list[str]:
    """What speaks for a match in words, the strongest first; what does not speak for it is left out."""
    english, days = lang == "en", match.apart.days
    said: dict[Part, str] = {
        "place": f"{match.metres:.0f} m away" if english else f"Cách {match.metres:.0f} m",
        "text": (
            f"Words {match.parts['text']:.0%} alike" if english else f"Nội dung giống nhau {match.parts['text']:.0%}"
        ),
        "time": f"Sent {days} days apart" if english else f"Gửi cách nhau {days} ngày",
        "photo": "Photos look the same" if english else "Ảnh giống nhau",
    }
    if (kind := match.parts.get("kind")) is not None:
        same = kind == 1
        if english:
            said["kind"] = "Same category" if same else "Same group of categories"
        else:
            said["kind"] = "Cùng lĩnh vực" if same else "Cùng nhóm lĩnh vực"
    spoken = [part for part, value in match.parts.items() if value >= SPEAKS]
    return [said[part] for part in sorted(spoken, key=lambda part: -match.parts[part])]


# --- back again ----------------------------------------------------------------------------------------------------

RECURS_WITHIN = timedelta(days=90)
SPOT_M = 30.0


def recurs(metres: float, resolved_at: datetime, received_at: datetime) -> bool:
    """Whether a problem of the same category is back (tái phát): at the same spot, within 90 days of a resolution."""
    return metres <= SPOT_M and timedelta(0) <= received_at - resolved_at <= RECURS_WITHIN


# --- closures for show ---------------------------------------------------------------------------------------------

CLONED_NOTES = 5
Suspicion = Literal["photo_repeated", "photo_older", "note_cloned"]
WARNINGS: Mapping[Suspicion, tuple[str, str]] = {
    "photo_repeated": ("Ảnh sau xử lý gần như trùng ảnh lúc phản ánh.", "An after-photo equals a photo of the report."),
    "photo_older": ("Ảnh sau xử lý được chụp trước khi nhận phản ánh.", "An after-photo is older than the report."),
    "note_cloned": (
        "Nội dung kết quả lặp lại ở nhiều hồ sơ của cùng đơn vị.",
        "The note stands under many results of the same unit.",
    ),
}


@dataclass(frozen=True, slots=True)
class Photo:
    """What of a photo tells on a closure; each None where nobody knows."""

    hash: int | None
    taken_at: datetime | None = None


def suspicions(
    received_at: datetime, before: Iterable[Photo], after: Iterable[Photo], note: str, others: Iterable[str]
) -> list[Suspicion]:
    """What should make a lead look twice at a result; none of it proves anything, so none of it refuses.

    `others` are the notes under other results of the same unit; a note is cloned when it stands under `CLONED_NOTES`
    results, this one included, however it is typed.
    """
    after, known = list(after), [photo.hash for photo in before if photo.hash is not None]
    bits = nearest_photos([photo.hash for photo in after if photo.hash is not None], known)
    folded = words(note)
    found: list[Suspicion] = []
    if bits is not None and bits <= SAME_PHOTO_BITS:
        found.append("photo_repeated")
    if any(photo.taken_at is not None and photo.taken_at < received_at for photo in after):
        found.append("photo_older")
    if folded and 1 + sum(words(other) == folded for other in others) >= CLONED_NOTES:
        found.append("note_cloned")
    return found
