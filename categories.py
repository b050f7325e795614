"""What an adapter is for, told by rules: its category, and whether it is a tool.

Sites let authors choose a category by tag, and many files have none. The rules add up what the words of each field
speak for; a site's own category tag speaks loudest and does not decide alone, since authors tag an outfit that belongs
to a character with either. Where two are as likely, the one that a composer must be most careful with wins: a person
before an outfit, an outfit before a style.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .records import AdapterRecord
from .words import words

ENOUGH = 0.9
"""The least that must speak for a category; below it none is told."""
_READ = 400
"""Characters of the description that are read: the beginning says what it is, the rest how to use it."""
_GROUPS = 12
"""Groups of triggers that are read, and phrases of each."""
_PHRASE = 120
"""Characters that are read of a tag or a trigger phrase."""

_CAREFUL = (
    "celebrity", "character", "clothing", "pose", "action", "vehicle", "animal", "building", "object",
    "background", "concept", "style",
)  # fmt: skip
"""Of equally likely categories the first wins."""

_SITE = {
    "character": ("character", 4.0), "characters": ("character", 2.0), "celebrity": ("celebrity", 8.0),
    "style": ("style", 4.0), "styles": ("style", 3.0), "concept": ("concept", 3.0), "clothing": ("clothing", 4.0),
    "pose": ("pose", 4.0), "poses": ("pose", 4.0), "background": ("background", 4.0), "building": ("building", 2.5),
    "buildings": ("building", 4.0), "vehicle": ("vehicle", 4.0), "animal": ("animal", 3.5), "action": ("action", 4.0),
    "objects": ("object", 4.0), "object": ("object", 3.0), "assets": ("object", 1.0),
}  # fmt: skip
"""What a site's own category tags speak for. `tool` is missing: authors call a set of icons a tool, too."""

