"""Taking in classes and deliveries of assets. Nothing here ever deletes; the caller commits."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import numpy as np
from sqlalchemy import insert, text
from sqlmodel import col, func, select

from app.assets.models import Asset, AssetClass, AssetImport
from app.assets.queries import ASSETS, ClassInfo, asset_classes
from app.assets.rules import Delivered, geometry_faults, loses_too_much, place_on
from app.assets.schemas import AssetClassEntry, AssetClassesFile
from app.catalog.queries import catalogue
from app.core import clock, geofile, ids
from app.core import text as words
from app.core.db import Session
from app.core.geofile import Feature
from app.core.packfile import Finding, PackError, read_with_source
from app.core.remarks import DeliveryError, Remark, named, refusal
from app.core.versioned import bump
from app.identity.actions import audit
from app.orgunits.queries import directory

FILE = "assets.yaml"

# Classes: data of the pack -------------------------------------------------------------------------------------------


def check_classes(pack_dir: Path, categories: Collection[str]) -> list[Finding]:
    """Everything that is wrong in the pack's classes of assets; a pack may have none."""
    if not (pack_dir / FILE).exists():
        return []
    try:
        file, source = read_with_source(pack_dir / FILE, AssetClassesFile)
    except PackError as error:
        return error.findings
    findings, seen = [], set()
    for place, entry in enumerate(file.classes):
        if entry.code in seen:
            findings.append(source.finding(f"The code {entry.code} stands here twice.", "classes", place, "code"))
        if entry.category is not None and entry.category not in categories:
            sentence = f"No category of categories.yaml has the code {entry.category}."
            findings.append(source.finding(sentence, "classes", place, "category"))
        seen.add(entry.code)
    return findings


def load_classes(session: Session, pack_dir: Path) -> int:
    """Bring the classes to what the pack says; returns how many rows changed. What it does not name is retired."""
    known = {category.code for category in catalogue(session).categories}
    if findings := check_classes(pack_dir, known):
        raise PackError(findings)
    entries: list[AssetClassEntry] = []
    if (pack_dir / FILE).exists():
        entries = read_with_source(pack_dir / FILE, AssetClassesFile)[0].classes
    held = {row.code: row for row in session.exec(select(AssetClass))}
    wanted = {entry.code: _class_columns(entry, place) for place, entry in enumerate(entries, start=1)}
    wanted |= {code: {"active": False} for code in held.keys() - wanted.keys()}
    changed = [code for code, columns in wanted.items() if _bring(session, held.get(code), columns)]
    if changed:
        session.flush()
        bump(session, ASSETS)
    return len(changed)


def _class_columns(entry: AssetClassEntry, position: int) -> dict[str, Any]:
    return entry.model_dump(exclude={"category"}) | {
        "category_code": entry.category,
        "position": position,
        "active": True,
    }


def _bring(session: Session, row: AssetClass | None, columns: Mapping[str, Any]) -> bool:
    """Make the row say what is wanted; whether it did not."""
    if row is None:
        session.add(AssetClass(**columns))
        audit(session, None, ASSETS, f"class:{columns['code']}", None, dict(columns))
        return True
    before = {name: getattr(row, name) for name, value in columns.items() if getattr(row, name) != value}
    if "kind" in before and session.exec(select(Asset.id).where(Asset.asset_class == row.code).limit(1)).first():
        raise PackError([Finding(FILE, row.code, "Assets of this class exist, so its kind stays what it is.")])
    if before:
        row.sqlmodel_update(dict(columns))
        audit(session, None, ASSETS, f"class:{row.code}", before, {name: columns[name] for name in before})
    return bool(before)


# A delivery ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssetChange:
    """What a delivery does to one asset; `columns` are those that change."""

    what: Literal["added", "changed", "ended"]
    ref: str
    name: str
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f" ({', '.join(self.columns)})" if self.columns else ""
        return f"{self.what}: {self.ref} {self.name}".rstrip() + told


