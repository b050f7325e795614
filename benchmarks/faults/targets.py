"""Every reader of what strangers write, as a function from bytes: what it may raise, and samples to begin with.

Each target hands its bytes to a reader as a file, a page, a reply or a line of it would come, and holds what comes out
to what is promised: a record can be stored and read back, and numbers are finite. It may raise the errors of
`velatura.errors`, which are one sentence each, and nothing else.

What is read, by whom, and under which names here:

- Civitai's pages and dumps: `catalog.civitai_json`, `json_dump`, `civitai`: `civitai-page`, `civitai-dump`
- Hugging Face's models and cards: `catalog.huggingface_json`, `huggingface`: `huggingface-model`, `huggingface-dump`
- the prose of cards: `catalog.text`, `triggers`, `weights`, `licence`, `nsfw`; `categories`; `refiner.card`: `prose`
- safetensors, to index: `catalog.header`, `training`, `layout`, `identity`, `unfinished`: `safetensors`,
  `safetensors-header`; to paint: `generation.adapters`, `kinds`, `esrgan`: `adapter-file`, `adapter-header`,
  `peft-config`
- configurations of models: `refiner.bert`, `clip`, `clip_input`; `eval.extract`; `generation.kinds`: `model-folder`
- sidecars: `catalog.sidecars` and `sidecar_*`: `sidecar-*`, one for each kind
- other programs' settings in YAML, JSON, INI and shell: `catalog.programs`, `installs`: `installed`
- texts in PNG, JPEG and WebP: `generation.picture_text`, `story`: `picture-texts`, `png-text`, `exif`
- pictures: `refiner.picture_file`, `generation.pictures`, `generation.remote.pictures`, `server.uploads`: `picture`
- A1111's text, tags, AIR, CSV: `parameters`, `syntax`, `air`, `generation.prompt_weights`: `parameters`, `prompt`
- workflows, recipes and lists of ComfyUI, rgthree, Lora Manager, InvokeAI, SwarmUI: `composer.formats`: `format`,
  `workflow`
- our compositions and requests: `plain`, `generation.story`: `composition`, `request`
- replies of language models: `llm`, `answers`, and whoever asks: `answer`, `answer-*`, `reply`
- what other servers answer: `generation.remote`, `a1111`, `comfyui`; `catalog.http_json`: `server-reply`
- manifests and results: `generation.runs`, `eval.manifest`, `eval.judge`, `eval.report`, `eval.survey`: `manifest`,
  `samples`, `transcripts`, `results`, `survey`
- prompts, and what people said: `eval.datasets`, `eval.judge.agreement`: `prompts-*`, `people-*`
- plans and moments: `eval.grid`, `eval.moments`: `plan`, `moments`
- datasets and downloads: `dataset.manifest`; `fetching.file_name`: `dataset-manifest`, `file-name`
- settings: `settings`, `settings_file`: `settings`
- requests: `server.own.models`, `server.openai`, `server.a1111`, `server.mcp`, `server.guard`: `api`, `headers`
- our own files: `db.codec`, `retriever`, `refiner.batch_ledger`, `experiment`: `own-*`
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import copy
import io
import json
import math
import os
import random
import shutil
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from velatura.air import parse_air
from velatura.answers import object_in
from velatura.catalog import (
    adapter_file,
    civitai,
    civitai_json,
    http_json,
    huggingface,
    huggingface_json,
    identity,
    installs,
    json_dump,
    licence,
    nsfw,
    programs,
    sidecars,
    training,
    triggers,
    unfinished,
    weights,
)
from velatura.catalog import text as card_text
from velatura.categories import category_of, tool_of
from velatura.composer import llm as composer_llm
from velatura.composer import stylus
from velatura.composer.formats import FORMATS, foreign, load_workflow, read, write
from velatura.dataset import manifest as dataset_manifest
from velatura.db import codec
from velatura.errors import VelaturaError
from velatura.eval import datasets, former, grid, moments
from velatura.eval import manifest as eval_manifest
from velatura.eval.judge import agreement, templates, transcripts
from velatura.eval.report import stored
from velatura.eval.report.results import Results
from velatura.eval.survey import files as survey_files
from velatura.experiment import _Kept
from velatura.fenced import card as fenced_card
from velatura.fetching.file_name import safe_file_name
from velatura.generation import hub, kinds, picture_text, pictures, prompt_weights, story
from velatura.generation.adapters import file as adapters_file
from velatura.generation.adapters import names as adapters_names
from velatura.generation.adapters import peft_config
from velatura.generation.remote import names as remote_names
from velatura.generation.remote import pictures as remote_pictures
from velatura.generation.remote import server as remote_server
from velatura.generation.runs import manifest
from velatura.llm import LanguageModel, usage_of
from velatura.parameters import parse_parameters
from velatura.plain import loads, to_plain
from velatura.records import (
    AdapterRecord,
    Candidate,
    Composition,
    GenerationRequest,
    RefinedAdapter,
    Refinement,
    Rejection,
)
from velatura.refiner import batch_ledger, interrogate_llm, passages, picture_file, vlm_text
from velatura.refiner.card import CardDescriber
from velatura.retriever import llm_rerank, postings, segment
from velatura.settings import load_settings
from velatura.settings_file import merge_settings
from velatura.syntax import phrases, pinned, plain_text, quoted, without_tags

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 0.5, 2**31, 2**63, 10**40, 10**400, -(10**400), 1e308, 5e-324, -0.0,
    "", " ", "x", "\ud800", "\udfff\ud800", "\0", "\x1b[2J", "\u202eevil", "é" * 300, "x" * 5000,
    "../../etc/passwd", "C:\\con", "nul", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/x", "https://[::1",
    "<script>alert(1)</script>", "<lora:x:1>", "<lora:x:1e999>", "&#" + "1" * 5000 + ";", "&#x110000;", "9" * 5000,
    "1e999", "nan", "-inf", "١٢", "²", "true", "null", "{}", "[]", "2024-99-99T99:99:99Z", "a,b,c", "||", "--- \n---\n",
    [], [[]], {}, {"": None}, [None], ["a", 1, None], [1, 2, 3], {"id": {}}, {"x": [{"y": [{}]}]},
)  # fmt: skip
"""What stands where something else is meant."""

CONSTANTS = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000, "1E+2", '"\\ud800"', "[" * 300 + "]" * 300)
"""What is no value of Python's that JSON writes so, and is read all the same."""


@dataclass(frozen=True)
class Target:
    """One reader, or several that read the same."""

    name: str
    read: Callable[[bytes], object]
    """May raise `VelaturaError`, and nothing else."""
    seeds: tuple[bytes, ...]
    form: str = "bytes"
    """`json`, `text` or `bytes`: how what is made of the seeds is likeliest read."""
    largest: int = 200_000
    """Bytes of what must be read in the time allowed."""
    ending: str = ""
    """Of the file that it is read from, where that counts."""


# ---------------------------------------------------------------------------------------------------- promises