# Words of titles, tags and triggers, by how surely they tell: (category, weight, words). Phrases are between commas.
_VOCABULARY: tuple[tuple[str, float, str], ...] = (
    ("celebrity", 5.0, """celebrity, celebrities, celeb, real person, actress, actor, kpop, k pop, kpop idol,
        influencer, instagram model, instagram, tiktok, tiktoker, youtuber, politician, supermodel, av idol,
        gravure idol, jpop, coser, real life, 明星, 女优, 演员, 网红, 歌手, 女優, 俳優, 芸能人, グラビア, 연예인,
        배우"""),
    ("celebrity", 2.0, """singer, likeness, likenesss, lookalike, look alike, athlete, wrestler, footballer,
        photo model, blogger"""),
    ("character", 2.5, """game character, anime character, video game character, vtuber, character lora, waifu,
        hololive, nijisanji, virtual youtuber, characterpack, character pack, cartoon character, movie character,
        角色, 人物, キャラ, キャラクター, 캐릭터, protagonist, heroine, husbando, oc"""),
    ("character", 1.6, """genshin impact, genshin, honkai, star rail, azur lane, arknights, blue archive, fate, fgo,
        pokemon, touhou, naruto, one piece, bleach, dragon ball, league of legends, overwatch, final fantasy,
        fire emblem, persona 5, persona, idolmaster, love live, umamusume, uma musume, kancolle, kantai collection,
        girls frontline, gundam, evangelion, sailor moon, konosuba, re zero, chainsaw man, my hero academia,
        demon slayer, kimetsu no yaiba, jujutsu kaisen, attack on titan, sword art online, spy x family, disney,
        marvel, dc comics, star wars, street fighter, king of fighters, tekken, guilty gear, nikke, princess connect,
        zelda, legend of zelda, mario, resident evil, nier, xenoblade, vocaloid, hatsune miku, precure, code geass,
        danganronpa, granblue fantasy, dragon quest, world of warcraft, warcraft, elden ring, monogatari,
        bocchi the rock, lycoris recoil, oshi no ko, mob psycho, one punch man, jojo, digimon, yu gi oh, rwby,
        avatar, wuthering waves, zenless zone zero, helltaker, undertale, skullgirls, bang dream, girls und panzer,
        kirby, sonic, mortal kombat, metal gear, witcher, cyberpunk edgerunners, splatoon, 原神, 崩坏, 崩壊,
        星穹铁道, 明日方舟, 碧蓝航线, 蔚蓝档案, 碧蓝档案, 东方, 東方, 方舟, 赛马娘, ウマ娘, ブルーアーカイブ,
        アークナイツ"""),
    ("character", 0.7, """woman, women, female, male, man, men, anime girl, 1girl, 1boy, person, princess, queen,
        king, girl, girls, boy, boys, goddess, witch, hero, superhero, villain, cosplay, anime, video game, game,
        少女"""),
    ("clothing", 2.4, """clothing, clothes, outfit, costume, uniform, dress, dresses, suit, bodysuit, armor, armour,
        bikini, swimsuit, kimono, yukata, hanfu, hanbok, cheongsam, qipao, lingerie, skirt, jacket, hoodie, sweater,
        shirt, coat, robe, shoes, boots, heels, high heels, sneakers, stockings, pantyhose, socks, pants, jeans,
        shorts, leotard, corset, cape, gown, wedding dress, apron, sari, ao dai, fashion design, fashion, helmet,
        hat, mask, gloves, earrings, necklace, jewelry, footwear, sportswear, streetwear, headwear, crown, wear,
        tights, cosplay costume, school uniform, maid outfit, leggings, 服装, 服, 衣, 裙, 汉服, 鞋, 旗袍, 水着, 制服,
        浴衣, 着物, 衣装, 의상, 옷, 한복"""),
    ("pose", 2.4, """pose, poses, posing, pov, sitting, squatting, kneeling, standing, lying, crouching, from behind,
        from above, from below, multiple views, character sheet, turnaround, handstand, v sign, peace sign, hands on,
        hand on, arms up, leaning, looking back, back view, side view, yoga, gesture, selfie, finger, legs up,
        hand gesture, perspective, full body, 姿势, 动作, ポーズ, 自拍, 자세, 포즈"""),
    ("action", 2.2, """action, kissing, kiss, hug, hugging, fighting, running, jumping, dancing, dance, eating,
        drinking, smoking, sleeping, crying, swimming, riding, holding hands, bathing, reading, slapping, aiming,
        punching, falling, fallen down, licking, biting, carrying, laughing, grab, grabbing, 接吻, 战斗, 吃"""),
    ("vehicle", 2.6, """vehicle, vehicles, car, cars, motorcycle, motorbike, truck, tank, spaceship, spaceships,
        spacecraft, starship, ship, boat, submarine, aircraft, airplane, plane, jet, fighter jet, helicopter, train,
        locomotive, bicycle, bike, scooter, bus, racing car, car design, warship, battleship, ferrari, porsche,
        lamborghini, bmw, toyota, nissan, honda, mazda, tesla, ford, 汽车, 车, 飞船, 坦克, 機車, 車"""),
    ("animal", 2.4, """animal, animals, dog, puppy, cat, cats, kitten, horse, bird, birds, fish, dinosaur, dinosaurs,
        tiger, lion, wolf, fox, bear, rabbit, bunny, snake, frog, insect, spider, butterfly, shark, whale, dragon,
        dragons, pony, panda, capybara, corgi, shiba, hamster, owl, eagle, deer, elephant, pet, pets, creature,
        creatures, turtle, octopus, mouse, pig, monkey, cow, chicken, 动物, 猫, 狗, 犬, 马, 龙, 鸟, 동물, 고양이"""),
    ("building", 2.4, """building, buildings, architecture, architectural, architecture design, house, houses,
        castle, temple, church, cathedral, tower, skyscraper, interior design, interior, villa, facade, bridge,
        pavilion, exterior, shrine, palace, ruins, mosque, pagoda, cottage, bathroom, kitchen, bedroom, 建筑, 室内,
        城堡, 建築, 건물"""),
    ("background", 2.2, """background, backgrounds, scenery, landscape, landscapes, scene, environment, cityscape,
        street, forest, city, room, classroom, rooms, sky, night sky, beach, mountain, mountains, ocean, underwater,
        space, garden, village, liminal space, backrooms, park, road, alley, dungeon, battlemap, map, maps, sunset,
        cave, field, swamp, desert, shop, station, wallpaper, stage, office, library, planet, planets, 背景, 场景,
        風景, 风景, 景, 배경"""),
    ("object", 2.2, """object, objects, weapon, weapons, gun, guns, rifle, pistol, sword, swords, food, foods, logo,
        icon, icons, game icon, potion, furniture, product, product design, umbrella, syringe, device, guitar, robot,
        robots, mecha, mech, machine, toy, figure, figurine, statue, book, card, sticker, stickers, emoji, flower,
        flowers, plant, tree, trees, drink, cake, burger, fruit, chair, bag, bottle, phone, glasses, headset, item,
        items, badge, badges, typography, font, frame, texture, textures, asset, game asset, tattoo, tattoos, sprite,
        sprites, armchair, 武器, 食物, 枪, 剑, 图标, 花, 食べ物"""),
    ("concept", 2.0, """concept, expression, expressions, facial expression, face, faces, eyes, eye, pupils, hair,
        hairstyle, haircut, hair style, meme, effect, effects, vfx, inpaint, inpainting, smile, ahoge, ears, tail,
        wings, horns, skin, muscle, muscular, makeup, freckles, tears, teeth, tongue, nose, lips, body, anatomy,
        monster girl, elf, orc, demon, vampire, zombie, monster, monsters, skeleton, mermaid, centaur, angel, goblin,
        cyborg, android, giantess, reflection, mirror, fire, water, smoke, ice, explosion, aura, magic, portal, wet,
        hologram, world morph, glowing, transparent, levitation, petrification, transformation, species,
        creature design, 表情, 眼睛, 头发, 发型, 概念, 表情包, 顔, 目, 髪"""),
    ("style", 3.2, """style, styles, artstyle, art style, style lora, artist style, art styles, 画风, 風格, 风格,
        畫風, 絵柄, スタイル, 画師, 画师, 그림체, 화풍, style of, styled"""),
    ("style", 2.2, """artist, artists, painting, paintings, painter, watercolor, oil painting, sketch, lineart,
        line art, drawing, pixel art, pixelart, pixel, ukiyo e, anime screencap, screencap, screencaps, illustrator,
        3d render, lowpoly, low poly, claymation, papercut, origami, stained glass, vector, flat color, cel shading,
        chibi, screenshots, footage, outline, realism, impressionism, surrealism, art nouveau, art deco, pop art,
        graffiti, retro anime, vaporwave, synthwave, film grain, analog, polaroid, photorealism, lighting,
        light and shadow, aesthetic, esthetic, monochrome, ink, ink wash, ghibli, pixar, voxel, isometric, blueprint,
        knolling, tarot, woodcut, etching, engraving, art, 水墨, 插画, 漫画, 油画, 水彩, 像素, 光影, 线稿, 国风,
        国潮, イラスト, 厚涂, 画, 일러스트"""),
    ("style", 1.3, """illustration, digital illustration, cartoon, comic, comics, manga, concept art, photography,
        colorful, cyberpunk, steampunk, punk, gothic, cinematic, fantasy art, photo realistic"""),
    ("style", 0.4, """realistic, semi realistic, photorealistic, 2d, 3d, digital art, render, retro, vintage,
        abstract"""),
)  # fmt: skip

