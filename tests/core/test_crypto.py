"""Sealed values open in their own place only; links and indexes cannot be forged."""

import pytest

from app.core import crypto

pytestmark = pytest.mark.usefixtures("connection")


def test_a_sealed_value_opens_in_its_own_place_only() -> None:
    sealed = crypto.seal("Nguyễn Thị Bé", "identity:1:name")
    assert crypto.unseal(sealed, "identity:1:name") == "Nguyễn Thị Bé"
    assert "Bé".encode() not in sealed
    for blob, place in ((sealed, "identity:2:name"), (sealed[:-1], "identity:1:name"), (b"", "identity:1:name")):
        with pytest.raises(crypto.CannotUnseal):
            crypto.unseal(blob, place)


def test_sealing_twice_differs_and_indexing_twice_does_not() -> None:
    assert crypto.seal("a", "x") != crypto.seal("a", "x")
    assert crypto.blind_index("0912345678", "phone") == crypto.blind_index("0912345678", "phone")
    assert crypto.blind_index("0912345678", "phone") != crypto.blind_index("0912345678", "email")


def test_links_cannot_be_forged() -> None:
    signature = crypto.sign_link("media|1|large|1700000000")
    assert crypto.verify_link("media|1|large|1700000000", signature)
    assert not crypto.verify_link("media|2|large|1700000000", signature)
    assert not crypto.verify_link("media|1|large|1700000000", "é")
