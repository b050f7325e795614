"""What a prompt says of persons, as far as a trigger can contradict it: their sex, their looks, what they wear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from ..words import words


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOOKS = _set("""
hair eyes eye pupils skin bangs ponytail twintails braid braids bun buns ahoge sidelocks ears tail horns wings halo lips
eyebrows eyelashes freckles beard mustache mole heterochromia breasts muscular makeup eyeshadow lipstick fang fangs
smile blush
""")
"""What somebody looks like."""
_OUTFITS = _set("""
dress uniform suit bodysuit leotard swimsuit swimwear bikini kimono yukata hanfu cheongsam qipao armor armour outfit
costume serafuku lingerie pajamas pyjamas gown robe robes toga tuxedo spacesuit jumpsuit overalls tracksuit hoodie naked
nude nudity
""")
CLOTHES = _OUTFITS | _set("""
skirt miniskirt gloves shirt blouse sleeves jacket coat cloak cape vest sweater hat cap beret hood helmet headgear
headdress hairband headband hairclip hairpin ornament tiara crown ribbon bow bowtie necktie tie ascot scarf choker
collar collared necklace earrings bracelet jewelry belt sash apron pants trousers jeans shorts pantyhose tights leggings
stockings thighhighs kneehighs socks legwear boots shoes heels sneakers sandals footwear glasses sunglasses eyewear mask
veil eyepatch frills gauntlets armband midriff sleeveless maid miko clothes clothing
""")
"""What somebody wears."""
COLOURS = _set("""
red blue green yellow orange purple pink black white grey gray brown blonde blond silver golden gold aqua cyan teal
violet beige maroon navy crimson turquoise multicolored rainbow
""")
_LENGTHS = _set("long short medium")

_FEMALE = re.compile(r"\d*(?:girls?|woman|women|females?|waifus?|lady|ladies|she|her|queen|princess|goddess|actress)")
_MALE = re.compile(r"\d*(?:boys?|man|men|males?|guys?|he|his|him|king|prince|gentleman|actor)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prompt asks for."""

    text: str
    """Its words between spaces."""
    words: frozenset[str]
    sexes: frozenset[str]
    looks: frozenset[tuple[str, str]]
    """(colour or length, what has it)."""

    def contradicts(self, phrase: str, beside: Set[str] = frozenset(), *, worn: bool = True) -> bool:
        """Say whether a phrase asks for another sex, colour, length or outfit than the prompt.

        Args:
            phrase: One of an adapter's triggers.
            beside: The words of all that stands with it: an outfit that the prompt asks for may be among them.
            worn: False where outfits contradict nothing.

        >>> asked = read("a girl with black hair in a bikini")
        >>> [asked.contradicts(phrase) for phrase in ("1boy", "blonde hair", "long hair", "skirt", "umbrella")]
        [True, True, False, True, False]
        """
        cut = words(phrase)
        mine = sexes(cut)
        if mine and self.sexes and not mine & self.sexes:
            return True
        for look, thing in _looks(cut):
            theirs = {other for other, has in self.looks if has == thing and (other in _LENGTHS) == (look in _LENGTHS)}
            if theirs and look not in theirs:
                return True
        outfits = self.words & _OUTFITS
        if not worn or not outfits or not CLOTHES.intersection(cut) or self.words.intersection(cut) & CLOTHES:
            return False
        return not outfits & beside


@lru_cache(maxsize=256)
def read(text: str) -> Asked:
    """Return what a plain text asks for."""
    cut = words(text)
    return Asked(f" {' '.join(cut)} ", frozenset(cut), sexes(cut), _looks(cut))


def sexes(cut: Iterable[str]) -> frozenset[str]:
    """Return `female`, `male`, both or neither, as words say it.

    >>> sorted(sexes(["1girl", "and", "her", "king"]))
    ['female', 'male']
    """
    found = set()
    for word in cut:
        if _FEMALE.fullmatch(word):
            found.add("female")
        elif _MALE.fullmatch(word):
            found.add("male")
    return frozenset(found)


def _looks(cut: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Return what has which colour or length, at most one word between: `red silk dress`."""
    return frozenset(
        (word, thing)
        for place, word in enumerate(cut)
        if word in COLOURS or word in _LENGTHS
        for thing in cut[place + 1 : place + 3]
        if thing in LOOKS or thing in CLOTHES
    )