# What the prose says, whatever the vocabulary says of its words: they are the page's, not the adapter's.
_PROSE: tuple[tuple[str, float, str], ...] = (
    ("celebrity", 2.0, """actress, actor, influencer, instagram, kpop, k pop, tiktok, real person, gravure, 明星,
        网红"""),
    ("character", 1.2, """character from, the character, this character, her outfit, her hair, default outfit,
        requested character, her default, protagonist, heroine, vtuber, main character, is a character,
        fictional character, from the anime, from the game, from the manga, character lora, 角色"""),
    ("character", 0.9, "lora of"),
    ("character", 0.5, "her, she, he, his, him, from, outfit, outfits, character, anime"),
    ("style", 1.5, """style of, art style, style lora, artstyle, painting style, drawing style, style model, artist,
        this style, the style, 画风, 风格, aesthetic, esthetics, artworks, illustrations, paintings"""),
    ("style", 0.5, "style, paint, colors, lighting"),
    ("clothing", 0.9, """clothing, clothes, costume, fashion, kimono, dress, this outfit, armor, wearing, uniform,
        worn, garment, 服装, 衣服, 裙子"""),
    ("pose", 1.4, "pose, poses, pov, this pose, sitting, 姿势"),
    ("background", 1.0, """background, backgrounds, scenery, landscape, landscapes, scenes, environments, 背景, 场景,
        風景"""),
    ("building", 1.2, "architecture, architectural, building, buildings, interior, 建筑, 室内"),
    ("vehicle", 1.2, "vehicle, vehicles, car, cars, spaceship, spaceships"),
    ("animal", 1.2, "animal, animals, cat, dog, dinosaur, dragons, 猫"),
    ("object", 1.0, "weapon, weapons, icons, logo, object, objects, rifle, gun, sword, food, product, machines"),
    ("concept", 1.2, """concept, this concept, expression, expressions, eyes of, hairstyle, effect, effects, meme,
        表情"""),
    ("action", 1.0, "kissing, fighting, dancing, eating, hugging, smoking"),
)  # fmt: skip

