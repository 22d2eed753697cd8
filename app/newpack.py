"""A first pack for another province: what provinces share is copied from the shipped one, the rest are examples.

Departments, categories, deadlines, working hours and texts are alike everywhere and only need to be read through;
units, succession and boundaries are the province's own, so their files hold two invented communes to be replaced.
"""

import re
from pathlib import Path

from app.core.config import ROOT
from app.core.text import clean, unaccented

PACKS = ROOT / "packs"
MODEL, OWN = PACKS / "thai_nguyen", PACKS / "new"
SHARED = (
    "assets.yaml",
    "calendar.yaml",
    "categories.yaml",
    "groups.yaml",
    "policies.yaml",
    "province.yaml",
    "texts.yaml",
    "units/agencies.yaml",
)
_KINDS = {"Tỉnh": "Province", "Thành phố": "City"}
_NAME = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_HEADER = """\
# Copied from packs/thai_nguyen for {name}. The remarks in this file speak of Thái Nguyên: hold every value against what
# is decided in your province, and say `belief: true` where nobody could confirm it.
#
"""


def new_pack(where: Path, name: str, code: str) -> list[Path]:
    """Write the files of a pack that passes every check into an empty or new folder; they are returned.

    `name` is the official one ("Tỉnh Bắc Ninh", "Thành phố Huế"), `code` the province's two digits. ValueError says
    what is wrong with them.
    """
    name = clean(name)
    kind = next((kind for kind in _KINDS if name.startswith(f"{kind} ")), None)
    if kind is None or not _NAME.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is no name of a province: it begins with Tỉnh or Thành phố, letters follow")
    if not re.fullmatch(r"[0-9]{2}", code):
        raise ValueError(f"{code[:20]!r} is no code of a province: two digits")
    if where.exists() and (not where.is_dir() or any(where.iterdir())):
        raise ValueError(f"{where} exists and is not an empty folder")
    texts = {file: _copied((MODEL / file).read_text(), name, kind, code) for file in SHARED}
    texts |= {str(file.relative_to(OWN)): _filled(file.read_text(), name, kind, code) for file in OWN.rglob("*.yaml")}
    for file, text in sorted(texts.items()):
        (where / file).parent.mkdir(parents=True, exist_ok=True)
        (where / file).write_text(text)
    return [where / file for file in sorted(texts)]


def _copied(text: str, name: str, kind: str, code: str) -> str:
    """The shipped file with the other province's name in its values; remarks stay, under a line that says so."""
    own = name.removeprefix(f"{kind} ")
    values = {
        "tỉnh Thái Nguyên": f"{kind.lower()} {own}",
        "Thái Nguyên": own,
        "Thai Nguyen province": f"{unaccented(own)} {_KINDS[kind].lower()}",
        "Thai Nguyen": unaccented(own),
        'code: "19"': f'code: "{code}"',
    }
    lines = []
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            for old, new in values.items():
                line = line.replace(old, new)  # noqa: PLW2901 - one value after the other
        lines.append(line)
    return _HEADER.format(name=name) + "\n".join(lines) + "\n"


def _filled(text: str, name: str, kind: str, code: str) -> str:
    english = f"{unaccented(name.removeprefix(f'{kind} '))} {_KINDS[kind]}"
    return text.replace("{{name}}", name).replace("{{name_en}}", english).replace("{{code}}", code)
