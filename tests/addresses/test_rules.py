"""Reading addresses: what is offered, how sure it is, and that a folded name alone never decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.addresses.rules import FAILURES, REST_S, Breaker, Gazetteer, Named, Offer, Spot, worded
from app.core.text import fold


def today(name: str, kind: str, *districts: str, province: str = "Thái Nguyên") -> Named[str]:
    return Named(name, kind, frozenset(districts), frozenset({"Thái Nguyên", province}), (name,))


def former(name: str, kind: str, district: str, *heirs: str) -> Named[str]:
    return Named(name, kind, frozenset({district}), frozenset({"Thái Nguyên"}), heirs, f"{kind} {name}, {district}")


NAMES = [
    today("Định Hóa", "xa", "Định Hóa"),
    today("Văn Lang", "xa", "Na Rì", province="Bắc Kạn"),
    today("Văn Lăng", "xa", "Đồng Hỷ"),
    today("Phú Bình", "xa", "Phú Bình"),
    today("Điềm Thụy", "xa", "Phú Bình"),
    today("Gia Sàng", "phuong", "Thái Nguyên"),
    today("Phan Đình Phùng", "phuong", "Thái Nguyên"),
    today("Trung Thành", "phuong", "Phổ Yên"),
    former("Trung Thành", "phuong", "Thái Nguyên", "Tích Lương"),
    today("Tích Lương", "phuong", "Thái Nguyên"),
    former("Bảo Cường", "xa", "Định Hóa", "Định Hóa"),
    former("Chợ Chu", "thi_tran", "Định Hóa", "Định Hóa"),
    former("Nhã Lộng", "xa", "Phú Bình", "Phú Bình"),
    former("Thượng Đình", "xa", "Phú Bình", "Phú Bình", "Điềm Thụy"),
    former("Gia Sàng", "phuong", "Thái Nguyên", "Phan Đình Phùng", "Gia Sàng"),
    former("Hoàng Văn Thụ", "phuong", "Thái Nguyên", "Phan Đình Phùng"),
    former("Phú Xá", "phuong", "Thái Nguyên", "Tích Lương"),
    former("Phú Lạc", "xa", "Phú Lương", "Phú Bình"),
    former("Phú Lạc", "xa", "Đại Từ", "Văn Lăng"),
]
SEARCH = Gazetteer(NAMES)


def found(text: str) -> dict[str, str]:
    return {offer.commune: offer.certainty for offer in SEARCH.search(text)}


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        # A former commune, with and without its district, however it is written.
        ("Bảo Cường", {"Định Hóa": "certain"}),
        ("xã Bảo Cường, huyện Định Hóa, tỉnh Thái Nguyên", {"Định Hóa": "certain"}),
        ("Xóm 5, X. Bảo Cường - H. Định Hoá", {"Định Hóa": "certain"}),
        ("bao cuong dinh hoa", {"Định Hóa": "likely"}),
        ("tt Chợ Chu", {"Định Hóa": "certain"}),
        ("TT.Chợ Chu", {"Định Hóa": "certain"}),
        # New addresses, without a district.
        ("xã Định Hóa, tỉnh Thái Nguyên", {"Định Hóa": "certain"}),
        ("xa dinh hoa", {"Định Hóa": "likely"}),
        ("Nhà văn hóa xóm 3, Phú Bình", {"Phú Bình": "certain"}),
        # A district that bears the name of a commune is a district beside a smaller name.
        ("Nhã Lộng, Phú Bình", {"Phú Bình": "certain"}),
        ("Nhã Lộng, huyện Phú Bình", {"Phú Bình": "certain"}),
        # Names that fold alike are both offered.
        ("van lang", {"Văn Lang": "possible", "Văn Lăng": "possible"}),
        ("Vân Láng", {"Văn Lang": "possible", "Văn Lăng": "possible"}),
        ("Văn Lăng", {"Văn Lăng": "likely", "Văn Lang": "possible"}),
        ("xã Văn Lang, huyện Na Rì, Bắc Kạn", {"Văn Lang": "certain"}),
        ("van lang na ri bac kan", {"Văn Lang": "likely", "Văn Lăng": "possible"}),
        # Split communes answer several.
        ("xã Thượng Đình, huyện Phú Bình", {"Phú Bình": "possible", "Điềm Thụy": "possible"}),
        ("phường Gia Sàng", {"Gia Sàng": "likely", "Phan Đình Phùng": "possible"}),
        ("phường Gia Sàng, TP Thái Nguyên", {"Gia Sàng": "possible", "Phan Đình Phùng": "possible"}),
        # A city and a province of one name.
        ("phường Trung Thành, TP. Thái Nguyên", {"Tích Lương": "certain"}),
        ("phường Trung Thành, tỉnh Thái Nguyên", {"Trung Thành": "likely", "Tích Lương": "possible"}),
        # The same name in two districts: the district decides.
        ("Phú Lạc", {"Phú Bình": "possible", "Văn Lăng": "possible"}),
        ("Phú Lạc, Đại Từ", {"Văn Lăng": "likely", "Phú Bình": "possible"}),
        ("Phú Lạc, huyện Đại Từ", {"Văn Lăng": "certain"}),
        ("Phú Lạc, huyện Phú Lương", {"Phú Bình": "certain"}),
        # A street is no commune, and a word of a name no prefix.
        ("12 đường Hoàng Văn Thụ, phường Tích Lương", {"Tích Lương": "certain"}),
        ("đường Hoàng Văn Thụ", {}),
        ("phu xa thai nguyen", {"Tích Lương": "likely"}),
        ("p hoang van thu tp thai nguyen", {"Phan Đình Phùng": "likely"}),
        # Only a district: everything in it.
        ("huyện Na Rì", {"Văn Lang": "possible"}),
        ("huyện Phú Lương", {"Phú Bình": "possible"}),
        ("Hà Nội", {}),
        ("", {}),
        (",;-", {}),
    ],
)
def test_an_address_offers_the_communes_of_today(text: str, offers: dict[str, str]) -> None:
    assert found(text) == offers


def test_an_offer_says_by_which_former_unit_it_was_found() -> None:
    assert SEARCH.search("Bảo Cường") == [Offer("Định Hóa", "certain", "xa Bảo Cường, Định Hóa")]
    assert {(offer.was, offer.part) for offer in SEARCH.search("Thượng Đình")} == {("xa Thượng Đình, Phú Bình", True)}


@given(st.sampled_from(NAMES), st.sampled_from(["", "số 7, ", "thôn Đồng Tâm, "]), st.booleans())
def test_every_name_finds_its_heirs_and_without_diacritics_is_never_certain(
    named: Named[str], before: str, plain: bool
) -> None:
    text = before + named.name
    offers = found(fold(text) if plain else text)
    assert set(named.heirs) <= offers.keys()
    if plain:
        assert "certain" not in offers.values()


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    if not ("\x00" in text or any("\ud800" <= char <= "\udfff" for char in text)):
        assert len(SEARCH.search(text)) <= len(NAMES)


def test_an_address_goes_from_the_small_to_the_large() -> None:
    units = ["Xã Định Hóa", "tỉnh Thái Nguyên"]
    road, place = Spot("Quốc lộ 3", 8.0), Spot("Xóm Đồng Tâm", 300.0)
    assert (
        worded(None, road, place, units, english=False) == "Quốc lộ 3, gần Xóm Đồng Tâm, Xã Định Hóa, tỉnh Thái Nguyên"
    )
    assert worded(None, Spot("Quốc lộ 3", 16.0), None, units[:1], english=True) == "near Quốc lộ 3, Xã Định Hóa"
    assert worded("12 Hoàng Văn Thụ", road, None, units[:1], english=False) == "12 Hoàng Văn Thụ, Xã Định Hóa"
    assert worded(None, None, None, units, english=False) == "Xã Định Hóa, tỉnh Thái Nguyên"


def test_the_breaker_steps_aside_and_lets_one_through_later() -> None:
    breaker = Breaker()
    for now in range(FAILURES):
        assert breaker.allows(now)
        breaker.ended(now, well=False)
    opened = FAILURES - 1
    assert not breaker.allows(opened + REST_S - 1)
    assert breaker.allows(opened + REST_S)
    assert not breaker.allows(opened + REST_S)  # one at a time
    breaker.ended(opened + REST_S, well=False)
    assert not breaker.allows(opened + REST_S + 1)
    assert breaker.allows(opened + 2 * REST_S)
    breaker.ended(opened + 2 * REST_S, well=True)
    assert all(breaker.allows(opened + 2 * REST_S) for _ in range(9))


def test_failures_count_in_a_row_only() -> None:
    breaker = Breaker()
    for _ in range(FAILURES * 2):
        breaker.ended(0.0, well=False)
        breaker.ended(0.0, well=True)
    assert breaker.allows(0.0)
