"""What the people of the demo write, and the ways in which people type Vietnamese on a phone."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

import yaml
from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("texts.yaml")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Names(_Part):
    """What fills {duong} and {moc}."""

    streets: list[str]
    landmarks: list[str]


class Places(_Part):
    """Names for wards and for communes."""

    urban: Names
    rural: Names

    def of(self, *, urban: bool) -> Names:
        """The names that fit a ward, or a commune."""
        return self.urban if urban else self.rural


class People(_Part):
    """Family names, and middle with given names that go together."""

    family: list[str]
    given: list[str]


class Fill(_Part):
    """What fills {ngay} and {gio}."""

    ngay: list[str]
    gio: list[str]


class Elsewhere(_Part):
    """Who else may be responsible, and how the first unit says so."""

    unit: str
    reason: str


class Texts(_Part):
    """texts.yaml."""

    weights: dict[str, float]
    places: Places
    names: People
    fill: Fill
    reports: dict[str, list[str]]
    resolved: dict[str, list[str]]
    answers: dict[str, list[str]]
    messages: list[str]
    information: list[str]
    withdrawn: list[str]
    reopened: list[str]
    ratings: dict[str, list[str]]
    rejected: dict[str, str]
    elsewhere: dict[str, Elsewhere]
    assigned: list[str]
    corrected: dict[str, list[str]]
    hidden: list[str]
    unhidden: list[str]


@lru_cache
def texts() -> Texts:
    """Everything that is said, read once."""
    return Texts.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def filled(template: str, rng: Random, *, urban: bool) -> str:
    """`template` with its slots filled for a ward or a commune, beginning with a capital."""
    names, fill = texts().places.of(urban=urban), texts().fill
    said = template.format(
        duong=rng.choice(names.streets),
        moc=rng.choice(names.landmarks),
        so=rng.randint(2, 250),
        ngay=rng.choice(fill.ngay),
        gio=rng.choice(fill.gio),
    )
    return said[:1].upper() + said[1:]


# --- how it is typed -----------------------------------------------------------------------------------------------


def without_marks(text: str, _rng: Random) -> str:
    """Without diacritics: "hat karaoke ca ngay lan dem"."""
    decomposed = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(char for char in decomposed if not unicodedata.combining(char)).lower()


_SHORT: Mapping[str, str] = {
    "không": "ko",
    "được": "dc",
    "rồi": "r",
    "gì": "j",
    "với": "vs",
    "người": "ng",
    "nhiều": "nhìu",
    "biết": "bít",
    "đường": "đg",
    "trước": "trc",
    "khoảng": "khoảg",
    "quá": "wá",
}


def shortened(text: str, _rng: Random) -> str:
    """Teencode: "ko", "dc", "ng"."""
    return re.sub(r"\w+", lambda word: _SHORT.get(word[0], word[0]), text).lower()


_TONES = {"\u0300": "f", "\u0301": "s", "\u0303": "x", "\u0309": "r", "\u0323": "j"}
_SHAPES = {"\u0306": "w", "\u031b": "w"}
_CIRCUMFLEX = "\u0302"


def as_keyed(word: str) -> str:
    """The keys of a word in Telex: "đường" is typed "dduwowngf"."""
    keys, tone = "", ""
    for char in unicodedata.normalize("NFD", word.replace("đ", "dd").replace("Đ", "DD")):
        if char in _TONES:
            tone = _TONES[char]
        else:
            keys += keys[-1:] if char == _CIRCUMFLEX else _SHAPES.get(char, char)
    return keys + tone


def with_residue(text: str, rng: Random) -> str:
    """One or two words left as keyed, as when the keyboard did not convert them."""
    words = text.split(" ")
    marked = [at for at, word in enumerate(words) if word.isalpha() and as_keyed(word) != word]
    for at in rng.sample(marked, min(2, len(marked))):
        words[at] = as_keyed(words[at])
    return " ".join(words)


_OLD_TONES = dict(zip("óa òa ỏa õa ọa óe òe ỏe õe ọe úy ùy ủy ũy ụy".split(), "oá oà oả oã oạ oé oè oẻ oẽ oẹ uý uỳ uỷ uỹ uỵ".split(), strict=True))  # fmt: skip  # noqa: E501, SIM905


def new_tones(text: str, _rng: Random) -> str:
    """The other position of the tone: "hoà" for "hòa"."""
    return re.sub(rf"({'|'.join(_OLD_TONES)})\b", lambda found: _OLD_TONES[found[0]], text)


def decomposed(text: str, _rng: Random) -> str:
    """NFD, as some keyboards send."""
    return unicodedata.normalize("NFD", text)


def as_written(text: str, _rng: Random) -> str:
    """With all its marks."""
    return text


STYLES: Sequence[tuple[Callable[[str, Random], str], int]] = (
    (as_written, 66),
    (without_marks, 13),
    (shortened, 9),
    (with_residue, 5),
    (new_tones, 5),
    (decomposed, 2),
)


def typed(text: str, rng: Random) -> str:
    """`text` as some person would type it."""
    styles, weights = zip(*STYLES, strict=True)
    style: Callable[[str, Random], str] = rng.choices(styles, weights)[0]
    return style(text, rng)
