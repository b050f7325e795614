from __future__ import annotations

import pytest

from velatura.catalog.licence import named_licence, read_licence
from velatura.records import Licence


@pytest.mark.parametrize(
    ("value", "uses"),
    [
        ("None", ()),
        ("Image", ("image",)),
        ("Rent", ("image", "rentcivit", "rent")),
        ("Sell", ("image", "rentcivit", "rent", "sell")),
        (["Image", "RentCivit"], ("image", "rentcivit")),
        (["Sell"], ("sell",)),
        (["Sell", "SellMerge"], ("sell",)),
        ([], ()),
        (["None"], ()),
        ("{Image,RentCivit}", ("image", "rentcivit")),
        ('{"Image"}', ("image",)),
        ("{}", ()),
        (None, None),
        ("", None),
        ("Whatever", None),
        (["Whatever"], None),
        (7, None),
        ({"Image": True}, None),
        ([["Image"]], None),
    ],
)
def test_commercial_uses_in_all_three_forms(value: object, uses: tuple[str, ...] | None) -> None:
    assert read_licence({"allowCommercialUse": value}).commercial == uses


def test_missing_and_strange_flags_are_unknown_not_allowed() -> None:
    assert read_licence({}) == Licence()
    assert read_licence({"allowNoCredit": 1, "allowDerivatives": "yes", "allowDifferentLicense": None}) == Licence()
    told = read_licence({"allowNoCredit": False, "allowDerivatives": True, "allowDifferentLicense": False})
    assert (told.no_credit, told.derivatives, told.different_licence) == (False, True, False)


def test_named_licences_tell_terms_only_where_they_are_clear() -> None:
    assert named_licence("Apache-2.0") == Licence(
        name="Apache-2.0",
        commercial=("image", "rentcivit", "rent", "sell"),
        derivatives=True,
        different_licence=True,
    )
    assert named_licence(["mit"]).commercial == ("image", "rentcivit", "rent", "sell")
    assert named_licence("cc-by-nc-sa-4.0").commercial == ()
    assert named_licence("flux-1-dev-non-commercial-license").commercial == ()
    for unclear in ("other", "openrail-something", "llama3", "bespoke-lora-trained-license", "cc"):
        assert named_licence(unclear) == Licence(name=unclear)
    for nothing in (None, 7, [], ["a", "b"], True, ""):
        assert named_licence(nothing) == Licence()
