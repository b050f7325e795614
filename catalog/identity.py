"""What a file is known by when its name has changed: digests, a cheap fingerprint, and a title to call it by."""

from __future__ import annotations

import hashlib
import re
import struct
from io import FileIO

from ..errors import UnreadableFile
from ..records import Hashes
from .header import Header, Tensors, remembered
from .text import clean_line

_CHUNK = 1 << 20
_SAMPLE = 4096
_SAMPLES = 3

# Trainers with a bug publish the digest of nothing at all: SHA-256's, BLAKE3's.
_OF_NOTHING = (hashlib.sha256(b"").hexdigest(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
_HEX = re.compile(r"[0-9a-f]+")

_FLOATS = {"F16": "<e", "F32": "<f", "F64": "<d", "I64": "<q", "I32": "<i", "I16": "<h", "I8": "<b", "U8": "<B"}

# What tools call every file: a name of nothing but these words and numbers says nothing.
_MEANINGLESS = frozenset({
    "pytorch", "lora", "weights", "adapter", "model", "last", "best", "final", "new", "output", "checkpoint",
    "diffusion", "learned", "embeds", "bf", "fp", "step", "steps", "epoch", "safetensors",
})  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")


def good_hash(value: object, length: int, *, keep: int | None = None) -> str | None:
    """Return a claimed digest in lower case, or None when it cannot be one.

    The digest of the empty string, of whatever length, and a run of one digit are refused: tools write them where
    they have not hashed anything. A `0x` in front is taken off.

    Args:
        value: The claim.
        length: How many hexadecimal digits it must have.
        keep: How many of them to return.

    >>> good_hash("0xAB12cd34EF", 10), good_hash("e3b0c44298fc", 12), good_hash("xyz", 3)
    ('ab12cd34ef', None, None)
    """
    if not isinstance(value, str) or len(value) > 200:
        return None
    digest = value.strip().lower().removeprefix("0x")
    if len(digest) != length or not _HEX.fullmatch(digest):
        return None
    if any(nothing.startswith(digest) for nothing in _OF_NOTHING) or len(set(digest)) == 1:
        return None
    return digest[:keep]


def hash_file(path: str, header: Header) -> Hashes:
    """Read the whole file once and return its SHA256, AutoV2 and AutoV3.

    AutoV3 is the SHA-256 over the tensors alone, shortened, so it outlives a rewritten header.

    Raises:
        UnreadableFile: The file cannot be read to its end, or changed while it was read.
    """
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    place = 0
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the path is text throughout
            while count := file.readinto(buffer):
                whole.update(view[:count])
                tensors.update(view[max(0, min(count, header.data_start - place)) : count])
                place += count
    except OSError as error:
        raise UnreadableFile(f"{clean_line(path, 300)} cannot be read to its end: {error.strerror}") from error
    if place != header.size:
        raise UnreadableFile(f"{clean_line(path, 300)} changed while it was read; index it again")
    sha256 = whole.hexdigest()
    return Hashes(sha256=sha256, autov2=sha256[:10], autov3=tensors.hexdigest()[:12])


def fingerprint(file: FileIO, header: Header) -> str:
    """Return a cheap digest of the tensors: the same after a rename, with another header, or in another order.

    It covers the sorted names, dtypes and shapes, and 4 KiB of each of three tensors that stand at fixed places among
    the sorted names. Scalars are no place to look: every adapter of one training script shares them.
    """
    names, places = _spelt(header.tensors)
    digest = hashlib.blake2b(names, digest_size=16)
    for begin, size in places:
        file.seek(header.data_start + begin)
        digest.update(file.read(size))
    return digest.hexdigest()


@remembered
def _spelt(tensors: Tensors) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """Return (a digest of all names, dtypes and shapes; the begin and size of each sample)."""
    types = tensors.types
    names = sorted(types)
    text = "\n".join([name + types[name].spelling for name in names])
    large = [name for name in names if types[name].size > 64] or names
    chosen = [large[(2 * sample + 1) * len(large) // (2 * _SAMPLES)] for sample in range(min(_SAMPLES, len(large)))]
    places = tuple((tensors.begins[name], min(_SAMPLE, types[name].size)) for name in chosen)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), places


def read_scalar(file: FileIO, header: Header, name: str) -> float | None:
    """Return the value of a tensor of one number, such as kohya's `.alpha`; None when it is not one."""
    type_ = header.tensors.types[name]
    if type_.size > 8 or any(extent != 1 for extent in type_.shape):
        return None
    file.seek(header.data_start + header.tensors.begins[name])
    raw = file.read(type_.size)
    if type_.dtype == "BF16":
        raw, layout = b"\0\0" + raw, "<f"
    elif type_.dtype in _FLOATS:
        layout = _FLOATS[type_.dtype]
    else:
        return None
    if len(raw) != struct.calcsize(layout):
        return None
    value = float(struct.unpack(layout, raw)[0])
    return value if abs(value) < 1e9 else None


def says_something(name: str) -> bool:
    """Whether a name is more than what tools call every file.

    >>> [says_something(name) for name in ("red fox", "pytorch_lora_weights", "last-000010")]
    [True, False, False]
    """
    return not _MEANINGLESS.issuperset(_WORD.findall(name.lower()))


def title_of(stem: str, trained_as: str | None, folder: str) -> tuple[str, str]:
    """Return (a title, where it comes from) for a file that nothing else names.

    >>> title_of("red_fox-v2", None, "loras"), title_of("pytorch_lora_weights", None, "Red Fox")
    (('red fox-v2', 'file name'), ('Red Fox', 'folder name'))
    """
    for name, place in ((stem, "file name"), (trained_as, "header (kohya)"), (folder, "folder name")):
        title = clean_line((name or "").replace("_", " "), 200)
        if title and says_something(title):
            return title, place
    return clean_line(stem.replace("_", " "), 200) or clean_line(stem, 200) or "untitled", "file name"
