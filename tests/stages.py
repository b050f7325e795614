"""The stages as commands on a small library, and what they leave behind, told so that two runs can be compared."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from chat_server import Reply, said
from forked import Ended, Forge
from PIL import Image
from safetensors.numpy import load_file, save_file

from velatura.playground.library import find_weights, make_library

NAMES = ("index", "refine", "embed", "run", "eval")

PROMPTS = (
    "a red fox in the snow", "a rocket at sunset, stained glass style", "a blue boat on the sea", "a tree at night",
)  # fmt: skip

_RANDOM = {"word_change": ("stamp", "id"), "encoder": ("stamp",), "adapter": ("missing_since",), "meta": ("value",)}
"""Columns that are drawn at random, or tell when something was."""
_SHADOWS = ("_data", "_idx", "_content", "_docsize", "_config")
_SECONDS = ("seconds", "timings", "retrieve", "compose")
_UNFINISHED = re.compile(r"\.part|\.tmp|-journal|-wal|-shm|(^|/)tmp[a-z0-9_]{8}$|(^|/)\.[^/]*[-.][a-z0-9_]{8}$")
"""What is left of a file that was being written."""
_DERIVED = (".faiss", ".words", ".lock")
"""Index files, which hold random stamps, and are told by what is found; and locks, which are empty."""


@dataclass
class Shot:
    """What came of one run that was killed, repeated, perhaps killed again, and repeated to its end."""

    moments: list[float]
    """After how many seconds each kill came."""
    differing: list[str]
    """What is not as the undisturbed run leaves it."""
    unsound: list[str]
    """What a kill left under its own name, and not whole."""
    kept: list[str]
    """What a kill left of files that were being written."""
    left_over: list[str]
    """What of it is still there after the last, whole run."""
    failure: str = ""
    """Of the last run."""


@dataclass(frozen=True)
class Way:
    """A stage from where it begins."""

    name: str
    start: Path
    """The folder as it is before."""
    commands: tuple[tuple[str, ...], ...]
    told: bool = False
    """Whether what it finds is compared, too."""


class Workshop:
    """Does stages in one folder, which is laid out anew each time, as paths stand in what is compared.

    Args:
        folder: Where all of it goes.
        forge: Runs the commands.
        llm: The address of the language model; see `answer`.
        size: How many adapters there are beside the playground's.
        pictures: How many are painted of each prompt.
        prompts: What is searched for and painted.
    """

    def __init__(
        self,
        folder: Path,
        forge: Forge,
        *,
        llm: str,
        size: int = 60,
        pictures: int = 1,
        prompts: Sequence[str] = PROMPTS,
    ) -> None:
        self.folder, self.forge, self.pictures, self.prompts = folder, forge, pictures, prompts
        self.home = folder / "home"
        self.environment = {
            "VELATURA_LLM": "stand-in", "VELATURA_LLM_URL": llm, "OPENAI_API_KEY": "none", "COLUMNS": "200",
        }  # fmt: skip
        self._size = size
        self._whole: dict[str, tuple[dict[str, str], float]] = {}
        self._weights = find_weights()

    def ways(self, names: Sequence[str] = NAMES) -> dict[str, list[Way]]:
        """Make ready each way of each stage; a stage begins with what the ones before it leave."""
        last = max(map(NAMES.index, names))
        found = {name: [*getattr(self, f"_{name}")()] for name in NAMES[: last + 1]}
        return {name: found[name] for name in names}

    def lay_out(self, way: Way) -> None:
        """Make the folder as it is before a stage."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(way.start, self.home, copy_function=_copy)

    def do(self, way: Way, kill: float | None = None) -> Ended:
        """Do a stage."""
        return self.forge.run(*way.commands, home=self.home, kill=kill, **self.environment)

    def state(self, way: Way, ended: Ended) -> dict[str, str]:
        """Return what there is after a stage."""
        return state_of(self.home) | ({"(found)": _found(ended.stdout)} if way.told else {})

    def shoot(self, way: Way, moments: Sequence[float]) -> Shot:
        """Do a stage, killed at each of these moments after it began and repeated, then to its end.

        Args:
            way: The stage.
            moments: Seconds; one at which it had ended already is left out of what is told.
        """
        whole, _ = self.whole(way)
        shot = Shot([], [], [], [], [])
        self.lay_out(way)
        for moment in moments:
            if not self.do(way, moment).killed:
                break
            shot.moments.append(moment)
            shot.kept += left_over(self.home)
            shot.unsound += unsound(self.home)
        ended = self.do(way)
        if ended.code:
            shot.failure = ended.stderr or f"exit code {ended.code}"
        state = self.state(way, ended)
        shot.differing = sorted(name for name in state.keys() | whole.keys() if state.get(name) != whole.get(name))
        shot.unsound += unsound(self.home)
        shot.left_over = left_over(self.home)
        return shot

    def whole(self, way: Way) -> tuple[dict[str, str], float]:
        """Return what an undisturbed run of a stage leaves, and the seconds that it takes."""
        if way.name not in self._whole:
            self.lay_out(way)
            ended = self.do(way)
            if ended.code:
                raise RuntimeError(f"{way.name} ended with {ended.code}: {ended.stderr}")
            self._whole[way.name] = self.state(way, ended), ended.seconds
        return self._whole[way.name]

    # ---------------------------------------------------------------- the stages

    def _index(self) -> Iterator[Way]:
        index = ("index", "loras", "elsewhere.json", "--no-embed", "--json")
        older, new = self.folder / "older", self.folder / "new"
        make_library(self._weights / "loras", self.home)
        for number in range(self._size + 10):
            write_adapter(self.home / "loras", number, title=None if number % 5 else "Called otherwise")
        ended = self.forge.run(index, home=self.home)
        if ended.code:
            raise RuntimeError(ended.stderr)
        for number in range(self._size):
            write_adapter(self.home / "loras", number)
        for path in (self.home / "loras").glob("*"):
            if (found := re.match(r"number (\d+)\.", path.name)) and int(found[1]) >= self._size:
                path.unlink()
        shutil.copytree(self.home, older, copy_function=_copy)
        shutil.copytree(self.home, new, copy_function=_copy, ignore=shutil.ignore_patterns("catalogue.db*"))
        yield Way("index, an older catalogue", older, (index,))
        yield self._left(Way("index, no catalogue", new, (index,)), "indexed")

    def _refine(self) -> Iterator[Way]:
        start = self.folder / "indexed"
        asking = ("refine", "--describer", "vlm", "--workers", "4", "--no-embed")
        yield Way("refine, a language model", start, (asking,))
        yield self._left(Way("refine, rules", start, (("refine", "--describer", "card", "--no-embed"),)), "refined")

    def _embed(self) -> Iterator[Way]:
        searches = tuple(("search", prompt, "--json") for prompt in self.prompts)
        way = Way("embed, search", self.folder / "refined", (("embed",), *searches), told=True)
        yield self._left(way, "embedded")

    def _run(self) -> Iterator[Way]:
        start = self.folder / "embedded"
        (start / "prompts.txt").write_text("\n".join(self.prompts), encoding="utf-8")
        paint = ("run", "prompts.txt", "-o", "pictures", "-n", str(self.pictures), *self._quick)
        yield Way("run", start, (paint,))

    def _eval(self) -> Iterator[Way]:
        plan = ("--methods", "base,velatura", "--guidances", "1,2", "--samples", str(self.pictures))
        paint = ("eval", "run", "-o", "experiment", "--prompts", "prompts.txt", *plan, *self._quick)
        seen = ("--clip", str(self._weights / "evaluator"))
        extract = ("eval", "extract", "experiment", *seen)
        report = ("eval", "report", "experiment", *seen, "--baseline", "base", "-o", "report")
        embedded = self.folder / "embedded"
        self._left(Way("eval, paint", embedded, (paint,)), "experiment")
        yield Way("eval, paint and extract", embedded, (paint, extract))
        yield Way("eval, extract and report", self.folder / "experiment", (extract, report))

    @property
    def _quick(self) -> tuple[str, ...]:
        return ("--model", str(self._weights / "base"), "--steps", "3", "--device", "cpu")

    def _left(self, way: Way, name: str) -> Way:
        """Keep the folder as a stage leaves it, for the next one to begin with."""
        self.whole(way)
        shutil.copytree(self.home, self.folder / name, copy_function=_copy)
        return way