@dataclass(frozen=True, slots=True)
class AssetSummary:
    """What a delivery did, or would do; `import_id` is None where nothing was stored."""

    import_id: UUID | None
    changes: tuple[AssetChange, ...] = field(repr=False)
    unchanged: int

    def number(self, what: str) -> int:
        """How many assets were added, changed or ended."""
        return sum(change.what == what for change in self.changes)

    def __str__(self) -> str:
        counts = ", ".join(f"{self.number(what)} {what}" for what in ("added", "changed", "ended"))
        return f"{counts}, {self.unchanged} unchanged"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the delivery asks for, against the latest row of each asset (by the source's own id)."""

    wanted: Mapping[str, dict[str, Any]]
    latest: Mapping[str, Asset]

    @property
    def open(self) -> dict[str, Asset]:
        return {ref: row for ref, row in self.latest.items() if row.valid_to is None}

    def changes(self) -> tuple[AssetChange, ...]:
        found, standing = [], self.open
        for ref, columns in self.wanted.items():
            if (row := standing.get(ref)) is None:
                found.append(AssetChange("added", ref, columns["name"]))
            elif differing := _differing(row, columns):
                found.append(AssetChange("changed", ref, columns["name"], differing))
        found += [AssetChange("ended", ref, row.name) for ref, row in standing.items() if ref not in self.wanted]
        return tuple(found)


def import_assets(
    session: Session,
    path: Path,
    *,
    asset_class: str,
    source: str,
    effective_from: date,
    force: bool = False,
    dry_run: bool = False,
    actor_id: UUID | None = None,
) -> AssetSummary:
    """Take in all assets of a class that a source knows: GeoJSON, Shapefile, GeoPackage, or CSV with id, lat and lon.

    Compared with the source's delivery before: new assets are added, changed ones go on under the same public code,
    missing ones end on `effective_from`; the same delivery again changes nothing. DeliveryError lists everything that
    is wrong, and then nothing is changed; so does a delivery that would end more than a fifth of what stands, unless
    `force` insists.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('assets.import'))"))
    source = words.clean(source)
    kind = asset_classes(session).get(asset_class)
    if faults := list(_order_faults(session, kind, asset_class, source, effective_from)):
        raise DeliveryError(faults)
    digest, delivered = _read(path)
    wanted = _wanted(session, delivered, asset_class, effective_from)
    plan = _Plan(wanted, _latest(session, asset_class, source))
    changes = plan.changes()
    summary = AssetSummary(None, changes, len(wanted) - sum(each.what != "ended" for each in changes))
    if not force and loses_too_much(len(plan.open), len(wanted), summary.number("ended")):
        ended, standing = summary.number("ended"), len(plan.open)
        raise refusal(
            f"{path.name}: có {len(wanted)} tài sản và sẽ kết thúc {ended} trong {standing} tài sản đang có;"
            " nếu đúng là vậy, hãy nhập lại với --force",
            f"{path.name}: holds {len(wanted)} assets and would end {ended} of the {standing} that stand; if that is"
            " right, insist with --force",
        )
    if dry_run or not changes:
        return summary
    delivery = AssetImport(
        id=ids.uuid7(),
        asset_class=asset_class,
        source=source,
        sha256=digest,
        effective_from=effective_from,
        imported_at=clock.now(),
        delivered=len(wanted),
        **{what: summary.number(what) for what in ("added", "changed", "ended")},
    )
    _store(session, delivery, plan, changes)
    audit(session, actor_id, ASSETS, f"{asset_class}:{source}", {"standing": len(plan.open)}, _audited(delivery, force))
    return AssetSummary(delivery.id, changes, summary.unchanged)


def _audited(delivery: AssetImport, force: bool) -> dict[str, object]:
    told = delivery.model_dump(mode="json", exclude={"asset_class", "source", "imported_at"})
    return {**told, "forced": force}


def _order_faults(
    session: Session, kind: ClassInfo | None, asset_class: str, source: str, effective_from: date
) -> Iterator[Remark]:
    """What is wrong with the order itself, whatever the file holds."""
    if kind is None or not kind.active:
        known = ", ".join(each.code for each in asset_classes(session).values() if each.active)
        yield named(asset_class).says(
            f"không phải loại tài sản; đang có {known or 'không loại nào (hãy nạp gói dữ liệu có assets.yaml)'}",
            f"is no class of assets; known are {known or 'none (load a pack that has some)'}",
        )
    if not 0 < len(source) <= _LONGEST_NAME:
        yield Remark(
            f"nguồn cần một tên tối đa {_LONGEST_NAME} ký tự, giống nhau ở mỗi lần giao",
            f"the source needs a name of at most {_LONGEST_NAME} characters, the same at each delivery",
        )
    before = session.exec(
        select(func.max(AssetImport.effective_from)).where(
            AssetImport.asset_class == asset_class, AssetImport.source == source
        )
    ).one()
    if before is not None and effective_from < before:
        yield Remark(
            f"{effective_from} trước {before}, ngày lần giao cuối của nguồn này có hiệu lực; hãy chọn ngày muộn hơn",
            f"{effective_from} lies before {before}, from when on the last delivery of this source counts",
        )


def _wanted(
    session: Session, delivered: Sequence[Delivered], asset_class: str, effective_from: date
) -> dict[str, dict[str, Any]]:
    """The columns of each asset delivered, by the source's own id."""
    kind, province = asset_classes(session)[asset_class], catalogue(session).province
    if province is None:
        raise refusal(
            "chưa nạp dữ liệu tỉnh; hãy chạy `phananh pack load` trước", "no province is loaded; load a pack first"
        )
    managers = {
        item.manager: directory(session).by_code(item.manager, effective_from) for item in delivered if item.manager
    }
    offered = {category.code for category in catalogue(session).categories}
    faults = geometry_faults(delivered, kind.kind, province.bounds)
    for item in delivered:
        if item.asset_class not in (None, asset_class):
            told = (f"thuộc loại {item.asset_class}, không phải {asset_class}", f"is of class {item.asset_class}, not")
            faults.append(item.where.says(told[0], f"{told[1]} {asset_class}"))
        if item.manager and managers[item.manager] is None:
            faults.append(
                item.where.says(
                    f"không có đơn vị mã {item.manager} vào ngày {effective_from}",
                    f"no unit bears the code {item.manager} on {effective_from}",
                )
            )
        if item.category and item.category not in offered:
            faults.append(
                item.where.says(
                    f"{item.category} không phải lĩnh vực đang dùng", f"{item.category} is no category in use"
                )
            )
    if faults:
        raise DeliveryError(faults)
    return {
        item.ref: _columns(item, manager.id if item.manager and (manager := managers[item.manager]) else None)
        for item in delivered
    }


def _columns(item: Delivered, manager_id: UUID | None) -> dict[str, Any]:
    if item.geometry is None:
        raise ValueError(item.place)
    west, south, east, north = item.geometry.bounds
    lat, lon = place_on(item.geometry)
    place = {"lat": lat, "lon": lon, "west": west, "south": south, "east": east, "north": north}
    described = {"name": item.name, "manager_id": manager_id, "category_code": item.category or None}
    return {**described, "wkb": item.geometry.wkb, **place}


def _latest(session: Session, asset_class: str, source: str) -> dict[str, Asset]:
    rows = session.exec(
        select(Asset).where(Asset.asset_class == asset_class, Asset.source == source).order_by(col(Asset.valid_from))
    )
    return {row.ref: row for row in rows}


_TOLD = {"name": "name", "manager_id": "manager", "category_code": "category", "wkb": "place"}


def _differing(row: Asset, columns: Mapping[str, Any]) -> tuple[str, ...]:
    """What of an asset a delivery changes, in words."""
    return tuple(word for name, word in _TOLD.items() if getattr(row, name) != columns[name])


def _store(session: Session, delivery: AssetImport, plan: _Plan, changes: Sequence[AssetChange]) -> None:
    """End what is missing or changed, then open the new rows; what began this very day is corrected in place."""
    session.add(delivery)
    session.flush()
    day, taken, opened = delivery.effective_from, set(session.exec(select(Asset.code).distinct())), []
    for change in changes:
        row, columns = plan.latest.get(change.ref), plan.wanted.get(change.ref)
        if columns is None or (row is not None and row.valid_from < day and row.valid_to is None):
            plan.latest[change.ref].valid_to = day
        if columns is None:
            continue
        columns = columns | {"import_id": delivery.id}
        if row is not None and row.valid_from == day:
            row.sqlmodel_update(columns | {"valid_to": None})
            continue
        code = row.code if row else _public_code(delivery.asset_class, delivery.source, change.ref, taken)
        identity = {"asset_class": delivery.asset_class, "source": delivery.source, "ref": change.ref, "code": code}
        opened.append({"id": ids.uuid7(), **identity, **columns, "valid_from": day, "valid_to": None})
    session.flush()
    if opened:
        session.execute(insert(Asset), opened)
    bump(session, ASSETS)


def _public_code(asset_class: str, source: str, ref: str, taken: set[str]) -> str:
    """The code for the sticker. Made from what the asset is: a database built anew must fit the stickers outside."""
    for attempt in count():
        digest = hashlib.sha256(json.dumps([asset_class, source, ref, attempt]).encode()).digest()
        code = ids.reference(int.from_bytes(digest))
        if code not in taken:
            break
    taken.add(code)
    return code


# Reading files -------------------------------------------------------------------------------------------------------

MAX_ASSETS = 500_000
_LONGEST_NAME = 200


def _read(path: Path) -> tuple[str, list[Delivered]]:
    """The SHA-256 of a delivery and the assets in it, in their order."""
    delivery = geofile.read(path, geofile.POINTS_TOO, at_most=MAX_ASSETS)
    return delivery.sha256, [_delivered(feature) for feature in delivery.features]


def _delivered(feature: Feature) -> Delivered:
    cells = {name: _word(value) for name, value in feature.cells.items()}
    return Delivered(
        place=feature.place,
        ref=cells.get("id", ""),
        name=cells.get("name", ""),
        manager=cells.get("manager") or None,
        category=cells.get("category") or None,
        asset_class=cells.get("class") or None,
        geometry=feature.shape(),
    )


def _word(value: object) -> str:
    """A cell as text: numbers without a decimal point where they are whole, nothing for what is missing."""
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    try:
        return words.clean(str(value))
    except ValueError:
        return str(value)  # the rules name it


# Stickers ------------------------------------------------------------------------------------------------------------


def sticker_rows(session: Session, asset_class: str, template: str) -> Iterator[tuple[str, str, str]]:
    """Code, name and address for the QR sticker of every asset of a class that stands; `template` holds {code}."""
    rows = session.execute(
        select(Asset.code, Asset.name)
        .where(Asset.asset_class == asset_class, col(Asset.valid_to).is_(None))
        .order_by(col(Asset.source), col(Asset.ref))
    )
    for code, name in rows:
        # A spreadsheet would execute a name that begins like a formula.
        yield (
            code,
            f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name,
            template.format(code=code),
        )
