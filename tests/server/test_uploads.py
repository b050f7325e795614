"""Pictures that clients send: base64 and nothing else, checked before anything is kept, and deleted with their job."""

from __future__ import annotations

import base64
import gc
import io
import stat

import pytest
from PIL import Image

from velatura.errors import InputError, UnreadableFile
from velatura.server.jobs import Job
from velatura.server.uploads import Uploads, content_of, picture_of


def png(size: tuple[int, int] = (8, 6), mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, format="PNG")
    return stream.getvalue()


TEXT = base64.b64encode(png()).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;charset=utf-8;base64,{TEXT}",
        TEXT.rstrip("="),
        "\n".join(TEXT[start : start + 60] for start in range(0, len(TEXT), 60)),
    ],
    ids=["bare", "data URL", "with a parameter", "without padding", "in lines"],
)
def test_base64_and_data_urls_are_pictures(text: str) -> None:
    assert content_of(text) == png()
    assert picture_of(text).size == (8, 6)


@pytest.mark.parametrize(
    "text",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "data:image/png,abc",
        "",
        "data:image/png;base64,",
        "\ud800",
    ],
)
def test_addresses_and_paths_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"^the mask "):
        picture_of(text, "the mask")


def test_what_is_no_picture_or_a_bomb_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="the picture is no PNG"):
        picture_of(base64.b64encode(b"<svg/>").decode())
    bomb = base64.b64encode(png((8000, 4001), "1")).decode()
    with pytest.raises(UnreadableFile, match=r"more than 32,000,000 pixels"):
        picture_of(bomb)


def test_the_folder_is_private_and_ends_with_the_job() -> None:
    with Uploads() as uploads:
        first, second = uploads.add(png(), "picture"), uploads.draw(Image.new("L", (2, 2)), "picture")
        assert first.path != second.path
        assert stat.S_IMODE(uploads.folder.stat().st_mode) == 0o700
        job = Job(client="me", requests=())
        uploads.until(job)
    folder = uploads.folder
    del uploads
    gc.collect()
    assert folder.is_dir()
    job.state = "painting"
    job.tell()
    assert folder.is_dir()
    job.state = "done"
    job.tell()
    assert not folder.exists()


def test_the_folder_of_a_job_that_has_ended_already_is_gone_at_once() -> None:
    job = Job(client="me", requests=(), state="cancelled")
    uploads = Uploads()
    uploads.until(job)
    assert not uploads.folder.exists()


def test_an_error_deletes_the_folder() -> None:
    with pytest.raises(UnreadableFile), Uploads() as uploads:
        uploads.add(b"no picture", "picture")
    assert not uploads.folder.exists()
