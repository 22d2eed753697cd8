"""Vietnamese text: kept as typed (NFC), searched and matched in a folded form that is never shown."""

import unicodedata

_D = str.maketrans({"đ": "d", "Đ": "D"})
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")


def clean(text: str) -> str:
    """`text` in NFC without surrounding blanks, empty where nothing of it can be seen.

    Refuses NUL and unpaired surrogates (ValueError).
    """
    if "\x00" in text:
        raise ValueError("the text holds a null byte")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("the text holds an unpaired surrogate")
    stripped = unicodedata.normalize("NFC", text).strip()
    return stripped if any(unicodedata.category(char) not in _UNSEEN for char in stripped) else ""


def unaccented(text: str) -> str:
    """`text` without diacritics; đ becomes d by its own rule because it does not decompose."""
    decomposed = unicodedata.normalize("NFD", text.translate(_D))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def fold(text: str) -> str:
    """Lower case without diacritics and superfluous blanks."""
    return " ".join(unaccented(text).lower().split())


_LETTERS = "aăâbcdđeêfghijklmnoôơpqrstuưvwxyz"
_TONES = {"\u0300": 1, "\u0309": 2, "\u0303": 3, "\u0301": 4, "\u0323": 5}


def sort_key(text: str) -> str:
    """A key that sorts bytewise in Vietnamese order: letters first (Đ after D, Ê after E), then tones."""
    letters: list[str] = []
    tones: list[str] = []
    for char in unicodedata.normalize("NFC", text).lower():
        parts = unicodedata.normalize("NFD", char)
        tone = next((_TONES[part] for part in parts if part in _TONES), 0)
        letter = unicodedata.normalize("NFC", "".join(part for part in parts if part not in _TONES))
        place = _LETTERS.find(letter)
        letters.append(f"{place + 40:02d}" if place >= 0 else f"{min(ord(letter[0]), 39):02d}")
        tones.append(str(tone))
    return "".join(letters) + " " + "".join(tones)
