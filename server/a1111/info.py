"""What A1111's clients are told of painted pictures: `info`, which is JSON in a text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...generation.file_names import bare
from ..json_answer import dumped
from ..orders import why
from ..stories import story_of
from .models import PictureAsked

if TYPE_CHECKING:
    from ..answers import Answers
    from ..jobs import Job, Made
    from .models import TextAsked


def info_of(job: Job, made: Sequence[tuple[Made, bytes]], asked: TextAsked, answers: Answers) -> str:
    """Return what is told of the pictures of a job.

    Args:
        job: It has ended.
        made: Its pictures, as PNG files.
        asked: The request.
        answers: Tells the adapters.
    """
    first = job.requests[0]
    stories = [story_of(content) for _, content in made]
    texts = [story["parameters_text"] for story in stories]
    settings = stories[0]["parameters"]["settings"] if stories else {}
    seeds = [one.seed for one, _ in made]
    told = why(first, job.asked, first.seed, answers)
    if job.state == "cancelled":
        told["notes"].append("the job was ended before all was painted")
    if isinstance(asked, PictureAsked) and asked.mask:
        told["notes"].append("the white parts of the mask begin as the picture, and are painted at the picture's size")
    info = {
        "prompt": asked.prompt,
        "all_prompts": [asked.prompt] * len(made),
        "negative_prompt": first.negative,
        "all_negative_prompts": [first.negative] * len(made),
        "seed": first.seed,
        "all_seeds": seeds,
        "subseed": first.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": first.width,
        "height": first.height,
        "sampler_name": settings.get("Sampler", ""),
        "cfg_scale": first.guidance,
        "steps": first.steps,
        "batch_size": asked.batch_size or 1,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": bare(first.model).removesuffix(".safetensors"),
        "sd_model_hash": settings.get("Model hash"),
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": None if first.start is None else first.start.share,
        "extra_generation_params": {name: settings[name] for name in ("Lora hashes",) if name in settings},
        "index_of_first_image": 0,
        "infotexts": texts,
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.asked_at)),
        "clip_skip": first.clip_skip + 1,
        "is_using_inpainting_conditioning": False,
        "version": settings.get("Version", ""),
        "velatura": told,
    }
    return dumped(info).decode()
