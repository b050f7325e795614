"""One adapter file with its sidecars, read into a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import UnreadableFile
from ..records import AdapterRecord, Hashes, Rejection
from .architecture import Architecture
from .header import Header, other_format, read_header
from .identity import fingerprint, hash_file, read_scalar, title_of
from .layout import Layout, read_layout
from .merge import merge
from .sidecars import read_sidecars
from .text import clean_line
from .told import Beside, Level, Told
from .training import output_name, read_training

SOURCE = "folder"


def read_adapter(
    folder: str, name: str, companions: Sequence[str], *, hash_it: bool = False
) -> AdapterRecord | Rejection:
    """Return the record of a `.safetensors` file, or why it has none.

    Args:
        folder: Where it lies, with the separator at its end.
        name: The file's name.
        companions: The names of the files beside it that belong to it.
        hash_it: Also read the whole file, for its digests.

    Raises:
        UnreadableFile: The file is damaged or cannot be opened.
    """
    path = folder + name
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - paths are text throughout the folder source
            header = read_header(file, name)
            layout = read_layout(header.tensors)
            if layout.kind is None:
                return Rejection(
                    source=SOURCE, locator=path, reason=f"{_shown(name)} is {layout.other}, not an adapter"
                )
            alpha = read_scalar(file, header, layout.alpha) if layout.alpha else None
            mark = fingerprint(file, header)
    except OSError as error:
        raise UnreadableFile(f"{_shown(name)} cannot be read: {error.strerror}") from error
    sidecars = read_sidecars(folder, companions, Beside(name, header.size))
    told = [*sidecars.told, *_told_by_file(folder, name, header, layout, alpha)]
    for one in told:
        if one.fields.get("excluded") is True:
            return Rejection(source=SOURCE, locator=path, reason=f"{_shown(name)} is excluded in {one.place}")
    contradictions: list[tuple[str, str]] = []
    if hash_it:
        told, contradictions = _believe(hash_file(path, header), told)
    fields, provenance = merge(told, Architecture(layout.family, layout.evidence))
    return AdapterRecord(
        source=SOURCE,
        key=path,
        path=path,
        file_name=name,
        size=header.size,
        format="safetensors",
        fingerprint=mark,
        kind=layout.kind,
        layout=layout.layout,
        previews=tuple(folder + preview for preview in sidecars.previews),
        provenance=(*provenance, *contradictions, *sidecars.problems),
        **fields,
    )


def refuse_other(folder: str, name: str) -> Rejection:
    """Return why a model file of another format has no record; only its first bytes are looked at.

    Raises:
        UnreadableFile: The file cannot be opened.
    """
    try:
        with open(folder + name, "rb", buffering=0) as file:  # noqa: PTH123
            head = file.read(16) or b""
    except OSError as error:
        raise UnreadableFile(f"{_shown(name)} cannot be read: {error.strerror}") from error
    what = other_format(head)
    if what is None and head[8:9] == b"{":
        what = "is a safetensors file under another name; rename it to .safetensors"
    reason = f"{_shown(name)} {what or 'is no .safetensors file, and no other format is read'}"
    return Rejection(source=SOURCE, locator=folder + name, reason=reason)


def _told_by_file(folder: str, name: str, header: Header, layout: Layout, alpha: float | None) -> Iterable[Told]:
    """Yield what the tensors, the header and the name tell; within a level, the tensors are believed first."""
    yield Told("tensors", Level.HEADER, {"rank": layout.rank, "alpha": alpha})
    yield from read_training(header, layout.bundled)
    title, place = title_of(
        name.rpartition(".")[0], output_name(header.metadata), folder[:-1].replace("\\", "/").rpartition("/")[2]
    )
    yield Told(place, Level.NAME, {"title": title})


def _believe(computed: Hashes, told: Iterable[Told]) -> tuple[list[Told], list[tuple[str, str]]]:
    """Put computed digests before all claims, and drop the claims of whoever speaks of another file.

    Returns the places with what is left of their claims, and a note for each that was contradicted.
    """
    believed = [Told("computed", Level.EDIT, {"hashes": computed})]
    notes = []
    for one in told:
        claim = one.fields.get("hashes")
        if isinstance(claim, Hashes):
            for digest in ("sha256", "autov2", "autov3"):
                stated = getattr(claim, digest)
                if stated is not None and stated != getattr(computed, digest):
                    notes.append(("hashes", f"{one.place} says {digest} {stated}, which the file contradicts"))
                    one = Told(one.place, one.level, {**one.fields, "hashes": Hashes()})
                    break
        believed.append(one)
    return believed, notes


def _shown(name: str) -> str:
    return clean_line(name, 200) or "the file"
