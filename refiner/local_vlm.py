"""Describes adapters by a vision language model on this machine, through transformers: no server and no key."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..answers import object_in
from ..errors import InputError, LanguageModelError, MissingDependency
from ..protocols import Described
from ..records import RefinedAdapter, Refinement, Usage
from ..syntax import encodable
from .embedders import folder_revision, locate
from .vlm import origin
from .vlm_answer import read_answer
from .vlm_text import INSTRUCTIONS, VERSION, question

if TYPE_CHECKING:
    from .shown import ShownPictures

_LONGEST: Final = 768
"""Tokens of an answer: a small model may otherwise repeat itself for ever."""


class LocalDescriber:
    """A describer (see `velatura.protocols.Describer`) that runs any image-text-to-text model of transformers.

    Weights are read when the first adapter comes, from `.safetensors` alone, and code that comes with a model is never
    run. Adapters are described one after the other, whatever the number of threads; the likeliest answer is taken, so
    that the same adapter is described the same.

    Args:
        model: A hub id or a folder.
        pictures: Chooses what it is shown; None shows nothing.
        device: `cpu`, `cuda`, `mps`; None takes the best there is.
        longest: The most tokens of an answer.

    Raises:
        MissingDependency: A package that the model needs is not installed.
        InputError: The model is neither on this machine nor on a hub that answers, or is none that looks at pictures.
    """

    def __init__(
        self, model: str, pictures: ShownPictures | None = None, *, device: str | None = None, longest: int = _LONGEST
    ) -> None:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependency(package, extra="generate")
        self._folder = locate(model, "vision model")
        if not any(self._folder.glob("*.safetensors")):
            raise InputError(f"{self._folder} holds no .safetensors weights, and pickles are never opened")
        _check_kind(self._folder)
        self._pictures = pictures
        self._device = device
        self._longest = longest
        self._lock = threading.Lock()
        called = Path(model).resolve().name if Path(model).is_dir() else model
        self._name = f"local {VERSION} {called}@{folder_revision(self._folder)}"

    @property
    def name(self) -> str:
        """`local`, the version of the question, and the model with a digest of it."""
        return self._name

    def origin(self, adapter: RefinedAdapter) -> str:
        """Return the address of the text and of the pictures that it would read, 32 hexadecimal digits."""
        return origin(adapter.record, self._pictures)

    def describe(self, adapter: RefinedAdapter) -> Described:
        """Describe one adapter; may be called by several threads at once, and answers one after the other.

        Raises:
            LanguageModelError: The model gives no answer of use, also when told what was wrong with its first.
            InputError: It cannot be read.
        """
        from PIL import Image

        shown = self._pictures.show(adapter.record) if self._pictures is not None else []
        images: list[Any] = [{"type": "image", "image": Image.open(BytesIO(picture))} for picture in shown]
        text = f"{INSTRUCTIONS}\n\n{self._without_control(encodable(question(adapter.record)))}"
        # Some models know no system's part, so that the instructions stand with the question.
        talk: list[dict[str, Any]] = [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]
        answer, usage = self._generate(talk)
        try:
            refinement = self._read(answer, adapter)
        except ValueError as error:
            repair = f"That cannot be used: {error}. Answer again with nothing but the JSON object that was asked for."
            talk += [
                {"role": "assistant", "content": [{"type": "text", "text": self._without_control(answer)}]},
                {"role": "user", "content": [{"type": "text", "text": repair}]},
            ]
            answer, again = self._generate(talk)
            usage += again
            try:
                refinement = self._read(answer, adapter)
            except ValueError as fault:
                raise LanguageModelError(f"{self._folder.name} gave no answer of use: {fault}", usage=usage) from None
        return Described(refinement=refinement, usage=usage)

    def _read(self, text: str, adapter: RefinedAdapter) -> Refinement:
        return replace(read_answer(object_in(text), adapter.record), writer=self.name)

    def _generate(self, talk: list[dict[str, Any]]) -> tuple[str, Usage]:
        """Return the likeliest answer, and how many tokens were read and written."""
        import torch

        with self._lock:
            network, processor = self._network, self._processor
            try:
                with torch.inference_mode(), _quiet():
                    given = processor.apply_chat_template(
                        talk, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
                    ).to(network.device)
                    read = int(given["input_ids"].shape[1])
                    made = network.generate(**given, do_sample=False, num_beams=1, max_new_tokens=self._longest)
                    text = processor.batch_decode(made[:, read:], skip_special_tokens=True)[0]
            except Exception as error:  # out of memory, a card longer than it reads, or what a model's own code raises
                raise LanguageModelError(f"{self._folder.name} cannot answer ({_first_line(error)})") from error
        return str(text), Usage(calls=1, read=read, written=int(made.shape[1]) - read)

    def _without_control(self, text: str) -> str:
        """Return a text in which nothing is read as a control token of the model, such as the end of a turn."""
        with self._lock:
            tokenizer = self._processor.tokenizer
        control = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        for token in sorted(control, key=len, reverse=True):
            if len(token) > 1 and token in text:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    @cached_property
    def _network(self) -> Any:
        import torch
        from transformers import AutoModelForImageTextToText

        with _one_sentence(self._folder), _quiet():
            network, told = AutoModelForImageTextToText.from_pretrained(
                self._folder,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        # What is lacking would be filled with noise.
        if lacking := sorted(told["missing_keys"]):
            raise InputError(f"{self._folder} lacks {len(lacking)} of its weights, {lacking[0]} first")
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        with _one_sentence(self._folder):
            return network.eval().to(self._device or best)

    @cached_property
    def _processor(self) -> Any:
        with _one_sentence(self._folder), _quiet():
            processor = _load_processor(self._folder)
        if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
            raise InputError(f"{self._folder} is no model that looks at pictures: it has no processor of them")
        if not (processor.chat_template or getattr(processor.tokenizer, "chat_template", None)):
            raise InputError(f"{self._folder} has no chat template; choose a model that was trained to answer")
        return processor


def _check_kind(folder: Path) -> None:
    """Raise unless a model is of a kind that transformers knows to look at pictures and to answer."""
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KINDS
    except ImportError:
        raise InputError(
            "transformers is too old for vision language models; run: pip install -U transformers"
        ) from None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InputError(f"{folder} is no vision language model: its config.json is not there, or damaged")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        own = "; it brings code of its own, which is never run" if "auto_map" in config else ""
        raise InputError(f"{folder} is no vision language model that transformers has: {str(kind)[:80]!r}{own}")


def _load_processor(folder: Path) -> Any:
    """Return what prepares texts and pictures for a model, with Pillow, and without the part for films.

    That part needs torchvision, and nothing here is a film.
    """
    from transformers import AutoConfig, AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    kind: Any = PROCESSOR_MAPPING.get(type(config), AutoProcessor)
    if "video_processor" in getattr(kind, "get_attributes", list)():
        kind = _without_films(kind)
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, backend="pil")


def _without_films(kind: Any) -> Any:
    """Return a class of processors with nothing in the place of its video processor."""
    from transformers import ProcessorMixin

    place = kind.get_attributes().index("video_processor")

    class Still(kind):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != "video_processor"]

        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **options: Any) -> list[Any]:
            parts = list(super()._get_arguments_from_pretrained(*args, **options))
            parts.insert(place, None)
            return parts

    if kind.__name__ == "SmolVLMProcessor":  # its own asks for the pace of films, also where there are none
        Still.apply_chat_template = ProcessorMixin.apply_chat_template
    Still.__name__ = kind.__name__
    return Still


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep loading bars and advice off the screen."""
    from transformers.utils import logging

    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@contextmanager
def _one_sentence(folder: Path) -> Iterator[None]:
    """Turn whatever a damaged or unusual model raises into one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if "torchvision" in str(error).lower():
            raise InputError(
                f"{folder} cannot be used without torchvision, which prepares its pictures; choose a model whose "
                "processor needs Pillow alone, such as Qwen2-VL, LLaVA, Idefics3 or Gemma 3"
            ) from error
        raise InputError(
            f"{folder} is no vision language model that transformers reads ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
