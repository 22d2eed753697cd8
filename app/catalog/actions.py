"""Loading the catalogue's part of a province pack: checked as a whole first, then written, and only what differs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import text
from sqlmodel import SQLModel, select

from app.catalog.models import (
    AppVersionRow,
    CategoryGroupRow,
    CategoryRow,
    ConsentTextRow,
    EmergencyNumberRow,
    FeatureSwitchRow,
    ProvinceRow,
    RejectCodeRow,
    TermRow,
)
from app.catalog.schemas import CategoriesFile, CategoryEntry, GroupsFile, ProvinceFile, TextsFile
from app.core.db import Session
from app.core.packfile import Finding, PackError, PackModel, Source, read_with_source
from app.core.versioned import bump
from app.identity.actions import audit
from app.orgunits.models import Unit

TOPIC = "catalog"

F = TypeVar("F", bound=PackModel)
R = TypeVar("R", bound=SQLModel)


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """What a load did to the rows of the catalogue."""

    added: int = 0
    changed: int = 0
    retired: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        return f"{self.added} added, {self.changed} changed, {self.retired} retired, {self.unchanged} unchanged"


@dataclass(frozen=True, slots=True)
class _Pack:
    """The four files of the catalogue with the places of their keys."""

    groups: tuple[GroupsFile, Source]
    categories: tuple[CategoriesFile, Source]
    province: tuple[ProvinceFile, Source]
    texts: tuple[TextsFile, Source]


def check_catalog(pack_dir: Path, unit_codes: Collection[str]) -> list[Finding]:
    """Everything that is wrong in the catalogue's files of a pack; `unit_codes` are the units the pack knows."""
    try:
        _checked(pack_dir, unit_codes)
    except PackError as error:
        return error.findings
    return []


