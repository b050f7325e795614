"""What an author allows, as Civitai's flags and Hugging Face's licence names tell it. Missing is unknown, not yes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..records import USES, Licence
from .text import clean_line

# Until October 2023 the site kept one value, each of which allowed what stood before it.
_LADDER: dict[str, tuple[str, ...]] = {
    "none": (),
    "image": USES[:1],
    "rentcivit": USES[:2],
    "rent": USES[:3],
    "sell": USES,
}

# Only what a licence's text leaves no doubt about. Copyleft and attribution do not limit commerce. MIT, BSD and
# Apache ask for their notice beside copies, not for credit under a picture, so `no_credit` stays open. The OpenRAIL
# family allows commerce within its use restrictions, which are about conduct and not about money.
_NAMES: dict[str, Licence] = {
    **dict.fromkeys(("cc0-1.0", "unlicense", "wtfpl", "0bsd", "pddl"), Licence(
        no_credit=True, commercial=USES, derivatives=True, different_licence=True
    )),
    **dict.fromkeys(("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "bsl-1.0"), Licence(
        commercial=USES, derivatives=True, different_licence=True
    )),
    **dict.fromkeys(("cc-by-4.0", "cc-by-3.0"), Licence(
        no_credit=False, commercial=USES, derivatives=True, different_licence=True
    )),
    **dict.fromkeys(("cc-by-sa-4.0", "cc-by-sa-3.0"), Licence(
        no_credit=False, commercial=USES, derivatives=True, different_licence=False
    )),
    **dict.fromkeys(("cc-by-nd-4.0",), Licence(no_credit=False, commercial=USES, derivatives=False)),
    **dict.fromkeys(("creativeml-openrail-m", "openrail", "openrail++", "bigscience-openrail-m"), Licence(
        commercial=USES, derivatives=True, different_licence=False
    )),
}  # fmt: skip
_NON_COMMERCIAL = re.compile(r"(?:^|[-_ ])(?:nc|non-?commercial)(?:$|[-_ ])")


def read_licence(model: Mapping[str, object]) -> Licence:
    """Return the licence that a Civitai page's flags state; a flag that is missing or strange is unknown.

    `allowCommercialUse` comes in three forms. A list is taken as it is written, as the site itself reads it today:
    `["Sell"]` alone allows no selling of images. So is the list in braces of the database's export. A bare word is
    of 2023, when None < Image < Rent < Sell were steps and each allowed those below it.

    >>> read_licence({"allowCommercialUse": "Rent", "allowNoCredit": True}).commercial
    ('image', 'rentcivit', 'rent')
    >>> read_licence({"allowCommercialUse": ["Sell"]}).commercial, read_licence({}).commercial
    (('sell',), None)
    """
    return Licence(
        no_credit=_flag(model.get("allowNoCredit")),
        commercial=_commercial(model.get("allowCommercialUse")),
        derivatives=_flag(model.get("allowDerivatives")),
        different_licence=_flag(model.get("allowDifferentLicense")),
    )


def named_licence(name: object) -> Licence:
    """Return a licence known by name, as Hugging Face cards and ModelSpec headers state it.

    Terms are filled in only for licences whose text leaves no doubt; `other`, a base model's community licence and
    every name that is not known keep the name alone.

    >>> [named_licence(name).commercial for name in ("mit", "cc-by-nc-4.0", "other")]
    [('image', 'rentcivit', 'rent', 'sell'), (), None]
    """
    if isinstance(name, list | tuple) and len(name) == 1:
        name = name[0]
    spelt = clean_line(name, 100) if isinstance(name, str) else None
    if spelt is None:
        return Licence()
    key = spelt.lower()
    terms = _NAMES.get(key)
    if terms is None:
        return Licence(name=spelt, commercial=() if _NON_COMMERCIAL.search(key) else None)
    return Licence(
        name=spelt,
        no_credit=terms.no_credit,
        commercial=terms.commercial,
        derivatives=terms.derivatives,
        different_licence=terms.different_licence,
    )


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _commercial(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        word = value.strip().lower()
        if not (word.startswith("{") and word.endswith("}")):
            return _LADDER.get(word)
        value = word[1:-1].split(",") if word != "{}" else []
    if not isinstance(value, list | tuple):
        return None
    words = {word.strip().strip('"').lower() for word in value[:20] if isinstance(word, str)}
    known = tuple(use for use in USES if use in words)
    # A list of nothing we know is no answer; an empty one, or `None` written out, is.
    return known if known or not value or words == {"none"} else None
