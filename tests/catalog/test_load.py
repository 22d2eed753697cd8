"""Loading a pack into the database."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from app.catalog.actions import LoadSummary, load_catalog
from app.catalog.models import CategoryRow, ConsentTextRow, FeatureSwitchRow
from app.catalog.queries import catalogue
from app.core.config import ROOT
from app.core.models import ConfigVersion
from app.core.packfile import PackError
from app.identity.models import AuditEntry

PACK = ROOT / "packs" / "thai_nguyen"

Edit = Callable[..., Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Give a copy of the shipped pack in which texts of one file were replaced."""

    def edit(file: str, *changes: tuple[str, str]) -> Path:
        pack = tmp_path / "pack"
        if not pack.exists():
            shutil.copytree(PACK, pack)
        text = (pack / file).read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after, 1)
        (pack / file).write_text(text)
        return pack

    return edit


@pytest.fixture
def loaded(session: Session) -> Session:
    """Give a session in which the shipped pack is loaded as it is."""
    load_catalog(session, PACK)
    return session


def entries(session: Session, subject: str) -> list[AuditEntry]:
    found = select(AuditEntry).where(AuditEntry.topic == "catalog", AuditEntry.subject == subject)
    return list(session.exec(found.order_by(col(AuditEntry.id))))


def version(session: Session) -> int:
    session.expire_all()
    return session.exec(select(ConfigVersion.version).where(ConfigVersion.topic == "catalog")).one()


def test_the_catalogue_says_what_the_pack_says(loaded: Session) -> None:
    held = catalogue(loaded)
    assert [group.number for group in held.groups] == list(range(1, 13))
    assert len(held.categories) == 49
    manhole = held.category("ho_ga_mat_nap")
    assert manhole is not None
    assert (manhole.urgency, manhole.trusted, manhole.level, manhole.default_unit_code) == (
        "urgent",
        True,
        "commune",
        None,
    )
    assert manhole.emergency_numbers == ("113", "114", "115")
    assert manhole.may_be_public
    assert [category.code for category in held.members("thoat_nuoc")] == ["ngap_ung", "cong_tac"]
    theft = held.category("gay_roi_trom_cap")
    assert theft is not None
    assert not theft.may_be_public
    unclear = held.reject("unclear")
    assert unclear is not None
    assert "gọi 1022" in unclear.turn_to_vi
    assert held.province is not None
    assert held.province.bounds == (105.42, 21.32, 106.25, 22.75)
    assert (held.category("khong_co"), held.group("khong_co"), held.reject("khong_co")) == (None, None, None)


def test_the_consent_in_force_depends_on_the_day(loaded: Session) -> None:
    held = catalogue(loaded)
    assert held.consent(date(2025, 12, 31)) is None
    newest = held.consent(date(2026, 1, 1))
    assert newest is not None
    assert newest.version == "2026-01"


def test_loading_again_changes_nothing(loaded: Session) -> None:
    before, audited = version(loaded), len(loaded.exec(select(AuditEntry)).all())
    summary = load_catalog(loaded, PACK)
    assert (summary.added, summary.changed, summary.retired) == (0, 0, 0)
    assert summary.unchanged > 49
    assert version(loaded) == before
    assert len(loaded.exec(select(AuditEntry)).all()) == audited


def test_a_change_is_seen_at_once_and_audited(loaded: Session, edited: Edit) -> None:
    before = version(loaded)
    pack = edited("categories.yaml", ("Pothole or damaged road surface", "Pothole"))
    assert load_catalog(loaded, pack) == LoadSummary(changed=1, unchanged=load_catalog(loaded, pack).unchanged - 1)
    pothole = catalogue(loaded).category("o_ga")
    assert pothole is not None
    assert pothole.name_en == "Pothole"
    assert version(loaded) == before + 1
    entry = entries(loaded, "category:o_ga")[-1]
    assert (entry.before, entry.after) == ({"name_en": "Pothole or damaged road surface"}, {"name_en": "Pothole"})
    assert entry.actor_id is None


def test_what_the_pack_no_longer_names_is_retired_and_comes_back(loaded: Session, edited: Edit) -> None:
    text = (PACK / "categories.yaml").read_text()
    start = text.index("  - code: khac\n")
    summary = load_catalog(loaded, edited("categories.yaml", (text[start:], "")))
    assert (summary.added, summary.changed, summary.retired) == (0, 0, 1)
    held = catalogue(loaded)
    other = held.category("khac")
    assert other is not None
    assert not other.active
    assert other not in held.categories
    assert entries(loaded, "category:khac")[-1].after == {"active": False}
    assert load_catalog(loaded, PACK).changed == 1
    other = catalogue(loaded).category("khac")
    assert other is not None
    assert other.active


def test_two_categories_may_swap_their_numbers(loaded: Session, edited: Edit) -> None:
    pack = edited("categories.yaml", ('"1.1"', '"x"'), ('"1.2"', '"1.1"'), ('"x"', '"1.2"'))
    assert load_catalog(loaded, pack).changed == 2
    rows = loaded.exec(select(CategoryRow).where(col(CategoryRow.code).in_(["o_ga", "den_tin_hieu"]))).all()
    assert {row.code: (row.number, row.active) for row in rows} == {
        "o_ga": ("1.2", True),
        "den_tin_hieu": ("1.1", True),
    }


def test_a_new_category_may_take_the_number_of_a_retired_one(loaded: Session, edited: Edit) -> None:
    summary = load_catalog(loaded, edited("categories.yaml", ("code: khac\n", "code: gop_y\n")))
    assert (summary.added, summary.changed, summary.retired) == (1, 0, 1)
    assert [category.code for category in catalogue(loaded).categories if category.number == "12.6"] == ["gop_y"]


def test_a_feature_the_pack_no_longer_names_is_switched_off(loaded: Session, edited: Edit) -> None:
    assert load_catalog(loaded, edited("province.yaml", ("  rating: true\n", ""))).retired == 1
    row = loaded.get(FeatureSwitchRow, "rating")
    assert row is not None
    assert not row.enabled


@pytest.mark.parametrize("file", ["groups.yaml", "categories.yaml", "province.yaml", "texts.yaml"])
def test_an_empty_file_changes_nothing(loaded: Session, edited: Edit, file: str) -> None:
    before = version(loaded), catalogue(loaded)
    pack = edited(file)
    (pack / file).write_text("")
    with pytest.raises(PackError, match="The file is empty"):
        load_catalog(loaded, pack)
    assert (version(loaded), catalogue(loaded)) == before
    assert not loaded.new
    assert not loaded.dirty


def test_a_unit_the_database_does_not_know_stops_the_load(loaded: Session, edited: Edit) -> None:
    with pytest.raises(PackError, match="No unit of the pack has the code so_giao_thong"):
        load_catalog(loaded, edited("categories.yaml", ("unit: so_xay_dung", "unit: so_giao_thong")))


def test_a_published_consent_is_never_reworded_but_a_new_one_follows(loaded: Session, edited: Edit) -> None:
    with pytest.raises(PackError, match="add a new version"):
        load_catalog(loaded, edited("province.yaml", ("Consent is voluntary.", "Consent is needed.")))
    pack = edited("province.yaml", ('version: "2026-01"', 'version: "2026-02"'), ("2026-01-01", "2026-02-01"))
    assert load_catalog(loaded, pack).added == 1
    held = catalogue(loaded)
    versions = [consent.version for day in (date(2026, 1, 31), date(2026, 2, 1)) if (consent := held.consent(day))]
    assert versions == ["2026-01", "2026-02"]
    assert loaded.get(ConsentTextRow, "2026-01") is not None
