"""Surveys of painted squares, and raters who answer them from the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from velatura.eval.records import Sample
from velatura.eval.survey import make_survey, open_survey
from velatura.eval.survey.design import Load
from velatura.eval.survey.records import TIE, Survey, Task

METHODS = ("qwixbase", "qwixglaze", "qwixrandom", "qwixfusion")
TEXTS = ("a fox in snow", "two boats at dawn", "an old man in rain", "castle over clouds", "ripe fruit", "night street")

Rater = Callable[[Task], object]
"""Answers one task, as the page writes answers."""


def paint(folder: Path, *, prompts: int = 6, methods: Sequence[str] = METHODS, pictures: int = 2) -> list[Sample]:
    """Write tiny pictures, each of its own colour and telling all about itself, and return their samples."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(5)
    samples = []
    for prompt in range(prompts):
        text = TEXTS[prompt % len(TEXTS)] + (f" no {prompt}" if prompt >= len(TEXTS) else "")
        for method in methods:
            for index in range(pictures):
                told = PngInfo()
                told.add_text("parameters", f"{text}, {method}, seed 987654")
                name = f"{method}-{prompt}-{index}.png"
                colour = tuple(colours.integers(0, 256, 3).tolist())
                Image.new("RGB", (24, 24), colour).save(folder / name, pnginfo=told, icc_profile=b"qwixprofile")
                samples.append(
                    Sample(
                        prompt_id=f"prompt{prompt}", prompt=text, method=method, image=name, guidance=6.0, index=index,
                        seed=987654 + index,
                    )
                )  # fmt: skip
    return samples


def survey_of(tmp_path: Path, questions: str, *, prompts: int = 6, methods: int = 2, **options: object) -> Survey:
    """Make a survey in `tmp_path/survey` and open it."""
    names = METHODS[:methods]
    samples = paint(tmp_path / "run", prompts=prompts, methods=names)
    load = options.pop("load", Load())
    options.setdefault("salt", "pepper")
    make_survey(samples, names, questions, tmp_path / "survey", folder=tmp_path / "run", load=load, **options)
    return open_survey(tmp_path / "survey")


def file_of(survey: Survey, form: str, rater: str, answer: Rater, *, seconds: float = 4.0, **more: object) -> dict:
    """Return a rater's file for one form."""
    answers = [
        {"task": task.id, "value": answer(task), "seconds": seconds, "tags": [[] for _ in task.groups]}
        for task in survey.tasks.values()
        if task.form == form
    ]
    return {"velatura_survey": 1, "survey": survey.digest, "rater": rater, "form": form, "answers": answers} | more


def write(folder: Path, name: str, plain: object) -> Path:
    """Write a rater's file."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(plain), encoding="utf-8")
    return path


def attentive(survey: Survey, prefer: Callable[[Task], object]) -> Rater:
    """Return a rater who passes attention checks, and otherwise answers as told."""
    kinds = {question.name: question.kind for question in survey.plan.questionnaire.questions}

    def answer(task: Task) -> object:
        if task.role == "identical":
            return TIE
        if task.role == "copies":
            return [1 if place == task.answer else 4 for place in range(len(task.groups))]
        if task.role == "caption" and kinds[task.question] == "ranking":
            ranks = list(range(2, len(task.groups) + 1))
            ranks.insert(int(task.answer or 0), 1)
            return ranks
        return task.answer if task.role == "caption" else prefer(task)

    return answer


def by_strength(strengths: dict[str, float], draw: np.random.Generator, survey: Survey) -> Rater:
    """Return what a rater of these strengths (logarithms of worth) prefers: Luce's choices, noisy but honest."""
    kinds = {question.name: question.kind for question in survey.plan.questionnaire.questions}

    def prefer(task: Task) -> object:
        worth = np.array([strengths[method] for method in task.methods]) + draw.gumbel(size=len(task.methods))
        if kinds[task.question] == "choice":
            return int(worth.argmax())
        ranks = [0] * len(worth)
        for rank, place in enumerate(np.argsort(-worth), 1):
            ranks[place] = rank
        if kinds[task.question] == "ranking":
            return ranks
        return [6 - min(rank, 5) for rank in ranks]

    return attentive(survey, prefer)
