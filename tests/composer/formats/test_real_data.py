"""Real workflows of ComfyUI and InvokeAI are read, and take our adapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from velatura.composer.formats import load_workflow, read, write
from velatura.records import AdapterRecord, Choice, Composition

pytestmark = pytest.mark.real_data

FOX = Composition(
    prompt="a fox",
    choices=(
        Choice(adapter=AdapterRecord(source="f", key="k", title="Fox", file_name="fox.pt"), weight=0.8, span="fox"),
    ),
)


def picture_texts(folder: Path) -> dict[str, str]:
    with Image.open(folder / "workflows" / "ComfyUI_examples__lora_multiple.png") as picture:
        return {key: text for key, text in picture.info.items() if isinstance(text, str)}


@pytest.mark.parametrize("keywords", [("prompt", "workflow"), ("prompt",), ("workflow",)])
def test_a_picture_of_comfyui_tells_its_adapters(real_data: Path, keywords: tuple[str, ...]) -> None:
    texts = picture_texts(real_data)
    back = read({keyword: texts[keyword] for keyword in keywords})
    assert [(one.name, one.weight) for one in back.adapters] == [
        ("theovercomer8sContrastFix_sd15", 1.0),
        ("epiNoiseoffset_v2", 1.0),
    ]
    assert (back.prompt, back.negative, back.notes) == ("masterpiece best quality girl", "bad hands", ())


def test_an_editors_workflow_tells_its_adapters(real_data: Path) -> None:
    back = read((real_data / "workflows" / "ComfyUI_Workflows__multiple_loras.json").read_bytes())
    assert [(one.name, one.weight) for one in back.adapters] == [("ghibli_style_offset", 0.9), ("more_details", 0.75)]
    assert back.prompt == "ghibli style cartoon anime closeup detailed princess zelda in the forest"
    assert back.negative == "blurry, rendering, messy, horror"


def test_a_workflow_of_invokeai_tells_its_prompt(real_data: Path) -> None:
    back = read((real_data / "workflows" / "InvokeAI__Text_to_Image_with_LoRA.json").read_bytes())
    assert (back.form, back.prompt, back.negative, back.adapters) == ("invokeai", "super cute tiger cub", "", ())
    assert "no adapter chosen" in back.notes[0]


def test_our_adapters_are_laid_into_real_workflows(real_data: Path) -> None:
    texts = picture_texts(real_data)
    editor = (real_data / "workflows" / "ComfyUI_Workflows__multiple_loras.json").read_text()
    for text in (texts["prompt"], texts["workflow"], editor):
        before = read(text)
        written = write(FOX, "comfyui", base=load_workflow(text))
        after = read(written.text)
        assert [one.name for one in after.adapters] == ["fox", *(one.name for one in before.adapters)]
        assert (after.prompt, after.negative) == ("a fox", before.negative)
        again = write(FOX, "comfyui", base=load_workflow(written.text))
        assert json.loads(again.text) == json.loads(written.text)