_LOOKS = frozenset(
    words("""
hair eyes bangs ponytail ponytails twintails braid ahoge sidelocks ribbon bow gloves sleeves skirt thighhighs shirt
necktie ascot headband choker hairband ornament hairclip hairpin hairbow collar boots cape jacket coat pantyhose horns
ears tail blonde breasts glasses scarf halo serafuku detached pupils kneehighs
""")
)
"""Words by which tags draw a person: two of them among the triggers, and these are those of a certain one."""

_SERIES = re.compile(r"[\w'!.’ -]{2,}[ _]\\?\([\w':!.,\\ -]{3,}\)")
_PARTED = re.compile(r"\S\s*[(（|/／【]\s*\S|\S\s+[-–—|]\s+\S")
_HEAD = re.compile(r"\s*[(（\[【|/／:：,]|\s+[-–—]\s|\b(?:lora|locon|lycoris|loha|model|concept|v\d)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ANYWHERE = (0.9, 1.3)
_PLACED = {"animal": (0.35, 1.2), "object": (0.6, 1.2), "building": (0.8, 1.2)}
"""How much a word of a title counts, elsewhere and as the last of its first part, which says what the thing is: a
dragon maid is no dragon."""
_ANYBODY = frozenset(words("girl girls boy boys woman women man men female male person"))
_SUFFIXES = ("style", "punk", "core", "wave", "ism")
_BRACKETED = re.compile(r"^\s*(?:\[[^\]]*\]|【[^】]*】)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """What an adapter is for, and what told it."""

    name: str
    """One of `records.CATEGORIES`."""
    because: tuple[str, ...]
    """What spoke for it, the surest first, in words."""


def category_of(record: AdapterRecord) -> Category | None:
    """Return what an adapter is for, or None where too little tells it.

    >>> page = AdapterRecord(source="folder", key="a", title="Plate Armor", tags=("armor", "knight"))
    >>> category_of(page)
    Category(name='clothing', because=('title “armor”', 'tag “armor”'))
    >>> category_of(AdapterRecord(source="folder", key="b", title="xyz_v2"))
    """
    if record.real_person:
        return Category(name="celebrity", because=("flagged as a real person",))
    tool = tool_of(record)
    if tool is not None:
        return Category(name="tool", because=(tool.because,))
    found: dict[str, dict[str, float]] = {}
    for category, weight, because in _evidence(record):
        told = found.setdefault(category, {})
        told[because] = max(weight, told.get(because, 0.0))
    if not found:
        return None
    best = max(_CAREFUL, key=lambda name: sum(found[name].values()) if name in found else 0.0)
    told = found[best]
    if sum(told.values()) < ENOUGH:
        return None
    return Category(name=best, because=tuple(sorted(told, key=lambda reason: -told[reason])[:4]))


def is_person(category: str | None) -> bool:
    """Say whether an adapter of this category draws somebody in particular, real or invented."""
    return category in ("celebrity", "character")


# ---------------------------------------------------------------- tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """An adapter that changes the whole picture, whatever it shows."""

    kind: str
    """`speed` (LCM, Lightning, Hyper, Turbo: fewer steps and less guidance), `slider`, `detail`, `light`, `repair`, or
    `negative` (an embedding for the negative prompt)."""
    because: str
    """What told it, in words."""
    steps: int | None = None
    """Of `speed`: the steps that its name tells."""
    less: str | None = None
    """What a weight below zero does, where the card says so."""
    more: str | None = None
    """What a weight above zero does, where the card says so."""


_STEPS = re.compile(r"\b(\d{1,2})[ _-]?steps?\b", re.IGNORECASE)
_TOOLS = tuple(
    (kind, re.compile("|".join(patterns)))
    for kind, patterns in (
        ("speed", (
            r"\blcm\b", r"\bdmd ?2\b", r"\btcd\b", r"\blightx2v", r"\baccelerator\b", "加速", r"\blightning[ -]lora\b",
            r"\bturbo[ -](?:lora|alpha)\b", r"\bhyper[ -]?(?:sdxl|sd|flux)\b",
            r"\b(?:hyper|lightning|turbo)\b.{0,20}\b\d+ ?-?steps?\b",
            r"\b\d+ ?-?steps?\b.{0,20}\b(?:hyper|lightning|turbo)\b",
            r"\b(?:sd|sdxl|xl|flux|bytedance|qwen|wan)\W{0,3}(?:lightning|turbo)\b",
        )),
        ("negative", (
            r"\beasy ?negative", r"\b(?:bad ?(?:prompt|dream|artist|picture)|(?:deep|fast) ?negative|unaesthetic)",
            r"\bbad[ -]?hands?\b(?!.*fix)", r"\bnegative (?:embedding|hand|lora)",
        )),
        ("slider", (r"sliders?\b", "滑块", "スライダー", r"<\W?>", "[↔⇔]")),
        ("light", (
            r"noise ?offset", r"offset ?noise", r"\blowra\b", "(?:饱和度|对比度|亮度)调",
            r"(?:contrast|saturation|brightness|exposure|gamma|hue|colou?r) "
            r"(?:tweak|fix|control|adjust|correct|enhanc|boost)",
            r"(?:fix|enhanc\w*|control|adjust) (?:contrast|saturation|brightness|exposure)",
        )),
        ("detail", (
            r"\badd[ -]?(?:more[ -]?)?details?", r"\bmore ?details?\b", r"\benhancers?\b", r"\btweak(?:e|er)?s?\b",
            r"details? ?(?:mak|tweak|enhanc|adjust|boost|improv|fix|maximi|lora\b)", r"detailer\b", "细节(?:调|增强)",
            r"\b(?:quality|sharpness|image) (?:boost|enhanc|fix)", "細節調", r"\bsharpener\b", r"\bde-?blur",
            r"\bimprove (?:background|detail|quality)", r"detail ?(?:and|&) ?light", r"\badjusters?\b", "xenodetail",
        )),
        ("repair", (
            r"\b(?:better|good|perfect|fix(?:ed|ing)?|improved?|correct|nice|quick)[ -]?"
            r"(?:hands?|fingers?|feet|anatomy|limbs?)\b", "修手", r"\bbad[ -]?hands?\b.*fix",
            r"\b(?:hands?|fingers?|feet|anatomy|eyes?|faces?|vae)[ -]?(?:fix(?:er|es)?|repair|correct\w*)\b",
            r"\bbetter eyes?\b.{0,3}(?:face|skin)",
        )),
    )
)  # fmt: skip
_HINT = re.compile(
    "lcm|dmd|tcd|lightx|accel|加速|turbo|hyper|lightning|negative|bad|unaesth|slider|滑块|スライダー|[<↔⇔]|offset|"
    "lowra|饱和|对比|亮度|contrast|saturat|bright|expos|gamma|hue|colou?r|detail|enhanc|tweak|adjust|细节|細節|quality|"
    "sharp|image|blur|improve|fix|better|good|perfect|correct|nice|quick|repair|修手"
)
"""Where none of these stands no pattern matches."""
_BOTH_WAYS = re.compile(r"negative|minus|below (?:0|zero)|负|-\d(?:\.\d)? ?(?:to|~|～|至|到|-) ?\+?\d", re.IGNORECASE)
_WAY = (
    r"\b{} ?(?:weights?|values?|strengths?|numbers?)?"
    r"(?: will| to| for| makes?| gives?| is| are|:|=| can| would)+ ?([^.,;:\n()]{{3,50}})"
)
_LESS, _MORE = (re.compile(_WAY.format(way), re.IGNORECASE) for way in ("negative", "positive"))


def tool_of(record: AdapterRecord) -> Tool | None:
    """Return what kind of tool an adapter is, or None where it draws something.

    >>> tool_of(AdapterRecord(source="folder", key="a", title="SDXL Lightning 4-step LoRA"))
    Tool(kind='speed', because='title “sdxl lightning”', steps=4, less=None, more=None)
    >>> tool_of(AdapterRecord(source="folder", key="b", title="Lightning Farron"))
    """
    for field, text in _names(record):
        if not _HINT.search(text):
            continue
        for kind, pattern in _TOOLS:
            # A file's name tells what else was done to it: `raiden-handsfix` is no tool.
            by_title = field == "title" or kind in ("speed", "slider")
            if match := pattern.search(text) if by_title else pattern.match(text):
                because = f"{field} “{match[0].strip()}”"
                if kind == "speed":
                    steps = next((int(seen[1]) for _, name in _names(record) if (seen := _STEPS.search(name))), None)
                    return Tool(kind=kind, because=because, steps=steps)
                less, more = _directions(record)
                return Tool(kind=kind, because=because, less=less, more=more)
    if any(tag.casefold() in ("slider", "sliders") for tag in record.tags):
        less, more = _directions(record)
        return Tool(kind="slider", because="tag “slider”", less=less, more=more)
    return None


def _names(record: AdapterRecord) -> Iterator[tuple[str, str]]:
    yield "title", record.title[:300].lower().replace("_", " ")
    for field, name in (("file name", record.file_name), ("version", record.version_name)):
        if name:
            yield field, name[:200].lower().replace("_", " ")


def _directions(record: AdapterRecord) -> tuple[str | None, str | None]:
    text = (record.notes or record.description or "")[:2000]
    if not _BOTH_WAYS.search(text):
        return None, None
    less, more = _LESS.search(text), _MORE.search(text)
    return less and less[1].strip(), more and more[1].strip()


# ---------------------------------------------------------------- evidence


_Table = dict[str, tuple[str, tuple[tuple[str, float], ...]]]
"""By the words of a phrase: the phrase as it is written, and (category, weight) of each that it speaks for."""


def _table(vocabulary: Sequence[tuple[str, float, str]]) -> _Table:
    table: _Table = {}
    for category, weight, phrases in vocabulary:
        for phrase in phrases.split(","):
            cut = words(phrase)
            _, known = table.get(" ".join(cut), ("", ()))
            if all(category != name for name, _ in known):
                table[" ".join(cut)] = (" ".join(phrase.split()), (*known, (category, weight)))
    return table


_SPEAKS = _table(_VOCABULARY)
_SAYS = _table(_PROSE)
_BEGINS = {key.split()[0] for key in (*_SPEAKS, *_SAYS) if " " in key}
_LONGEST = max(len(key.split()) for key in (*_SPEAKS, *_SAYS))


def _found(cut: Sequence[str], table: _Table) -> Iterator[tuple[str, int, tuple[tuple[str, float], ...]]]:
    """Yield (phrase, place of its last word, what it speaks for) of the table's phrases, the longest at each place."""
    place, count = 0, len(cut)
    while place < count:
        key, length = cut[place], 1
        if key in _BEGINS:
            for more in range(min(_LONGEST, count - place), 1, -1):
                longer = " ".join(cut[place : place + more])
                if longer in table:
                    key, length = longer, more
                    break
        found = table.get(key)
        if found is not None:
            yield found[0], place + length - 1, found[1]
        place += length


def _evidence(record: AdapterRecord) -> Iterator[tuple[str, float, str]]:
    """Yield (category, weight, reason)."""
    yield from _of_title(record)
    yield from _of_tags(record)
    yield from _of_triggers(record)
    cut = words((record.notes or record.description or "")[:_READ])
    for phrase, _, spoken in _found(cut, _SAYS):
        for category, weight in spoken:
            yield category, 0.7 * weight, f"described with “{phrase}”"
    looks = _LOOKS.intersection(cut)
    if len(looks) >= 2:
        yield "character", min(0.4 * len(looks), 2.0), f"described by looks ({', '.join(sorted(looks)[:3])})"


def _of_title(record: AdapterRecord) -> Iterator[tuple[str, float, str]]:
    title = _BRACKETED.sub("", record.title[:300])
    head = words(_HEAD.split(title, maxsplit=1)[0])
    cut = words(_CAMEL.sub(" ", record.title[:300]))
    for phrase, place, spoken in _found(cut, _SPEAKS):
        last = bool(head) and head[-1] == cut[place]
        if last and phrase in _ANYBODY:
            yield "concept", 1.5, f"title of anybody (“{phrase}”)"
            continue
        for category, weight in spoken:
            yield category, _PLACED.get(category, _ANYWHERE)[last] * weight, f"title “{phrase}”"
    for word in cut:
        if word.endswith(_SUFFIXES) and word not in _SPEAKS:
            yield "style", 2.0, f"title “{word}”"
    if _PARTED.search(title):
        yield "character", 0.8, "title in two parts, as of a name and where it is from"
    if record.version_name:
        for phrase, _, spoken in _found(words(record.version_name[:100]), _SPEAKS):
            for category, weight in spoken:
                yield category, 0.3 * weight, f"version “{phrase}”"


def _of_tags(record: AdapterRecord) -> Iterator[tuple[str, float, str]]:
    title = f" {' '.join(words(record.title[:300]))} "
    for tag in record.tags[:40]:
        low = tag[:_PHRASE].casefold()
        if low in _SITE:
            yield (*_SITE[low], f"tag “{low}”")
            continue
        cut = words(low)
        told = False
        for phrase, place, spoken in _found(cut, _SPEAKS):
            told = True
            for category, weight in spoken:
                yield category, (0.8 if place == len(cut) - 1 else 0.5) * weight, f"tag “{phrase}”"
        if not told and len(cut) >= 2 and f" {' '.join(cut)} " in title:
            yield "character", 0.7, f"“{low}” in title and tags, as a name is"


def _of_triggers(record: AdapterRecord) -> Iterator[tuple[str, float, str]]:
    phrases = [phrase[:_PHRASE] for group in record.triggers[:_GROUPS] for phrase in group[:_GROUPS]]
    phrases += [tag[:_PHRASE] for tag, _ in record.training_tags[:30]]
    cuts = [words(phrase) for phrase in phrases]
    looks = _LOOKS.intersection(word for cut in cuts for word in cut)
    drawn = len(looks) >= 2
    for phrase in phrases:
        if phrase[-1:] == ")" and _SERIES.fullmatch(phrase):
            yield "character", 2.0, f"trigger “{phrase}”, a name and its series"
    for cut in cuts[:3]:
        for found, _, spoken in _found(cut, _SPEAKS):
            if not (drawn and found in _LOOKS):
                for category, weight in spoken:
                    yield category, 0.5 * weight, f"trigger “{found}”"
    if drawn:
        yield "character", min(0.5 * len(looks), 2.5), f"triggers of looks ({', '.join(sorted(looks)[:3])})"
