"""Sides of a picture that an adapter decides, found by vocabularies of media, styles, settings, moods and eras."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..words import words

_MOST = 4
"""Words of one facet."""
_LONGEST = 3

_VOCABULARY = {
    "style": """anime, manga, cartoon, comic, realistic, photorealistic, semi-realistic, chibi, pixel art, ukiyo-e,
        art nouveau, art deco, impressionism, expressionism, surrealism, cubism, minimalism, minimalist, pop art,
        baroque, rococo, renaissance, gothic, cyberpunk, steampunk, dieselpunk, solarpunk, biopunk, vaporwave,
        synthwave, flat color, cel shading, line art=lineart, line art, ligne claire, graffiti, kawaii, isometric,
        low poly, lowpoly=low poly, abstract, psychedelic, folk art, concept art, fantasy art, retro anime, ghibli,
        disney, pixar, film noir, biomechanical, grunge, y2k, cottagecore, dreamcore, 国风=Chinese traditional,
        水墨=ink wash, 赛博朋克=cyberpunk, 二次元=anime, 写实=realistic, 像素=pixel art""",
    "medium": """watercolor, watercolour=watercolor, oil painting, gouache, acrylic, ink, ink wash, sumi-e, pencil,
        pencil drawing, colored pencil, charcoal, pastel, crayon, sketch, woodcut, woodblock print, linocut, etching,
        engraving, lithograph, fresco, mosaic, stained glass, embroidery, felt, knitted, origami, papercut,
        paper cut, collage, claymation, clay, sculpture, statue, porcelain, 3d render, 3d, voxel, vector,
        photography, photo, film grain, analog photo, polaroid, daguerreotype, screencap, cinematic, blueprint,
        pixel art, ballpoint pen, chalk, airbrush, spray paint, tattoo, sticker, sprite, icon, logo, poster,
        水彩=watercolor, 油画=oil painting, 素描=sketch, 摄影=photography, 剪纸=papercut, 水墨画=ink wash""",
    "setting": """forest, city, cityscape, street, beach, ocean, sea, underwater, mountain, mountains, desert, space,
        outer space, sky, night sky, indoors, outdoors, classroom, school, bedroom, kitchen, bathroom, living room,
        library, office, cafe, restaurant, hospital, church, temple, shrine, castle, dungeon, cave, ruins, garden,
        village, countryside, farm, river, lake, waterfall, snow, rain, night, sunset, sunrise, train station, alley,
        rooftop, battlefield, backrooms, jungle, swamp, island, fantasy world, dystopian, post-apocalyptic,
        wasteland, laboratory, spaceship interior, stage, stadium, market, japan, china, 城市=city, 森林=forest,
        海边=beach, 夜景=night""",
    "mood": """dark, horror, creepy, eerie, cute, cozy, dreamy, ethereal, melancholy, melancholic, romantic, epic,
        dramatic, mysterious, peaceful, serene, nostalgic, surreal, whimsical, gloomy, moody, happy, sad, angry,
        scary, elegant, sexy, playful, psychedelic, majestic, magical, vibrant, colorful, bright, neon, soft, warm,
        liminal, 可爱=cute, 恐怖=horror, 梦幻=dreamy, 黑暗=dark""",
    "era": """prehistoric, ancient, ancient egypt, ancient rome, ancient greece, medieval, renaissance, victorian,
        edo, edo period, meiji, tang dynasty, song dynasty, ming dynasty, qing dynasty, hanfu=ancient China,
        wild west, 1900s, 1920s, 1930s, 1940s, 1950s, 1960s, 1970s, 1980s, 1990s, 2000s, 50s=1950s, 60s=1960s,
        70s=1970s, 80s=1980s, 90s=1990s, world war ii, ww2=world war ii, wwii=world war ii, retro, vintage, modern,
        contemporary, futuristic, sci-fi=future, sci fi=future, science fiction=future, post-apocalyptic,
        cyberpunk=future, steampunk=victorian, 古风=ancient China, 未来=future""",
}
"""By facet: what is looked for, and behind an equals sign what is told of it instead."""


def _table() -> dict[str, list[tuple[str, str]]]:
    table: dict[str, list[tuple[str, str]]] = {}
    for facet, phrases in _VOCABULARY.items():
        for phrase in phrases.split(","):
            seen, _, told = (" ".join(part.split()) for part in phrase.partition("="))
            table.setdefault(" ".join(words(seen)), []).append((facet, told or seen))
    return table


_TABLE = _table()


def facets_of(
    subject: str | None, style: str | None, sure: Sequence[str], likely: Iterable[str] = ()
) -> tuple[tuple[str, str], ...]:
    """Return (facet, words) for each facet that the texts tell, in the order of `records.FACETS`.

    Args:
        subject: Whom or what it draws, where that is known.
        style: What its style is called, where it is one.
        sure: Texts that speak of the adapter: title, tags, triggers, card.
        likely: Texts of pictures made with it, which tell settings, moods and media only.

    >>> facets_of("lighthouse", None, ["Old Lighthouse, oil painting", "80s, cozy"], ["at the beach, anime"])
    (('subject', 'lighthouse'), ('medium', 'oil painting'), ('setting', 'beach'), ('mood', 'cozy'), ('era', '1980s'))
    """
    found: dict[str, dict[str, None]] = {name: {} for name in ("subject", "style", "medium", "setting", "mood", "era")}
    if subject:
        found["subject"][subject] = None
    if style:
        found["style"][style] = None
    for texts, facets in ((sure, found.keys()), (likely, {"setting", "mood", "medium"})):
        for text in texts:
            for facet, told in _told(words(text)):
                if facet in facets:
                    found[facet].setdefault(told)
    return tuple((facet, ", ".join(list(told)[:_MOST])) for facet, told in found.items() if told)


def _told(cut: Sequence[str]) -> Iterable[tuple[str, str]]:
    place = 0
    while place < len(cut):
        for length in range(min(_LONGEST, len(cut) - place), 0, -1):
            found = _TABLE.get(" ".join(cut[place : place + length]))
            if found:
                yield from found
                place += length - 1
                break
        place += 1
