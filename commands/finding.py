"""The commands that find adapters: for a prompt, by a trigger, like another one, by a name, and those that are one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..protocols import Method
from ..syntax import quoted
from .options import (
    Choose,
    Db,
    Json,
    Limit,
    PictureModel,
    Prompts,
    filtered,
    open_velatura,
    print_json,
    read_prompts,
    warn_unembedded,
)


@filtered
def search(
    prompt: Annotated[str | None, typer.Argument(help="A prompt, as you would paint it.")] = None,
    prompts: Prompts = None,
    trigger: Annotated[
        str | None,
        typer.Option(
            metavar="PHRASE", help="Instead of a prompt: find what this trigger phrase, or its beginning, calls."
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead of a prompt: find the adapters whose look or subject it shows."),
    ] = None,
    limit: Limit = 10,
    method: Annotated[
        Method,
        typer.Option(help="How to rank: fused (ours), or to compare dense, bm25, rerank, tfidf, overlap, random."),
    ] = "fused",
    reranker: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="What orders the best anew: a cross-encoder's hub id or folder, or llm."),
    ] = None,
    picture_model: PictureModel = None,
    db: Db = None,
    as_json: Json = False,
    *,
    choose: Choose,
) -> None:
    """Find the adapters that could serve a prompt, that a trigger calls or a picture shows, and say what matched."""
    from ..plain import to_plain
    from .screen import print_candidates

    asked = [name for name, value in (("--trigger", trigger), ("--image", image)) if value is not None]
    if len(asked) > 1 or (asked and (prompt is not None or prompts is not None)):
        raise typer.BadParameter("give a prompt, a trigger phrase or a picture, one alone", param_hint=asked[0])
    if asked and (method != "fused" or reranker is not None):
        raise typer.BadParameter("--method and --reranker rank for a prompt alone", param_hint=asked[0])
    with open_velatura(read_only=True, db=db, reranker=reranker, picture_model=picture_model) as velatura:
        chosen = choose(velatura)
        if asked:
            if image is not None:
                found, said = velatura.by_image(image, filter=chosen, limit=limit), {"image": str(image)}
            else:
                found, said = velatura.by_trigger(str(trigger), filter=chosen, limit=limit), {"trigger": str(trigger)}
            if as_json:
                print_json(said | {"candidates": [to_plain(candidate) for candidate in found]})
            else:
                print_candidates(found, velatura.store.excluded(chosen), score="near" if image else "sure")
            return
        warn_unembedded(velatura)
        wanted = list(read_prompts(prompt, prompts))
        # A file holds prompts to be painted, in which quotes are what a sign in the picture says.
        answers = velatura.retriever.search_all(wanted, chosen, limit, method, quotes=prompts is None)
        if prompts is None and quoted(wanted[0]):
            told = ", ".join(f"“{phrase}”" for phrase in quoted(wanted[0]))
            typer.echo(f"note: only what has {told} in its texts is looked at, because of the quotes", err=True)
        for text, candidates in zip(wanted, answers, strict=True):
            if as_json or prompts is not None:
                print_json({"prompt": text, "candidates": [to_plain(candidate) for candidate in candidates]})
            else:
                print_candidates(candidates, velatura.store.excluded(chosen))


@filtered
def similar(
    what: Annotated[str, typer.Argument(help="An adapter (number, file, title, hash, civitai id).")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many.")] = 10,
    db: Db = None,
    as_json: Json = False,
    *,
    choose: Choose,
) -> None:
    """Find adapters that do what another one does, and say what they share. Its copies and versions are left out."""
    from ..plain import to_plain
    from .screen import print_candidates, print_likened

    with open_velatura(read_only=True, db=db) as velatura:
        chosen = choose(velatura)
        warn_unembedded(velatura)
        number, *others = velatura.find(what)
        found = velatura.similar(number, filter=chosen, limit=limit)
        if as_json:
            print_json({"id": number, "others": others, "candidates": [to_plain(candidate) for candidate in found]})
            return
        print_likened(velatura.store.adapter(number), others)
        print_candidates(found, velatura.store.excluded(chosen), score="alike")


def show(
    what: Annotated[str, typer.Argument(help="An adapter (number, file, title, hash, civitai id), or a picture.")],
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show all that is known of an adapter, or the story of a picture."""
    from .probe_screen import plain_probe
    from .screen import print_adapter, print_story

    if Path(what).suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") and Path(what).is_file():
        from ..generation.story import read_story

        print_story(read_story(Path(what)), as_json=as_json)
        return
    with open_velatura(db=db, read_only=True) as velatura:
        number, *others = velatura.find(what)
        strength = velatura.strength(number)
        probes = {probe.family: plain_probe(probe) for probe in velatura.store.probes([number]).get(number, ())}
        print_adapter(velatura.store.adapter(number), *strength, others=others, probes=probes, as_json=as_json)


def duplicates(
    weights: Annotated[
        bool, typer.Option("--weights", help="List instead measured files that do the same to weights, or nearly.")
    ] = False,
    overlap: Annotated[
        float, typer.Option(min=0.8, max=1, help="With --weights: the least overlap; 1 is the same.")
    ] = 0.95,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List files that are the same file, hold the same tensors, or are versions of one model."""
    from .screen import Progress, print_duplicates, print_near_duplicates

    with open_velatura(db=db, read_only=True) as velatura:
        if not weights:
            print_duplicates(velatura.store, as_json=as_json)
            return
        files, left = velatura.unmeasured()
        if left:
            typer.echo(f"note: {left:,} of {files:,} files are not measured; run `velatura index --weights`", err=True)
        with Progress("compare") as progress:
            pairs = velatura.near_duplicates(at_least=overlap, progress=progress.compared)
        print_near_duplicates(velatura.store, pairs, as_json=as_json)