def answer(body: Mapping[str, Any]) -> Any:
    """Answer as a language model would that describes adapters: what it says hangs on the title alone."""
    found = re.search(r"title: ([^\n]+)", json.dumps(body["messages"][-1]["content"]).replace("\\n", "\n"))
    title = "nothing" if found is None else found[1].strip('" ')
    told = {
        "description": f"It draws {title}.", "category": "animal", "facets": {"subject": title}, "avoid": "",
        "triggers": [], "weight": None, "evidence": "",
    }  # fmt: skip
    return Reply(*said(json.dumps(told)), delay=0.005)


def write_adapter(folder: Path, number: int, *, title: str | None = None) -> None:
    """Write a LoRA of one small layer, with its card beside it."""
    chance = np.random.default_rng(number)
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{layer}.lora_down.weight": chance.standard_normal((4, 8)).astype(np.float16),
        f"{layer}.lora_up.weight": chance.standard_normal((8, 4)).astype(np.float16),
        f"{layer}.alpha": np.array(4, np.float32),
    }
    path = folder / f"number {number}.safetensors"
    save_file(tensors, path, {"ss_output_name": path.stem, "ss_base_model_version": "sd_v1"})
    words = random.Random(number).sample(("fox", "ink", "snow", "glass", "boat", "tree", "night", "tower"), 3)
    card = {
        "activation text": f"{words[0]}{number}", "preferred weight": 0.7, "description": " and ".join(words),
        "sd version": "SD1", "notes": title or f"Painted number {number}",
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")


# ---------------------------------------------------------------- what is there


def state_of(home: Path) -> dict[str, str]:
    """Return what lies in a folder: of each table, manifest, cache and file a digest of what must be equal."""
    told: dict[str, str] = {}
    for path in _files(home):
        name = path.relative_to(home).as_posix()
        if name.startswith("loras/") or path.suffix in _DERIVED or _UNFINISHED.search(name):
            continue
        if path.suffix == ".db":
            told |= {f"{name}: {table}": digest for table, digest in tables(path).items()}
        elif "/features/" in name:
            told |= _features(path, name)
        elif path.suffix == ".jsonl":
            told[name] = _digest(_lines(path))
        elif path.suffix == ".json":
            told[name] = _digest(_timeless(json.loads(path.read_text("utf-8"))))
        else:
            told[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return told


def left_over(home: Path) -> list[str]:
    """Return the files that were being written and are nobody's now.

    The log of a catalogue is not among them: SQLite leaves it, empty, where the last who looked may not write.
    """
    names = (path.relative_to(home).as_posix() for path in _files(home))
    return [name for name in names if _UNFINISHED.search(name) and not name.endswith(("-wal", "-shm"))]


def unsound(home: Path) -> list[str]:
    """Return what is there under its own name and is not whole: databases, pictures, JSON."""
    found = []
    for path in _files(home):
        name = path.relative_to(home).as_posix()
        if name.startswith("loras/") or _UNFINISHED.search(name):
            continue
        try:
            if path.suffix == ".db":
                with closing(sqlite3.connect(path)) as connection:
                    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
                    dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
                assert verdict == "ok", verdict
                assert not dangling, dangling
            elif path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".json":
                json.loads(path.read_text("utf-8"))
            elif path.suffix == ".safetensors":
                load_file(path)
        except Exception as error:
            found.append(f"{name}: {error}")
    return found


def tables(database: Path) -> dict[str, str]:
    """Return a digest of the sorted rows of every table, save for what is random or tells a time."""
    digests = {}
    with closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in sorted(names):
            if name.startswith("sqlite_") or (name.startswith("words_") and name.endswith(_SHADOWS)):
                continue
            columns = [told[1] for told in connection.execute(f'PRAGMA table_info("{name}")')]
            kept = [f'"{column}"' for column in columns if column not in _RANDOM.get(name, ())]
            if name == "adapter":
                kept.append("missing_since IS NULL")
            found = connection.execute(f'SELECT DISTINCT {", ".join(kept)} FROM "{name}"')
            digests[name] = _digest(sorted(map(repr, found)))
    return digests


def _features(path: Path, name: str) -> dict[str, str]:
    """Return of each row of a shard its digest: shards have random names, and may hold any number of rows."""
    place = name.rpartition("/")[0]
    if path.suffix != ".safetensors":
        told = _lines(path)
        return {f"{place}: {image}": f"{size} bytes, {digest}" for image, size, _, digest in told}
    shard = load_file(path)
    return {
        f"{place}: {key.tobytes().hex()}": _digest(row.tobytes().hex())
        for key, row in zip(shard["keys"], shard["rows"], strict=True)
    }


def _found(printed: str) -> str:
    """Return what searches found, of all that was printed."""
    return "\n".join(line for line in printed.splitlines() if line.startswith('{"prompt"'))


def _lines(path: Path) -> list[Any]:
    lines = path.read_text("utf-8", "replace").splitlines()
    try:
        return [_timeless(json.loads(line)) for line in lines]
    except ValueError:
        return [["torn", line, 0, ""] for line in lines]


def _timeless(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {name: _timeless(value) for name, value in plain.items() if name not in _SECONDS}
    return [_timeless(value) for value in plain] if isinstance(plain, list) else plain


def _digest(plain: Any) -> str:
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=16).hexdigest()


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.is_file())


def _copy(source: str, target: str) -> None:
    """Copy with times; adapters, which nothing writes to, are linked."""
    if "/loras/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