def storable(record: object) -> None:
    """Hold a record to what the catalogue, a search and a page do with it."""
    if isinstance(record, Rejection):
        assert len(record.reason) < 2000, "a reason is one sentence"
        assert record.reason.isprintable(), "a reason can be printed"
        return
    assert isinstance(record, AdapterRecord)
    text, _ = codec.dump(record)
    assert codec.load(text) == codec.load(codec.dump(codec.load(text))[0])
    for name in ("size", "downloads", "nsfw", "file_id", "model_id", "version_id", "rank"):
        value = getattr(record, name)
        assert not isinstance(value, int) or -(2**63) <= value < 2**63, f"{name} does not fit into a database"
    for name in ("title", "description", "notes", "creator", "base_model", "url", "version_name"):
        value = getattr(record, name)
        assert value is None or isinstance(value, str | int), f"{name} is {type(value).__name__}"
        if isinstance(value, str):
            value.encode()
    assert record.url is None or record.url.startswith(("https://", "http://")), "a link leads to the web"
    assert all(math.isfinite(one.weight) for one in record.weights)
    finite(to_plain(Candidate(adapter=RefinedAdapter(id=1, record=record, refinement=NOTHING), score=0.5)))


def described(record: object) -> None:
    """Make of a record what the refiner and the composer make of it."""
    storable(record)
    if isinstance(record, AdapterRecord):
        refined = RefinedAdapter(id=1, record=record, refinement=NOTHING)
        CardDescriber().describe(refined)
        passages.passages(refined)
        fenced_card(refined, 600)
        vlm_text.question(record)
        category_of(record)
        tool_of(record)


def finite(plain: object) -> None:
    """Hold plain values to what JSON can tell."""
    json.dumps(plain, allow_nan=False)


NOTHING = Refinement()


# ---------------------------------------------------------------------------------------------------- files


@cache
def scratch() -> Path:
    """A folder in memory for what must be read from a file."""
    memory = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="velatura-fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Hand the bytes to a reader of files."""

    def target(data: bytes) -> object:
        path = scratch() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return read(path)

    return target


