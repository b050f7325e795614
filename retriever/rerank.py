"""A cross-encoder that reads the prompt and an adapter's card together: slower than vectors, and often surer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import InputError, MissingDependency
from ..syntax import encodable, plain_text

if TYPE_CHECKING:
    from ..records import RefinedAdapter

_SURE: Final = 1e-6
"""How near to 0 and 1 a number comes: what a sigmoid gives is rounded to these, and nothing is that sure."""


class CrossEncoder:
    """Any cross-encoder of sentence-transformers with one output, loaded when the first prompt comes.

    Args:
        folder: What holds the model: its configuration, its tokenizer and `.safetensors` weights.
        card: Gives the text of an adapter that is read beside the prompt.
        name: What the model is called; None takes the folder's name.
        device: `cpu`, `cuda`, `mps`; None takes the best there is.

    Raises:
        MissingDependency: sentence-transformers is not installed.
        InputError: The folder holds no `.safetensors` weights.
    """

    def __init__(
        self,
        folder: Path,
        card: Callable[[RefinedAdapter], str],
        *,
        name: str | None = None,
        device: str | None = None,
    ) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingDependency("sentence_transformers", extra="embed")
        if not any(folder.rglob("*.safetensors")):
            raise InputError(f"{folder} holds no .safetensors weights, and pickles are never opened")
        self.name = name or folder.name
        self._folder = folder
        self._card = card
        self._device = device
        self._network: Any = None

    def score(self, prompt: str, adapters: Sequence[RefinedAdapter]) -> list[float]:
        """Return what the model says of each adapter, between 0 and 1.

        Raises:
            InputError: The model cannot be loaded, or gives several numbers where one is wanted.
        """
        if not adapters:
            return []
        network = self._load()
        asked = plain_text(prompt)
        # A lone surrogate would make the tokenizer raise in the middle of a batch.
        pairs = [(encodable(asked), encodable(self._card(adapter))) for adapter in adapters]
        told = network.predict(pairs, show_progress_bar=False)
        return [min(1 - _SURE, max(_SURE, float(number))) for number in told]

    def _load(self) -> Any:
        if self._network is None:
            import torch
            import transformers
            from sentence_transformers import CrossEncoder as Network

            transformers.utils.logging.disable_progress_bar()
            try:
                network = Network(
                    str(self._folder),
                    device=self._device,
                    # The models on the hub differ in whether they end with it.
                    activation_fn=torch.nn.Sigmoid(),
                    model_kwargs={"use_safetensors": True},
                )
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise InputError(f"the reranker {self.name} cannot be loaded: {reason}") from None
            if network.num_labels != 1:
                raise InputError(
                    f"the reranker {self.name} gives {network.num_labels} numbers for a text; take a cross-encoder "
                    "that gives one, such as cross-encoder/ms-marco-MiniLM-L6-v2"
                )
            self._network = network
        return self._network
