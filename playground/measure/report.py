"""The figures as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_CONDITIONS: Final = {
    "painted": "as painted (the ceiling)",
    "base": "base model alone",
    "oracle": "the right adapters",
    "picks": "Velatura's picks",
    "picks_clean": "its picks, good files only",
    "wrong": "wrong adapters",
}
_GROUPS: Final = {
    "subject": "a new subject",
    "style": "a new style",
    "pair": "a new subject in a new style",
    "scene": "a new scene",
    "none": "nothing new",
    "needing": "anything new",
    "all": "all prompts",
}
_HEADING: Final = f"{'':30}{'CLIP score':>22}{'all right':>26}{'subject':>9}{'style':>9}{'FID':>24}"


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the figures of `measure` as a plain text of tables, with 95 % intervals in brackets."""
    return "\n".join(_lines(figures))


def _lines(figures: Mapping[str, Any]) -> Iterator[str]:
    signature = figures["signature"]
    yield (
        f"{sum(signature['prompts'].values())} prompts, {signature['pictures_each']} pictures each, "
        f"{signature['steps']} steps, guidance {signature['guidance']:g}; {figures['seconds']:.0f} s"
    )
    for group, title in _GROUPS.items():
        rows = {name: groups[group] for name, groups in figures["conditions"].items() if group in groups}
        if rows:
            yield ""
            yield f"{title} ({next(iter(rows.values()))['prompts']} prompts)"
            yield _HEADING
            yield from (_row(label, rows[name]) for name, label in _CONDITIONS.items() if name in rows)
    yield ""
    yield from _picks(figures)
    yield ""
    yield "claims"
    yield from map(_claim, figures["claims"])
    yield ""
    if figures["failures"]:
        yield "adapters that could not be laid on, and black pictures in their place"
        for failed in figures["failures"]:
            yield f"  {_CONDITIONS[failed['condition']]}: {failed['failure']}"
        yield ""
    yield f"FID: {signature['fid']}."


def _row(label: str, row: Mapping[str, Any]) -> str:
    clip, right, fid = row["clip"], row["right"], row["fid"]
    distance = f"{fid['value']:.2f} [{fid['low']:.2f}, {fid['high']:.2f}]" if fid else "too few"
    return (
        f"  {label:28}"
        + f"{clip['value']:6.1f} [{clip['low']:.1f}, {clip['high']:.1f}]".rjust(22)
        + f"{right['value']:.1%} [{right['low']:.1%}, {right['high']:.1%}]".rjust(26)
        + f"{row['subject']['value']:9.1%}{row['style']['value']:9.1%}"
        + distance.rjust(24)
    )


def _claim(claim: Mapping[str, Any]) -> str:
    value = "-" if claim["value"] is None else f"{claim['value']:.4g}"
    interval = "" if claim["sure"] is None else f"[{claim['low']:.4g}, {claim['high']:.4g}]"
    held = {True: "holds", False: "FAILS", None: "not measured"}[claim["holds"]]
    if claim["holds"] and claim["sure"] is False:
        held += ", within error"
    return f"  {claim['claim']:58}{value:>9} {interval:>18}  {claim['bound']:9}  {held}"


def _picks(figures: Mapping[str, Any]) -> Iterator[str]:
    picks, harm, speed = figures["picks"], figures["harm"], figures["speed"]
    yield "the picks"
    for name, label in (
        ("gain_of_oracle", "share of the right adapters' gain in CLIP score"),
        ("gain_of_oracle_fid", "share of the right adapters' gain in FID"),
    ):
        if figures[name] is not None:
            low, high = figures[f"{name}_interval"]
            yield f"  {label:58}{figures[name]:9.1%}  [{low:.1%}, {high:.1%}]"
    for name, label in (
        ("recall", "needed adapters that were picked"),
        ("precision", "picked adapters that were needed"),
        ("exact", "prompts with exactly the adapters that they need"),
        ("no_need_without_adapter", "prompts without need that got no adapter"),
    ):
        figure = picks[name]
        if figure:
            yield f"  {label:58}{figure['value']:9.1%}  [{figure['low']:.1%}, {figure['high']:.1%}]"
    clip = harm["clip"]
    yield (
        f"  {'what troubled files change in CLIP score':58}{clip['value']:+9.2f}  "
        f"[{clip['low']:+.2f}, {clip['high']:+.2f}], {harm['prompts_changed']} of {harm['prompts']} prompts"
    )
    yield f"  files that the catalogue refused: {harm['files_rejected']}"
    troubled = ", ".join(f"{count} {name}" for name, count in picks["troubled_files_picked"].items())
    yield f"  troubled files picked: {troubled or 'none'}"
    for name in ("base", "one_step"):
        if speed[name]:
            what = f"seconds a picture at batch {speed[name]['batch']}, {speed[name]['steps']} steps"
            yield f"  {what:58}{speed[name]['seconds']:9.3f}"