def load_catalog(session: Session, pack_dir: Path) -> LoadSummary:
    """Bring the catalogue to what the pack says; units first. A pack with any mistake changes nothing (PackError).

    What the pack no longer names is retired, never deleted. Each change leaves an audit entry; loading the same pack
    again changes nothing. Consent texts are only ever added.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('catalog.load'))"))
    pack = _checked(pack_dir, set(session.exec(select(Unit.code))))
    _refuse_reworded_consents(session, *pack.province)
    counts = LoadSummary()
    for kind, wanted, retires in _rows(pack):
        counts = _merge(session, kind, wanted, counts, retires=retires)
    if counts.added or counts.changed or counts.retired:
        session.flush()
        bump(session, TOPIC)
    return counts


# --- reading and checking ------------------------------------------------------------------------------------------


def _checked(pack_dir: Path, unit_codes: Collection[str]) -> _Pack:
    findings: list[Finding] = []

    def read(name: str, schema: type[F]) -> tuple[F, Source] | None:
        try:
            return read_with_source(pack_dir / name, schema)
        except PackError as error:
            findings.extend(error.findings)
            return None

    groups = read("groups.yaml", GroupsFile)
    categories = read("categories.yaml", CategoriesFile)
    province = read("province.yaml", ProvinceFile)
    texts = read("texts.yaml", TextsFile)
    if groups is None or categories is None or province is None or texts is None:
        raise PackError(findings)
    pack = _Pack(groups, categories, province, texts)
    findings = [*_repeats(pack), *_province_findings(pack), *_category_findings(pack, unit_codes)]
    if findings:
        raise PackError(findings)
    return pack


def _repeats(pack: _Pack) -> Iterator[Finding]:
    """What must be unique and is not."""
    (groups, in_groups), (categories, in_categories) = pack.groups, pack.categories
    (province, in_province), (texts, in_texts) = pack.province, pack.texts
    yield from _twice(in_groups, "groups", "code", [group.code for group in groups.groups])
    yield from _twice(in_groups, "groups", "number", [group.number for group in groups.groups])
    yield from _twice(in_categories, "categories", "code", [category.code for category in categories.categories])
    yield from _twice(in_categories, "categories", "number", [category.number for category in categories.categories])
    yield from _twice(
        in_province, "emergency_numbers", "number", [number.number for number in province.emergency_numbers]
    )
    yield from _twice(in_province, "consents", "version", [consent.version for consent in province.consents])
    yield from _twice(in_province, "consents", "valid_from", [consent.valid_from for consent in province.consents])
    yield from _twice(in_texts, "reject_codes", "code", [code.code for code in texts.reject_codes])


def _twice(source: Source, section: str, key: str, values: Sequence[object]) -> Iterator[Finding]:
    first: dict[object, int] = {}
    for place, value in enumerate(values):
        if value in first:
            yield source.finding(
                f"The {key} {value} is already that of {section}[{first[value] + 1}].", section, place, key
            )
        first.setdefault(value, place)


def _province_findings(pack: _Pack) -> Iterator[Finding]:
    file, source = pack.province
    bounds = file.province.bounds
    if bounds.west >= bounds.east or bounds.south >= bounds.north:
        yield source.finding("West must lie west of east, and south of north.", "province", "bounds")


def _category_findings(pack: _Pack, unit_codes: Collection[str]) -> Iterator[Finding]:
    file, source = pack.categories
    groups = {group.code: group for group in pack.groups[0].groups}
    numbers = {number.number for number in pack.province[0].emergency_numbers}
    for place, category in enumerate(file.categories):
        here = ("categories", place)
        group = groups.get(category.group)
        if group is None:
            yield source.finding(f"No group of groups.yaml has the code {category.group}.", *here, "group")
        elif not category.number.startswith(f"{group.number}."):
            yield source.finding(
                f"The number {category.number} is outside group {group.code}, which is number {group.number}.",
                *here,
                "number",
            )
        elif category.publication == "auto" and not group.public_default:
            yield source.finding(
                f"Group {group.code} is not public by default, so nothing in it is published without a person.",
                *here,
                "publication",
            )
        if category.unit is not None and category.unit not in unit_codes:
            yield source.finding(f"No unit of the pack has the code {category.unit}.", *here, "unit")
        for number in category.emergency_numbers:
            if number not in numbers:
                sentence = f"The number {number} is not among emergency_numbers of province.yaml."
                yield source.finding(sentence, *here, "emergency_numbers")
    for group in groups.values():
        if not any(category.group == group.code for category in file.categories):
            yield source.finding(f"Group {group.code} has no category.", "categories")


def _refuse_reworded_consents(session: Session, file: ProvinceFile, source: Source) -> None:
    """People agreed to a wording: a version that exists may be dropped from the pack, but not changed."""
    findings = []
    for place, entry in enumerate(file.consents):
        row = session.get(ConsentTextRow, entry.version)
        if row is not None and any(getattr(row, name) != value for name, value in entry.model_dump().items()):
            findings.append(
                source.finding(
                    f"Version {entry.version} was already published with another wording or date; add a new version.",
                    "consents",
                    place,
                )
            )
    if findings:
        raise PackError(findings)


# --- writing -------------------------------------------------------------------------------------------------------


def _rows(pack: _Pack) -> Iterator[tuple[type[SQLModel], list[SQLModel], bool]]:
    """The rows the pack asks for, table by table, and whether rows it does not name are retired."""
    province = pack.province[0]
    groups = {group.code: group for group in pack.groups[0].groups}
    yield (
        CategoryGroupRow,
        [
            CategoryGroupRow(**group.model_dump(), position=place)
            for place, group in enumerate(groups.values(), start=1)
        ],
        True,
    )
    yield (
        CategoryRow,
        [
            _category_row(category, place, public=groups[category.group].public_default)
            for place, category in enumerate(pack.categories[0].categories, start=1)
        ],
        True,
    )
    yield (
        RejectCodeRow,
        [
            RejectCodeRow(**code.model_dump(), position=place)
            for place, code in enumerate(pack.texts[0].reject_codes, start=1)
        ],
        True,
    )
    yield (
        EmergencyNumberRow,
        [
            EmergencyNumberRow(**number.model_dump(), position=place)
            for place, number in enumerate(province.emergency_numbers, start=1)
        ],
        True,
    )
    yield ConsentTextRow, [ConsentTextRow(**consent.model_dump()) for consent in province.consents], False
    yield ProvinceRow, [_province_row(province)], False
    terms = province.terms.model_dump()
    yield TermRow, [TermRow(code=code, **term) for code, term in terms.items()], False
    versions = province.minimum_app_versions.model_dump().items()
    yield AppVersionRow, [AppVersionRow(platform=platform, minimum=minimum) for platform, minimum in versions], False
    yield FeatureSwitchRow, [FeatureSwitchRow(code=code, enabled=on) for code, on in province.features.items()], True


def _category_row(entry: CategoryEntry, position: int, *, public: bool) -> CategoryRow:
    values = entry.model_dump(exclude={"group", "unit", "publication"})
    return CategoryRow(
        **values,
        group_code=entry.group,
        default_unit_code=entry.unit,
        publication=entry.publication or ("review" if public else "never"),
        position=position,
    )


def _province_row(file: ProvinceFile) -> ProvinceRow:
    entry = file.province
    return ProvinceRow(
        code=entry.code,
        name_vi=entry.name_vi,
        name_en=entry.name_en,
        **entry.bounds.model_dump(),
        hotline=entry.hotline.number,
    )


def _merge(session: Session, kind: type[R], wanted: Sequence[R], counts: LoadSummary, *, retires: bool) -> LoadSummary:
    """Insert, change and retire rows of one table until it says what is wanted; each change is audited."""
    (key,) = kind.__table__.primary_key.columns.keys()  # type: ignore[attr-defined]
    present = {getattr(row, key): row for row in session.exec(select(kind))}
    asked = {getattr(row, key): row for row in wanted}
    if retires:
        for code in present.keys() - asked.keys():
            counts = _retire(session, present[code], f"{kind.__tablename__}:{code}", counts)
    differing = {code: _difference(present[code], row) for code, row in asked.items() if code in present}
    _free_numbers(session, [present[code] for code, changes in differing.items() if "number" in changes])
    for code, row in asked.items():
        subject = f"{kind.__tablename__}:{code}"
        if code not in present:
            session.add(row)
            audit(session, None, TOPIC, subject, None, _plain(row.model_dump()))
            counts = replace(counts, added=counts.added + 1)
        elif differing[code]:
            before = {name: getattr(present[code], name) for name in differing[code]}
            present[code].sqlmodel_update(row.model_dump())  # active again where its number was freed
            audit(session, None, TOPIC, subject, _plain(before), _plain(differing[code]))
            counts = replace(counts, changed=counts.changed + 1)
        else:
            counts = replace(counts, unchanged=counts.unchanged + 1)
    session.flush()
    return counts


def _retire(session: Session, row: SQLModel, subject: str, counts: LoadSummary) -> LoadSummary:
    """Take a row out of use: switched off where other rows may name it."""
    switch = "enabled" if isinstance(row, FeatureSwitchRow) else "active"
    if not getattr(row, switch):
        return counts
    setattr(row, switch, False)
    audit(session, None, TOPIC, subject, {switch: True}, {switch: False})
    return replace(counts, retired=counts.retired + 1)


def _difference(row: SQLModel, asked: SQLModel) -> dict[str, object]:
    return {name: value for name, value in asked.model_dump().items() if getattr(row, name) != value}


def _free_numbers(session: Session, rows: Sequence[SQLModel]) -> None:
    """Let rows give up their numbers before others take them: two categories may swap theirs."""
    for row in rows:
        if isinstance(row, CategoryRow | CategoryGroupRow):
            row.active = False
    session.flush()


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Values as JSON can hold them."""
    return {
        name: value if isinstance(value, str | int | float | list | None) else str(value)
        for name, value in values.items()
    }