def text_of(data: bytes) -> str:
    """Text as it comes from JSON, with halves of surrogate pairs in it."""
    return (
        data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace")
        if _decodes(data)
        else data.decode("latin-1")
    )


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def value_of(data: bytes) -> Any:
    """What Python's own reader of JSON makes of it."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise VelaturaError("not JSON") from None


# ---------------------------------------------------------------------------------------------------- catalogue


def civitai_page(data: bytes) -> None:
    for record in civitai_json.read_page(json_dump.parse(data, "page")):
        described(record)


def dump(source: Callable[[Path], Any]) -> Callable[[Path], None]:
    def target(path: Path) -> None:
        for entry in source(path).entries():
            if isinstance(entry, Rejection):
                storable(entry)
                continue
            with contextlib.suppress(VelaturaError):
                for record in entry.read():
                    storable(record)

    return target


def huggingface_model(data: bytes) -> None:
    model = json_dump.parse(data, "model")
    for record in huggingface_json.read_model(huggingface.plain_model(model)):
        described(record)


def prose(data: bytes) -> None:
    text = text_of(data)
    for cleaned in (card_text.clean_html(text), card_text.clean_text(text, 2000), card_text.clean_line(text, 200)):
        assert cleaned is None or (cleaned.strip() and len(cleaned) <= card_text.TEXT_LIMIT)
        if cleaned:
            cleaned.encode()
    for one in weights.weights_in_prose(text[: card_text.TEXT_LIMIT]):
        assert math.isfinite(one.weight)
    triggers.trigger_groups([text, *text.split("\n")])
    training.read_tags(text)
    licence.named_licence(text)
    licence.read_licence({"allowCommercialUse": text})
    nsfw.read_nsfw(text)
    weights.read_weight(text)
    identity.good_hash(text, 64)
    described(
        AdapterRecord(
            source="folder",
            key="k",
            title=card_text.clean_line(text, 300) or "x",
            description=card_text.clean_html(text),
            triggers=triggers.trigger_groups(text),
            tags=training.read_tags(text),
        )
    )


def safetensors(data: bytes) -> None:
    path = scratch() / "fox.safetensors"
    path.write_bytes(data)
    unfinished.lacks_bytes(str(path), len(data))
    described(adapter_file.read_adapter(f"{path.parent}/", path.name, (), hash_it=len(data) % 2 == 0))


def safetensors_header(data: bytes) -> None:
    """The header is the data; its length, and as many bytes as it promises, are put to it."""
    end = 0
    with contextlib.suppress(Exception):
        end = max(entry["data_offsets"][1] for name, entry in json.loads(data).items() if name != "__metadata__")
    end = end if isinstance(end, int) and 0 <= end <= 10_000 else 0
    safetensors(len(data).to_bytes(8, "little") + data + b"\x3c" * end)


def sidecar(name: str) -> Callable[[bytes], object]:
    beside = sidecars.Beside("fox.safetensors", 1000)

    def target(path: Path) -> None:
        found = sidecars.read_sidecars(f"{path.parent}/", [path.name], beside)
        for told in found.told:
            for value in told.fields.values():
                codec.dump(AdapterRecord(source="folder", key="k", title="t", description=repr(value)))
        for _, problem in found.problems:
            assert problem.isprintable()
        from velatura.catalog.architecture import Architecture
        from velatura.catalog.merge import merge

        fields, provenance = merge(found.told, Architecture("sd1", "x"))
        given = {"title": "Fox", **{key: value for key, value in fields.items() if value is not None}}
        storable(AdapterRecord(source="folder", key="k", provenance=tuple(provenance), **given))

    return in_file(f"sidecars/{name}", target)


def installed(data: bytes) -> None:
    """One text as each of the settings files that other programs keep."""
    root = scratch() / "programs"
    places = (
        "ComfyUI/extra_model_paths.yaml", "Fooocus/config.txt", "a1111/webui-user.sh", "a1111/config.json",
        "invoke/invokeai.yaml", "swarm/Data/Settings.fds", ".config/comfy-cli/config.ini",
        ".config/ComfyUI/config.json", ".config/StabilityMatrix/library.json",
    )  # fmt: skip
    if not root.is_dir():
        for name in (*places, "Fooocus/fooocus_version.py", "a1111/webui.py", "ComfyUI/folder_paths.py"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("")
        for name in ("a1111/modules", "a1111/models/Lora", "ComfyUI/models/loras", "swarm/Models/Lora"):
            (root / name).mkdir(parents=True, exist_ok=True)
    for name in places:
        (root / name).write_bytes(data)
    for name in ("ComfyUI", "Fooocus", "a1111", "invoke", "swarm"):
        programs.recognise(root / name)
    list(installs._named_in(root / ".config"))


# ---------------------------------------------------------------------------------------------------- pictures


def read_any(path: Path) -> None:
    texts = picture_text.read_texts(path, (*PICTURE_WORDS, "parameters", "velatura"))
    for value in texts.values():
        value.encode("utf-8", "surrogatepass")
    read(texts, "the picture")


PICTURE_WORDS = (
    "velatura", "parameters", "invokeai_metadata", "prompt", "workflow", "invokeai_graph", "invokeai_workflow",
)  # fmt: skip


def png_text(data: bytes) -> None:
    """The first byte says how the text is packed, the second under which name it stands."""
    kind = (b"tEXt", b"zTXt", b"iTXt", b"iTXt")[data[0] % 4] if data else b"tEXt"
    keyword = PICTURE_WORDS[data[1] % len(PICTURE_WORDS)].encode() if len(data) > 1 else b"parameters"
    body = {
        b"tEXt": data[2:],
        b"zTXt": b"\0" + zlib.compress(data[2:], 1),
        b"iTXt": b"\0\0\0\0" + data[2:],
    }[kind]
    if data[:1] and data[0] % 4 == 3:
        body = data[2:]  # the flags, too
    png = _png(kind, keyword + b"\0" + body)
    path = scratch() / "fox.png"
    path.write_bytes(png)
    read_any(path)
    told = story.read_story(path)
    finite(told)
    if "request" in told:
        finite(to_plain(story.request_of(told)))


def _png(kind: bytes, body: bytes) -> bytes:
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (kind, body),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def exif(data: bytes) -> None:
    """The bytes are the EXIF of a JPEG and of a WebP."""
    for form, picture in (("jpg", _jpeg(data)), ("webp", _webp(data))):
        path = scratch() / f"fox.{form}"
        path.write_bytes(picture)
        with contextlib.suppress(VelaturaError):
            read_any(path)
        with contextlib.suppress(VelaturaError):
            picture_file.decode_picture(picture, "fox")


def _jpeg(data: bytes) -> bytes:
    plain = _encoded("JPEG")
    body = b"Exif\0\0" + data[:65_000]
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]


def _webp(data: bytes) -> bytes:
    plain = _encoded("WEBP")
    flags = b"VP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + b"\x07\0\0\x07\0\0"
    chunk = b"EXIF" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    inner = b"WEBP" + flags + plain[12:] + chunk
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


@cache
def _encoded(form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, format=form, **options)
    return stream.getvalue()


def picture(data: bytes) -> None:
    path = scratch() / "picture.png"
    path.write_bytes(data)
    for look in (
        lambda: picture_file.decode_picture(data, "fox", most_pixels=1_000_000),
        lambda: remote_pictures.picture_of(data, "A server"),
        lambda: pictures.read_picture(_picture(path)),
        lambda: pictures.read_mask(_picture(path)),
    ):
        with contextlib.suppress(VelaturaError):
            look()


def _picture(path: Path) -> Any:
    from velatura.records import Picture

    return Picture(path=str(path))


# ---------------------------------------------------------------------------------------------------- texts


def parameters(data: bytes) -> None:
    finite(parse_parameters(text_of(data)))


def prompt(data: bytes) -> None:
    text = text_of(data)
    for pin in pinned(text):
        assert math.isfinite(pin.weight)
    phrases(text), quoted(text), without_tags(text), plain_text(text)
    for run in prompt_weights.weighed(text):
        assert all(math.isfinite(part.weight) for part in run)
    prompt_weights.less_weights(text)
    parse_air(text)
    _kept(read(text, "the prompt"))


def form(data: bytes) -> None:
    _kept(read(data, "the file"))


def _kept(found: Any) -> None:
    for one in found.adapters:
        assert math.isfinite(one.weight), "a weight is finite"
        assert abs(one.weight) <= foreign.HEAVIEST
        assert one.clip_weight is None or math.isfinite(one.clip_weight)
        assert 0 < len(one.name) <= foreign.LONGEST_NAME
    if found.composition is not None:
        finite(to_plain(found.composition))
        for name in FORMATS:
            with contextlib.suppress(VelaturaError):
                write(found.composition, name)


def workflow(data: bytes) -> None:
    base = load_workflow(data)
    with contextlib.suppress(VelaturaError):
        read(data)
    for name in ("comfyui",):
        finite(json.loads(write(_fox(), name, base=base).text))


def _fox() -> Composition:
    return loads(Composition, SEED_COMPOSITION.decode(), "fox")


def composition(data: bytes) -> None:
    found = loads(Composition, text_of(data), "fox")
    finite(to_plain(found))
    for name in FORMATS:
        with contextlib.suppress(VelaturaError):
            write(found, name)


def request(data: bytes) -> None:
    found = loads(GenerationRequest, text_of(data), "fox")
    finite(to_plain(found))
    story.image_name(found, 3)


# ---------------------------------------------------------------------------------------------------- models


class Scripted(LanguageModel):
    """A model whose every reply is what it was given."""

    def __init__(self) -> None:
        super().__init__("fox", url="http://127.0.0.1:9/v1")
        self.said: Any = None

    def _call(self, *given: Any, **_: Any) -> Any:
        count = given[4] if len(given) > 4 else None
        if count is not None:
            count(usage_of(self.said))
        return self.said


@cache
def model() -> Scripted:
    return Scripted()


def _candidates() -> list[Candidate]:
    records = (
        AdapterRecord(source="civitai", key=str(n), title=f"Fox {n}", triggers=(("foxy",),), examples=(EXAMPLE,) * 4)
        for n in range(3)
    )
    return [
        Candidate(adapter=RefinedAdapter(id=n, record=one, refinement=NOTHING), score=0.5)
        for n, one in enumerate(records)
    ]


def _example() -> Any:
    from velatura.records import Example

    return Example(prompt="a fox")


EXAMPLE = _example()


class _Nobody:
    name = "nobody"

    def pick(self, *_: object) -> Any:
        from velatura.composer.picks import Picked

        return Picked()


def asking(ask: Callable[[Scripted], object]) -> Callable[[bytes], object]:
    """The bytes are the text of the answer; where they are a whole reply, that."""

    def target(data: bytes) -> object:
        text = text_of(data)
        said: Any = {"choices": [{"message": {"content": text}}]}
        if '"choices"' in text[:200]:
            with contextlib.suppress(ValueError, RecursionError):
                said = json.loads(text)
        model().said = said
        return ask(model())

    return target


def compose_llm(asked: Scripted) -> None:
    composer = composer_llm.LlmComposer(asked, fallback=_Nobody())
    picked = composer.pick("a red fox in snow", _candidates())
    assert all(0 <= pick.score <= 1 for pick in picked.picks)
    assert all(note.isprintable() for note in picked.notes)


def compose_stylus(asked: Scripted) -> None:
    stylus.StylusComposer(asked).pick("a red fox in snow", _candidates())


def rerank(asked: Scripted) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", llm_rerank.RerankingWarning)
        found = llm_rerank.LlmReranker(asked).score("a fox", [one.adapter for one in _candidates()])
    assert found is None or all(0 <= one <= 1 for one in found)


def describe(asked: Scripted) -> None:
    from velatura.refiner.vlm import VlmDescriber

    told = VlmDescriber(asked).describe(_candidates()[0].adapter).refinement
    assert told.weight is None or math.isfinite(told.weight)


def judge(asked: Scripted) -> None:
    asked.ask_counted("judge", "which", {}, templates.read_answer)


def interrogate(asked: Scripted) -> None:
    interrogate_llm.LlmInterrogator(asked).interrogate(Image.new("RGB", (8, 8)))


def yes(asked: Scripted) -> None:
    from velatura.eval import yes_probability

    asked.read(asked.said, yes_probability._yes)


def log_probabilities(data: bytes) -> None:
    from velatura.eval import yes_probability

    places = yes_probability._log_probabilities(value_of(data))
    share = yes_probability.share_of_yes(places) if places else None
    assert share is None or 0 <= share <= 1


def answer(data: bytes) -> None:
    try:
        found = object_in(text_of(data))
    except ValueError:
        return
    assert isinstance(found, dict)


def server_reply(data: bytes) -> None:
    reply = remote_server._parsed(data)
    remote_server.reason(reply)
    remote_server.lacks_memory(remote_server.reason(reply))
    remote_names.header_hashes(reply)
    http_json.asked_pause(text_of(data))
    from velatura.generation import a1111, comfyui

    for one in a1111._objects(reply):
        remote_names.header_hashes(one.get("metadata"))
        remote_names.digest(one.get("sha256"), 64)
    a1111._info(text_of(data))
    list(comfyui._messages(reply))
    list(comfyui._node_errors(reply, {}))
    if isinstance(reply, Mapping):
        model().said = reply
        with contextlib.suppress(VelaturaError):
            model().read(reply, lambda found: found)
        usage_of(reply)


# ---------------------------------------------------------------------------------------------------- runs


def runs(path: Path) -> None:
    for entry in manifest.read_manifest(path.parent):
        assert entry.file is None or "/" not in entry.file


def transcribed(path: Path) -> None:
    transcripts.Transcripts(path)


def plan(path: Path) -> None:
    grid.read_plan(str(path))


def file_name(data: bytes) -> None:
    name = safe_file_name(text_of(data), "7")
    assert name
    assert len(name.encode()) <= 255
    assert name == Path(name).name
    assert name.isprintable()


def survey(data: bytes) -> None:
    survey_files.dumped(survey_files.parse(data, "answers"))


def settings(data: bytes) -> None:
    path = scratch() / "settings.toml"
    path.write_bytes(data)
    with mock.patch.dict(os.environ, {"VELATURA_HOME": str(scratch())}), contextlib.suppress(VelaturaError):
        load_settings()
    path.unlink()
    merge_settings(text_of(data), {"steps": 30, "folders": ("/a", 'b"\\'), "nsfw": None})


# ---------------------------------------------------------------------------------------------------- the server


def api(data: bytes) -> None:
    """A body for every model of a request; what is refused is refused as pydantic does, which the server tells."""
    from pydantic import ValidationError

    value = value_of(data)
    for kind in _bodies():
        with contextlib.suppress(ValidationError, VelaturaError):
            kind.model_validate(value)


@cache
def _bodies() -> tuple[Any, ...]:
    from pydantic import BaseModel

    from velatura.server.a1111 import models as sdapi
    from velatura.server.mcp import asked as mcp
    from velatura.server.openai import models as openai
    from velatura.server.own import models as own

    return tuple(
        kind
        for module in (sdapi, mcp, openai, own)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel
    )


def headers(data: bytes) -> None:
    from starlette.datastructures import Headers

    from velatura.server import guard, uploads

    lines = [line[:2000] for line in data.split(b"\n")]
    names = (b"host", b"origin", b"cookie", b"authorization", b"x-forwarded-for")
    told = Headers(raw=[(name, line) for name, line in zip(names, lines, strict=False)])
    guard._shown(told)
    guard._cookies(told)
    guard._name(told.get("host", ""))
    guard.is_loopback(guard._name(told.get("host", "")))
    guard.same(told.get("authorization", ""), "token")
    guard.client_of({"type": "http", "client": None}, told)
    with contextlib.suppress(VelaturaError):
        uploads.checked(uploads.content_of(text_of(data)))


# ---------------------------------------------------------------------------------------------------- our own


def adapter_painted(path: Path) -> None:
    opened = adapters_file.AdapterFile(path)
    for network in opened.networks:
        network.read_all()
    list(adapters_names._classes(opened.header))


def adapter_header(data: bytes) -> None:
    end = 0
    with contextlib.suppress(Exception):
        end = max(entry["data_offsets"][1] for name, entry in json.loads(data).items() if name != "__metadata__")
    end = end if isinstance(end, int) and 0 <= end <= 10_000 else 0
    path = scratch() / "adapter.safetensors"
    path.write_bytes(len(data).to_bytes(8, "little") + data + b"\x3c" * end)
    with contextlib.suppress(VelaturaError):
        adapter_painted(path)
    with contextlib.suppress(VelaturaError):
        kinds.kind_of_file(kinds.read_header(path), path.stem)
    from velatura.generation.adapters.embeddings import read_embedding
    from velatura.generation.esrgan import load_upscaling_model

    with contextlib.suppress(VelaturaError):
        read_embedding(path)
    load_upscaling_model(path)


def model_folder(data: bytes) -> None:
    """An object of {name of a file: what it holds}, as the folder of a model."""
    from velatura.eval.extract import preparation
    from velatura.eval.extract import weights as network_weights
    from velatura.refiner import bert, clip, clip_input

    files = value_of(data)
    folder = scratch() / "model"
    shutil.rmtree(folder, ignore_errors=True)
    for name in MODEL_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(files, dict) and name in files:
            path.write_text(json.dumps(files[name]))
    for look in (
        lambda: bert.read_bert(folder),
        lambda: clip._image_size(clip._read_config(folder), folder),
        lambda: clip_input.read_clip_input(folder, 224),
        lambda: preparation.read_preparation(folder, 224, mean=(0, 0, 0), spread=(1, 1, 1)).signature,
        lambda: network_weights.read_config(folder, "clip"),
        lambda: kinds.kind_of_folder(folder, "fox"),
    ):
        with contextlib.suppress(VelaturaError):
            look()


MODEL_FILES = (
    "config.json", "preprocessor_config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
    "tokenizer_config.json", "model_index.json", "unet/config.json", "vae/config.json", "transformer/config.json",
    "scheduler/scheduler_config.json", "processor_config.json",
)  # fmt: skip


def peft(data: bytes) -> None:
    config = peft_config.PeftConfig.of({"lora_adapter_metadata": text_of(data)}, Path("fox.safetensors"))
    for stem in ("unet.down.0", "text_encoder.x", "x"):
        for rank in (None, 4):
            with contextlib.suppress(VelaturaError):
                assert math.isfinite(config.scale(stem, rank))


def own_record(data: bytes) -> None:
    codec.load(text_of(data))


def own_index(path: Path) -> None:
    postings.load(path)
    segment.read_note(path)
    segment.Segment.load(path)


def own_ledger(path: Path) -> None:
    batch_ledger._read(path)


def own_kept(path: Path) -> None:
    _Kept(path)
    former.read_methods(path.parent)
    hub.json_object(path)


# ---------------------------------------------------------------------------------------------------- seeds


def told(**value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


SEED_PAGE = told(
    id=7, name="Fox", type="LORA", nsfw=False, nsfwLevel=3, poi=False, minor=False, allowNoCredit=True,
    allowCommercialUse=["Image", "Sell"], allowDerivatives=True, allowDifferentLicense="{Rent}", mode="Archived",
    description="<p>Use <b>foxy</b> at 0.8 &amp; up, &#65; weight 0.6-0.9.</p><script>x</script><ul><li>a</li></ul>",
    tags=["animal", {"name": "style"}], creator={"username": "me", "image": None}, stats={"downloadCount": 3},
    modelVersions=[{
        "id": 8, "name": "v1", "baseModel": "SD 1.5", "trainedWords": ["foxy, red fur", "(ink:1.2) || wash"],
        "description": "strength 0.7", "publishedAt": "2024-01-02T03:04:05.000Z", "availability": "Public",
        "downloadUrl": "https://civitai.com/api/download/models/8", "nsfwLevel": 1, "stats": {"downloadCount": 2},
        "files": [{
            "id": 9, "name": "fox.safetensors", "type": "Model", "sizeKB": 12.5, "primary": True,
            "metadata": {"format": "SafeTensor", "fp": "fp16"}, "downloadUrl": "https://civitai.com/api/x",
            "hashes": {"SHA256": "AB" * 32, "AutoV2": "ABCDEF0123", "AutoV3": "ABCDEF012345"},
        }],
        "images": [{
            "url": "https://image.civitai.com/x/a.jpeg", "nsfwLevel": 1, "type": "image",
            "meta": {"prompt": "<lora:fox:0.8> a fox", "negativePrompt": "bad", "hashes": {"lora:fox": "abcdef0123"},
                     "resources": [{"type": "lora", "name": "fox", "weight": 0.8, "hash": "abcdef0123"}],
                     "civitaiResources": [{"type": "lora", "weight": 0.7, "modelVersionId": 8}],
                     "Lora hashes": "fox: abcdef012345"},
        }],
    }],
)  # fmt: skip
SEED_VERSION = told(
    id=8, modelId=7, name="v1", baseModel="Pony", trainedWords=["x"], model={"name": "Fox", "type": "LoCon"},
    files=[{"id": 1, "name": "a.pt", "sizeKB": 3}], images=[], downloadUrl="https://civitai.com/api/download/models/8",
)  # fmt: skip
SEED_MODEL = told(
    id="me/fox-lora", author="me", sha="ab" * 20, tags=["lora", "base_model:adapter:stabilityai/sdxl", "license:mit"],
    pipeline_tag="text-to-image", downloads=3, createdAt="2024-01-02T03:04:05.000Z", gated=False, disabled=False,
    siblings=[{"rfilename": "fox.safetensors", "size": 12, "lfs": {"sha256": "ab" * 32}}, "checkpoint-1/fox.bin"],
    cardData={
        "license": "other", "license_name": "x", "base_model": ["stabilityai/sdxl"], "instance_prompt": "a foxy",
        "widget": [{"text": "a fox", "output": {"url": "images/a.png"}, "parameters": {"negative_prompt": "bad"}}],
        "tags": ["x"], "base_model_relation": "adapter",
    },
    readme="---\nlicense: mit\n---\n# Fox\n![a](b.png) [link](https://x) Use <b>foxy</b> at 0.8.\n\n| a | b |\n",
)  # fmt: skip
SEED_PROSE = (
    "<p>Use <b>foxy</b> at 0.8 &amp; up</p><!-- x --><style>y</style><br/>weight: 0.6~0.9, strength 0,7 "
    "<lora:fox:0.8> Join my <a href='https://discord.gg/x'>Discord</a>! 权重0.7。support me on patreon.com/x &#x41; "
    "&#99; (foxy:1.2), celia \\(walkure\\) || [ink|wash] https://x.y/z\n"
).encode()
_TENSORS = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight": ("F16", [4, 8]),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight": ("F16", [8, 4]),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha": ("F32", []),
}
_SIZES = {"F16": 2, "F32": 4, "BF16": 2, "I64": 8}


def _header(metadata: Mapping[str, str], tensors: Mapping[str, tuple[str, list[int]]] = _TENSORS) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    place = 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * _SIZES[dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    return json.dumps(entries).encode()


def _whole(header_: bytes) -> bytes:
    entries = json.loads(header_)
    end = max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
    return len(header_).to_bytes(8, "little") + header_ + b"\x3c" * end


SEED_HEADERS = (
    _header({
        "ss_output_name": "fox", "ss_network_dim": "4", "ss_network_alpha": "2.0", "ss_training_comment": "a fox",
        "ss_tag_frequency": '{"10_foxy girl": {"red fur": 3, "a fox in the snow, at night": 2}}', "ss_v2": "False",
        "ss_base_model_version": "sdxl_base_v1-0", "ss_sd_model_name": "pony.safetensors",
        "ss_datasets": '[{"subsets": [{"class_tokens": "foxy", "is_reg": false}]}]', "sshs_model_hash": "ab" * 32,
        "ss_reg_dataset_dirs": '{"1_girl": {}}', "ss_network_args": '{"algo": "lokr"}',
    }),
    _header({
        "modelspec.title": "Fox", "modelspec.author": "me", "modelspec.trigger_phrase": "foxy, red", "format": "pt",
        "modelspec.tags": "a, b", "modelspec.license": "mit", "modelspec.architecture": "stable-diffusion-xl-v1-base",
        "modelspec.hash_sha256": "0x" + "ab" * 32, "modelspec.description": "<p>weight 0.8</p>",
        "lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"x": 2}}',
    }, {"unet.down_blocks.0.attn.to_q.lora_A.weight": ("F16", [4, 8]), "unet.down_blocks.0.attn.to_q.lora_B.weight":
        ("F16", [8, 4])}),
    _header({"<s1>": "<embed>"}, {"<s1>": ("F32", [2, 16]), "emb_params": ("F32", [1, 16]),
        "bundle_emb.x.string_to_param.*":
        ("F32", [1, 16])}),
)  # fmt: skip
SEED_COMPOSITION = told(
    prompt="a fox <lora:pin:0.5>", composer="builtin", tasks=["a fox"], notes=["n"], emphasis=1.2, suffix="best",
    usage={"calls": 1, "read": 3, "cached": 0, "written": 2},
    choices=[{"source": "folder", "key": "/loras/fox.safetensors", "title": "Fox", "weight": 0.8, "span": "fox",
              "triggers": ["foxy"], "reason": "r", "family": "sd1", "hashes": {"sha256": "ab" * 32}, "version_id": 7,
              "model_id": 6, "advised": 0.7, "sure": 0.9, "kept": True}],
    refused=[{"source": "civitai", "key": "1/2/3", "title": "Ink", "reason": "no"}],
)  # fmt: skip
SEED_REQUEST = told(
    composition=json.loads(SEED_COMPOSITION), model="m", seed=7, steps=4, guidance=2.5, width=64, height=64,
    negative="bad", scheduler="euler", clip_skip=1, mask=[True],
    start={"picture": {"path": "a.png", "sha256": "ab" * 32}, "strength": 0.5},
    controls=[{"model": "c", "picture": {"path": "b.png"}, "weight": 1.0}], embeddings=["e.safetensors"],
    enlargement={"mode": "demofusion", "scales": [2]},
)  # fmt: skip
SEED_PARAMETERS = (
    b"a fox (red:1.2) <lora:fox:0.8> <lyco:ink:te=0.2:unet=0.6> <lora:late:0@0,0.8@0.5>, BREAK [a|b] {x|y} 1.2::w::\n"
    b"Negative prompt: bad, (worse:1.3)\n"
    b'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, Model hash: abcdef0123, Model: "a, b", '
    b'Lora hashes: "fox: abcdef012345", Hashes: {"model": "abcdef0123", "lora:fox": "abcdef0123"}, '
    b'Civitai resources: [{"type": "lora", "weight": 0.8, "modelVersionId": 8, "air": "urn:air:sdxl:lora:civitai:1@2"}]'
    b", Version: v1.9"
)
SEED_API = told(**{
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["10", 0], "positive": ["6", 0],
                                               "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["10", 1]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "a/fox.safetensors", "strength_model": 0.8,
                                                  "strength_clip": 0.7, "model": ["4", 0], "clip": ["4", 1]},
           "_meta": {"title": "Velatura: fox"}},
    "11": {"class_type": "Power Lora Loader (rgthree)", "inputs": {
        "lora_1": {"on": True, "lora": "ink.safetensors", "strength": 0.5, "strengthTwo": 0.4}, "model": ["10", 0],
        "clip": ["10", 1]}},
    "12": {"class_type": "LoRA Stacker", "inputs": {"lora_count": 1, "lora_name_1": "x.pt", "lora_wt_1": 1.0}},
})  # fmt: skip
SEED_EDITOR = told(
    last_node_id=9, last_link_id=4, version=0.4, groups=[],
    nodes=[
        {"id": 4, "type": "CheckpointLoaderSimple", "mode": 0, "widgets_values": ["m.safetensors"], "pos": [0, 0],
         "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1]}, {"name": "CLIP", "type": "CLIP", "links": [2]}]},
        {"id": 5, "type": "LoraLoader", "mode": 0, "widgets_values": ["fox.safetensors", 0.8, 0.7],
         "inputs": [{"name": "model", "type": "MODEL", "link": 1}, {"name": "clip", "type": "CLIP", "link": 2}],
         "outputs": [{"name": "MODEL", "type": "MODEL", "links": [3]}]},
        {"id": 7, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 3}],
         "widgets_values": [1, "fixed", 20, 7, "euler", "normal", 1]},
        {"id": 8, "type": "Lora Loader (LoraManager)", "widgets_values": ["<lora:a:1>", [{"name": "a", "strength": 1,
         "active": True, "clipStrength": "0.5"}]], "mode": 4},
    ],
    links=[[1, 4, 0, 5, 0, "MODEL"], [2, 4, 1, 5, 1, "CLIP"], {"id": 3, "origin_id": 5, "origin_slot": 0,
           "target_id": 7, "target_slot": 0, "type": "MODEL"}],
    extra={"prompt": {}},
)  # fmt: skip
SEEDS_FORMAT = (
    SEED_PARAMETERS,
    SEED_API,
    SEED_EDITOR,
    SEED_COMPOSITION,
    told(velatura="1", composition=json.loads(SEED_COMPOSITION)),
    told(prompt=json.loads(SEED_API), workflow=json.loads(SEED_EDITOR)),
    told(loras=[{"model": {"key": "k", "hash": "blake3:ab", "name": "fox", "base": "sdxl", "type": "lora"},
                 "weight": 0.7}], positive_prompt="a fox", negative_prompt="b", seed=1),
    told(nodes={"a": {"type": "lora_loader", "id": "a", "lora": {"key": "k", "name": "fox"}, "weight": 0.7}},
         edges=[{"source": {"node_id": "a", "field": "unet"}, "destination": {"node_id": "b", "field": "unet"}}]),
    told(sui_image_params={"prompt": "a <lora:fox:0.8>", "loras": ["fox"], "loraweights": ["0.8"], "seed": 1},
         sui_models=[{"name": "fox.safetensors", "param": "loras", "hash": "0xab"}]),
    told(gen_params={"prompt": "a fox"}, loras=[{"file_name": "fox", "strength": 0.8, "hash": "ab" * 32,
         "modelVersionId": 8, "modelName": "Fox", "exclude": False, "isDeleted": False}], title="t"),
    b'[{"name": "fox", "strength": 0.8, "active": true, "clipStrength": 0.5}]',
    b'[{"on": true, "lora": "fox.safetensors", "strength": 0.8, "strengthTwo": null}]',
    b'["urn:air:sdxl:lora:civitai:1@2", "civitai:3@4"]',
    b"urn:air:sdxl:lora:civitai:1@2+3.safetensors\ncivitai:3@4\n",
    b"prompt,adapter,weight,span,triggers,file,air,hashes,reason\r\n"
    b"a fox,Fox,0.8,fox,foxy,fox.pt,,autov2:abcdef0123,r\r\n",
    b'A fox\nRecipe metadata: {"loras": [{"file_name": "fox", "strength": 1}]}',
    b"\xff\xfea\0 \0f\0o\0x\0",
)  # fmt: skip
SEEDS_TASKS = (
    told(tasks=[{"words": "red fox", "adapters": [{"number": 1, "reason": "r", "sure": 85}]}, {"words": "snow",
         "adapters": []}], refused=[{"number": 2, "reason": "no"}]),
    b'<think>hm {} </think>Here: ```json {"tasks": [{"words": "fox", "adapters": ["card 2", 3,]},]} ```',
    told(choices=[{"message": {"content": '{"tasks": []}', "refusal": None}, "finish_reason": "length"}],
         usage={"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}),
)  # fmt: skip
SEED_RUN = (
    b'{"state": "done", "request": "' + b"ab" * 32 + b'", "prompt": "a fox", "seed": 7, "file": "a.png", "sha256": "'
    + b"cd" * 32 + b'", "seconds": 1.5, "model": "m", "notes": ["n"], "adapters": [{"title": "Fox", "weight": 0.8, '
    b'"file": "fox.safetensors"}]}\n{"state": "failed", "request": "' + b"cd" * 32
    + b'", "prompt": "x", "seed": 1, "error": "e"}\n{"state": "do'
)  # fmt: skip
SEED_SAMPLES = (
    b'{"image": "a.png", "prompt": "a fox", "method": "base", "prompt_id": "1", "guidance": 7, "seed": 1, "index": 0, '
    b'"timings": {"paint": 1.5}, "best_of": 1, "sha256": "' + b"ab" * 32 + b'"}\n{"file_name": "b.png", "text": "x"}\n'
)
SEED_PLAN = b"""methods = ["base", "velatura"]
guidances = [2, 4.5]
samples = 4
metrics = ["clip"]
[[variants]]
name = "turbo"
settings = { model = "sdxl-turbo", steps = 4 }
fields = { width = 512, scheduler = "euler" }
enlargement = { skip = 0.5 }
"""
SEED_SETTINGS = b"""# mine
steps = 20  # enough
nsfw = 3
folders = [
  "/a",  # first
  'b',
]
model = \"\"\"x\"\"\"
"a b" = 1
[other]
x = { y = 1 }
"""
SEEDS_PROGRAMS = (
    b"comfyui:\n  base_path: /tmp\n  loras: |\n    models/loras\n    x\n  checkpoints: &a y\nother: *a\n",
    b'{"path_loras": ["/tmp", "x"], "path_checkpoints": "y", "lora_dir": "/tmp", '
    b'"basePath": "/tmp", "LibraryPath": "/"}',
    b"export COMMANDLINE_ARGS=\"--lora-dir '/tmp' --ckpt-dir=/x --data-dir /tmp\"\n# --lora-dir /y\n",
    b"models_dir: /tmp\n",
    b"ModelRoot: /tmp;/x\nSDLoraFolder: Lora;../x\n",
    b"[DEFAULT]\ndefault_workspace = /tmp\nrecent_workspace=%(x)s\n[a]\nb: c\n",
)


def _picture_bytes() -> tuple[bytes, ...]:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("parameters", SEED_PARAMETERS.decode())
    texts.add_itxt("prompt", SEED_API.decode(), zip=True)
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, format="PNG", pnginfo=texts)
    gif = io.BytesIO()
    Image.new("P", (2, 2)).save(gif, format="GIF", save_all=True, append_images=[Image.new("P", (2, 2), 1)])
    clear = io.BytesIO()
    Image.new("RGBA", (2, 2)).save(clear, format="WEBP")
    return (
        stream.getvalue(), _encoded("JPEG"), _encoded("WEBP"), _jpeg(_exif_bytes()), _webp(_exif_bytes()),
        gif.getvalue(), clear.getvalue(), _encoded("PNG"),
    )  # fmt: skip


@cache
def _exif_bytes() -> bytes:
    made = Image.Exif()
    made[0x010F] = 'prompt:{"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "fox"}}}'
    made[0x0110] = 'workflow:{"nodes": []}'
    made[0x0112] = 6
    made.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a fox\nSteps: 2, Sampler: x, Seed: 3".encode("utf-16-be")
    return made.tobytes().removeprefix(b"Exif\0\0")


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, mu=np.zeros(2), sigma=np.eye(2), n=np.int64(3))
    return stream.getvalue()


def _results() -> bytes:
    made = Results(name="x", created="2026-01-02", versions=(("torch", "2"),), titles=(("clip", "CLIP"),), notes=("n",))
    return stored.to_json(made).encode()


@cache
def _index() -> bytes:
    path = scratch() / "postings.bin"
    postings.save(postings.build([(n, ["a fox"] * len(postings.FIELDS)) for n in (1, 2)], [("foxy", 1)]), path, "stamp")
    return path.read_bytes()


def _targets() -> tuple[Target, ...]:
    sidecar_seeds = {
        "fox.metadata.json": told(
            file_name="fox", model_name="Fox", file_path="/x", size=1, sha256="ab" * 32, base_model="SDXL 1.0",
            preview_nsfw_level=1, notes="n", civitai=json.loads(SEED_VERSION), tags=["a"], modelDescription="<p>d</p>",
            usage_tips='{"strength": 0.8, "strength_min": 0.5}', trainedWords=["x"], exclude=False,
        ),
        "fox.json": told(**{"description": "d", "sd version": "SDXL", "activation text": "foxy, red",
                            "preferred weight": 0.8, "negative text": "bad", "notes": "n"}),
        "fox.civitai.info": SEED_VERSION,
        "fox.cm-info.json": told(
            ModelId=1, ModelName="Fox", ModelDescription="<p>d</p>", Nsfw=False, Tags=["a"], ModelType="LORA",
            VersionId=2, VersionName="v", BaseModel="SDXL", Hashes={"SHA256": "ab" * 32, "AutoV2": "x"},
            TrainedWords=["x"], UserTitle="t", Stats={"downloadCount": 1}, AuthorUsername="me",
        ),
        "fox.safetensors.rgthree-info.json": told(
            name="Fox", baseModel="SDXL", trainedWords=[{"word": "x", "civitai": True, "count": 2, "user": True}],
            images=[{"url": "https://x", "positive": "a", "negative": "b"}], sha256="ab" * 32, type="LORA",
            raw={"civitai": json.loads(SEED_VERSION), "metadata": {"ss_network_dim": "4"}},
        ),
        "fox.swarm.json": told(**{"modelspec.title": "Fox", "modelspec.trigger_phrase": "x", "title": "t",
                                  "lora_default_weight": "0.8", "tags": "a,b"}),
        "fox.txt": b"foxy, red fur\nweight 0.8\n",
        "fox.description.txt": SEED_PROSE,
    }  # fmt: skip
    page_dump = b"[" + SEED_PAGE + b"," + SEED_VERSION + b"]"
    lines = SEED_PAGE + b"\n" + SEED_VERSION + b"\n" + b'{"items": [' + SEED_PAGE + b"]}\n"
    import gzip

    zipped = gzip.compress(lines, mtime=0)
    found = [
        Target("civitai-page", civitai_page, (SEED_PAGE, SEED_VERSION), "json"),
        Target("civitai-dump", in_file("dump.json", dump(civitai.CivitaiDump)), (page_dump, lines, zipped, SEED_PAGE)),
        Target("huggingface-model", huggingface_model, (SEED_MODEL,), "json"),
        Target("huggingface-dump", in_file("models.jsonl", dump(huggingface.HuggingFaceDump)),
               (SEED_MODEL + b"\n" + SEED_MODEL,)),
        Target("prose", prose, (SEED_PROSE,), "text"),
        Target("safetensors", safetensors, tuple(map(_whole, SEED_HEADERS))),
        Target("safetensors-header", safetensors_header, SEED_HEADERS, "json"),
        Target("adapter-file", in_file("painted.safetensors", adapter_painted), tuple(map(_whole, SEED_HEADERS))),
        Target("adapter-header", adapter_header, SEED_HEADERS, "json"),
        Target("peft-config", peft, (b'{"r": 4, "lora_alpha": 8, "use_rslora": true, "alpha_pattern": {"down.0": 2}, '
               b'"rank_pattern": {"x": 3}, "unet.lora_alpha": 3}',), "json"),
        *(Target(f"sidecar-{name.partition('.')[2]}", sidecar(name), (seed,), "json" if seed[:1] == b"{" else "text")
          for name, seed in sidecar_seeds.items()),
        Target("installed", installed, SEEDS_PROGRAMS, "text", 1_000_000),
        Target("picture-texts", in_file("texts.png", read_any), _picture_bytes()),
        Target("png-text", png_text, (b"\0\1" + SEED_PARAMETERS, b"\1\3" + SEED_API, b"\2\4" + SEED_EDITOR,
               b"\2\0" + told(velatura="1", seed=7, request=json.loads(SEED_REQUEST)), b"\3\3\1\0\0\0" +
               zlib.compress(SEED_API))),
        Target("exif", exif, (_exif_bytes(),)),
        Target("picture", picture, _picture_bytes()),
        Target("parameters", parameters, (SEED_PARAMETERS,), "text"),
        Target("prompt", prompt, (SEED_PARAMETERS, b"((a)), [b:c:0.5], __w__, a \\(b\\) AND c :1.2"), "text"),
        Target("format", form, SEEDS_FORMAT, "json"),
        Target("workflow", workflow, (SEED_API, SEED_EDITOR), "json"),
        Target("composition", composition, (SEED_COMPOSITION,), "json"),
        Target("request", request, (SEED_REQUEST,), "json"),
        Target("answer", answer, SEEDS_TASKS, "text"),
        Target("answer-composer", asking(compose_llm), SEEDS_TASKS, "json"),
        Target("answer-stylus", asking(compose_stylus), (b'{"red fox": {"0": "r", "1": "s"}, "snow": [2, "card 1"]}',),
               "json"),
        Target("answer-reranker", asking(rerank), (b'{"scores": [{"number": 1, "score": 80}, {"number": "2", "score": '
               b'"7.5"}]}',), "json"),
        Target("answer-describer", asking(describe), (told(
            description="It draws foxes.", category="animal", facets={"style": "ink", "subject": "fox"}, avoid="x",
            triggers=[1], weight=0.8, evidence="e [x](https://y) `z`"),), "json"),
        Target("answer-judge", asking(judge), (b'{"reason": "r", "first": 2, "second": 1, "winner": "first"}',),
               "json"),
        Target("answer-interrogator", asking(interrogate), (b'{"prompt": "a fox, <lora:x:1> snow"}',), "json"),
        Target("answer-yes", asking(yes), (b'{"answer": " Yes."}',), "json"),
        Target("reply", log_probabilities, (told(choices=[{"message": {"content": "yes"}, "logprobs": {"content": [
            {"token": "Yes", "logprob": -0.1, "top_logprobs": [{"token": " no", "logprob": -2.5}]}]}}]),), "json"),
        Target("server-reply", server_reply, (told(detail=[{"loc": ["body", "steps"], "msg": "no"}], error="OOM",
               errors="x", info="{}"), b'[{"title": "m [ab]", "sha256": "ab", "metadata": {"ss_x": "1"}}]',
               told(status={"messages": [["execution_error", {"exception_message": "x"}]]}, node_errors={"3": {
                   "errors": [{"message": "m", "details": "d"}]}}), b"Wed, 21 Oct 2015 07:28:00 GMT"), "json"),
        Target("manifest", in_file("run/manifest.jsonl", runs), (SEED_RUN,)),
        Target("samples", in_file("samples/samples.jsonl", eval_manifest.read_manifest), (SEED_SAMPLES,)),
        Target("prompts-coco", in_file("captions.json", datasets.read_prompts), (told(
            images=[{"id": 1, "file_name": "a.jpg"}], annotations=[{"id": 2, "image_id": 1, "caption": "a fox"}]),
            b'["a fox", {"prompt": "x", "id": 3}]'), "json"),
        Target("prompts-table", in_file("prompts.csv", datasets.read_prompts),
               (b"id,Prompt,Category\n1,a fox,animal\n",), "text"),
        Target("prompts-tabbed", in_file("prompts.tsv", datasets.read_prompts), (b"Prompt\tid\na \"fox\t1\n",), "text"),
        Target("prompts-lines", in_file("prompts.jsonl", datasets.read_prompts),
               (b'{"prompt": "a fox", "id": "1"}\n"x"',)),
        Target("people-table", in_file("people.csv", agreement.read_people),
               (b"prompt_id,criterion,winner\n1,quality,base\n2,alignment,tie\n",), "text"),
        Target("people-lines", in_file("people.jsonl", agreement.read_people),
               (b'{"prompt_id": 1, "criterion": "quality", "winner": "base"}\n',)),
        Target("transcripts", in_file("transcripts.jsonl", transcribed), (told(
            key="k", judge="j", criterion="quality", prompt="p", choice="first", reason="r", scores=[2, 1],
            usage={"calls": 1}) + b"\n",)),
        Target("results", in_file("results.json", stored.load_results), (_results(),), "json"),
        Target("plan", in_file("plan.toml", plan), (SEED_PLAN,), "text", 50_000),
        Target("moments", in_file("moments.npz", moments.Moments.load), (_npz(),)),
        Target("dataset-manifest", lambda data: dataset_manifest.parse_manifest(data, "it"), (told(
            velatura_dataset=dataset_manifest.FORMAT, adapters=1, passages="1", files=[{"name": "adapters.parquet",
            "bytes": 1, "sha256": "ab" * 32}], embedded=[{"model": "m", "revision": "r", "dimension": 3, "vectors": 0,
            "files": []}]),), "json"),
        Target("file-name", file_name, (b"../../etc/red fox.safetensors", b"CON.safetensors", "fоx\u202e.pt".encode()),
               "text"),
        Target("model-folder", model_folder, (told(**{
            "config.json": {"model_type": "clip", "vision_config": {"image_size": 224}},
            "preprocessor_config.json": {"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True,
                "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2], "resample": 3, "crop_pct": 0.9},
            "model_index.json": {"_class_name": "X", "unet": ["diffusers", "U"], "vae": ["d", "V"], "text_encoder":
                ["t", "C"], "transformer": ["d", "F"]},
            "unet/config.json": {"_class_name": "UNet2DConditionModel", "in_channels": 4, "layers_per_block": 2},
            "vae/config.json": {"latent_channels": 4}, "transformer/config.json": {"_class_name": "x"},
        }), told(**{
            "config.json": {"model_type": "bert", "hidden_act": "gelu", "vocab_size": 9, "hidden_size": 8,
                "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2, "num_hidden_layers": 1,
                "num_attention_heads": 2, "layer_norm_eps": 1e-6},
            "modules.json": [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}],
            "1_Pooling/config.json": {"pooling_mode": "mean"}, "sentence_bert_config.json": {"max_seq_length": 8},
            "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"},
        })), "json"),
        Target("survey", survey, (told(velatura_survey=1, rater="r", answers=[{"task": "a", "value": 1}]),), "json"),
        Target("settings", settings, (SEED_SETTINGS,), "text", 50_000),
        Target("api", api, (told(prompt="a fox", n=1, size="64x64", seed=7), SEED_REQUEST, told(
            prompt="x", steps=4, cfg_scale=7, sampler_name="Euler", override_settings={"sd_model_checkpoint": "m"},
            alwayson_scripts={}, init_images=["data:image/png;base64,"])), "json"),
        Target("headers", headers, (b"localhost:7860\nhttp://[::1]:1\nvelatura=ab; x=y\nBasic " + base64.b64encode(
            b"a:b") + b"\n::1", b"data:image/png;base64," + base64.b64encode(_encoded("PNG"))), "text"),
        Target("own-record", own_record,
               (codec.dump(AdapterRecord(source="s", key="k", title="t"))[0].encode(),), "json"),
        Target("own-index", in_file("own.index", own_index), (_index(),)),
        Target("own-ledger", in_file("ledger.json", own_ledger), (told(version=1, serial=1, batches=[
            {"key": "k", "writer": "w", "origins": {"o": [1]}, "batch": None}]),), "json"),
        Target("own-kept", in_file("kept/kept.jsonl", own_kept), (told(address="a", retrieve=0.1, compose=0.2,
               composition=json.loads(SEED_COMPOSITION)) + b"\n",)),
    ]  # fmt: skip
    return tuple(found)


TARGETS: Mapping[str, Target] = {one.name: one for one in _targets()}


# ---------------------------------------------------------------------------------------------------- what is made


def varied(data: bytes, draw: random.Random, form: str) -> bytes:
    """Return something like the data: of JSON another value somewhere in it, of all else another piece somewhere."""
    if form == "json" and draw.random() < 0.8:
        with contextlib.suppress(ValueError, RecursionError):
            return _varied_json(json.loads(data), draw)
    made = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randint(0, len(made))
        end = min(len(made), place + draw.randint(0, 8))
        kind = draw.randrange(5)
        if kind == 0:
            made[place:end] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 4)))
        elif kind == 1:
            del made[place:end]
        elif kind == 2:
            made[place:place] = made[place : place + draw.randint(1, 40)] * draw.randint(1, 40)
        elif kind == 3 and form != "bytes":
            odd = draw.choice([one for one in ODD if isinstance(one, str)])
            made[place:end] = odd.encode("utf-8", "surrogatepass")
        elif made:
            made[min(place, len(made) - 1)] ^= 1 << draw.randrange(8)
    return bytes(made)


def _varied_json(value: Any, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 3)):
        places = list(islice(_places(value), 2000))
        if not places:
            return json.dumps(draw.choice(ODD)).encode()
        holder, key = draw.choice(places)
        kind = draw.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other_holder, other = draw.choice(places)
            with contextlib.suppress(LookupError, TypeError):
                holder[key] = json.loads(json.dumps(other_holder[other]))
        elif kind == 2:
            holder[key] = [holder[key]] * draw.randint(1, 2 if len(places) > 500 else 60)
        elif kind == 3 and isinstance(holder, dict):
            holder[draw.choice([one for one in ODD if isinstance(one, str)])] = holder[key]
        else:
            holder[key] = copy.deepcopy(draw.choice(ODD))
    text = json.dumps(value)
    if draw.random() < 0.15:
        text = text.replace(draw.choice(["1", "0.8", "true", "null", '"fox"', "[]"]), draw.choice(CONSTANTS), 1)
    return text.encode()


def _places(value: Any) -> Any:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        items = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for key, inner in list(items):
            yield one, key
            waiting.append(inner)


def pumped(data: bytes, draw: random.Random, largest: int) -> bytes:
    """Return the data with one piece of it repeated up to a size: what takes quadratic time shows."""
    if not data:
        return data
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 1, 2, 3, 5, 8, 20, 60, len(data))))
    return data[:start] + data[start:end] * max(1, (largest - len(data)) // (end - start)) + data[end:]
