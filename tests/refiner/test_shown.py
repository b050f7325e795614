"""Pictures that a model is shown: which, how small, and from where."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from public_site import PUBLIC, Route, Site, give, moved, running_site

from velatura.errors import InputError, SourceError, UnreadableFile, VelaturaError
from velatura.public_http import is_public, public_session, resolve
from velatura.records import BLOCKED, PG, PG13, XXX, AdapterRecord, Example, R
from velatura.refiner.picture_fetch import PictureFetcher, shrink
from velatura.refiner.picture_file import read_picture_file
from velatura.refiner.shown import ShownPictures


def encoded(color: str = "red", size: tuple[int, int] = (900, 600), kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, which is all zeros and so very small as a file."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * min(height, 1000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as found:
        yield found


def fetcher(site: Site, folder: Path, **options: Any) -> PictureFetcher:
    return PictureFetcher(folder, session=site.session(), **options)


URL = "http://pictures.example/fox.png"


# ---------------------------------------------------------------- what is fetched


def test_fetched_picture_is_a_small_jpeg(site: Site, tmp_path: Path) -> None:
    site.routes["/fox.png"] = give(encoded())
    with Image.open(io.BytesIO(fetcher(site, tmp_path).fetch(URL))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (512, 341))
    assert site.connected == [PUBLIC]
    assert site.asked == [("pictures.example", "/fox.png")]


def test_nothing_is_fetched_twice_by_another_process_either(site: Site, tmp_path: Path) -> None:
    site.routes["/fox.png"] = site.routes["/same.png"] = give(encoded())
    first = fetcher(site, tmp_path).fetch(URL)
    assert fetcher(site, tmp_path).fetch(URL) == first
    assert len(site.asked) == 1
    fetcher(site, tmp_path).fetch("http://pictures.example/same.png")
    assert len(list(tmp_path.glob("*.jpg"))) == 1
    assert not list(tmp_path.rglob("*.part"))


def test_damaged_cache_is_fetched_again(site: Site, tmp_path: Path) -> None:
    site.routes["/fox.png"] = give(encoded())
    first = fetcher(site, tmp_path).fetch(URL)
    for damage in (b"../../../../etc/passwd", b"", b"\xff\xfe", b"0" * 32):
        next((tmp_path / "urls").iterdir()).write_bytes(damage)
        assert fetcher(site, tmp_path).fetch(URL) == first


def test_threads_that_want_the_same_picture_share_one_request(site: Site, tmp_path: Path) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.2)
        give(encoded())(handler)

    site.routes["/fox.png"] = slow
    pictures = fetcher(site, tmp_path)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(pictures.fetch, [URL] * 8))) == 1
    assert len(site.asked) == 1


def test_failure_is_remembered_for_the_run_alone(site: Site, tmp_path: Path) -> None:
    pictures = fetcher(site, tmp_path)
    for _ in range(3):
        with pytest.raises(SourceError, match="HTTP 404"):
            pictures.fetch(URL)
    assert len(site.asked) == 1
    site.routes["/fox.png"] = give(encoded())
    assert fetcher(site, tmp_path).fetch(URL)


def test_failed_write_leaves_nothing_behind(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.routes["/fox.png"] = give(encoded())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SourceError, match="No space left"):
        fetcher(site, tmp_path).fetch(URL)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (give(b"<html>", "text/html"), "no PNG"),
        (give(b"<html>", "image/png"), "no PNG"),
        (give(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"), "no PNG"),
        (give(encoded()[:500]), "damaged"),
        (give(b""), "no PNG"),
        (give(bomb(60_000, 60_000)), "pixels"),
        (give(bomb(9_000, 9_000)), "pixels"),
        (give(b"", Content_Length="99999999999"), "larger than 20 MB"),
        (give(b"", Content_Length="9" * 400), "cannot be fetched|no PNG|larger"),
        (give(encoded(), status=206), "HTTP 206"),
        (give(encoded(), status=401), "HTTP 401"),
        (give(encoded(), Content_Encoding="gzip"), "cannot be fetched"),
    ],
)
def test_what_is_no_picture_costs_only_itself(site: Site, tmp_path: Path, route: Route, message: str) -> None:
    site.routes["/fox.png"], site.routes["/owl.png"] = route, give(encoded(), "application/octet-stream")
    shown = ShownPictures(fetcher(site, tmp_path))
    record = shown_for("http://pictures.example/fox.png", "http://pictures.example/owl.png")
    assert len(shown.show(record)) == 1
    assert [failed.locator for failed in shown.failed] == [URL]
    with pytest.raises(VelaturaError, match=message):
        fetcher(site, tmp_path).fetch(URL)


def test_picture_of_very_many_scans_is_not_decoded(site: Site, tmp_path: Path) -> None:
    content = encoded(size=(2000, 2000), kind="JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    assert 2 < content.count(b"\xff\xda") < 50
    site.routes["/fox.png"] = give(content[:last] + content[last:-2] * 2000 + content[-2:], "image/jpeg")
    started = time.monotonic()
    with pytest.raises(UnreadableFile, match="more than 200 scans"):
        fetcher(site, tmp_path).fetch(URL)
    assert time.monotonic() - started < 5


def test_endless_picture_is_cut_off(site: Site, tmp_path: Path) -> None:
    sent = 0

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.end_headers()
        while sent < 200_000_000:
            sent += handler.wfile.write(bytes(100_000))

    site.routes["/fox.png"] = endless
    with pytest.raises(UnreadableFile, match="larger than 20 MB"):
        fetcher(site, tmp_path).fetch(URL)
    assert sent < 60_000_000


@pytest.mark.parametrize("part", ["head", "body"])
def test_dribbling_server_is_cut_off(site: Site, tmp_path: Path, part: str) -> None:
    def dribble(handler: BaseHTTPRequestHandler) -> None:
        if part == "body":
            give(b"", Content_Length="100000")(handler)
        else:
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        for _ in range(100):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.05)

    site.routes["/fox.png"] = dribble
    started = time.monotonic()
    with pytest.raises(SourceError):
        fetcher(site, tmp_path, seconds=0.5).fetch(URL)
    assert time.monotonic() - started < 3


def test_nothing_of_the_original_file_is_left() -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    content = encoded(kind="JPEG", exif=exif, comment=b"secret prompt", icc_profile=b"secret profile")
    assert content.count(b"secret") == 3
    with Image.open(io.BytesIO(content)) as picture:
        assert b"secret" not in shrink(picture)


# ---------------------------------------------------------------- from where


INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "100.64.0.1", "192.0.0.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "2002:7f00:1::", "2001:0:7f00:1::", "::127.0.0.1", "nonsense", "",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_host_that_leads_into_the_house_is_not_connected_to(site: Site, tmp_path: Path, address: str) -> None:
    site.routes["/fox.png"] = give(encoded())
    site.names["pictures.example"] = [PUBLIC, address]
    with pytest.raises(SourceError, match="not on the public network"):
        fetcher(site, tmp_path).fetch(URL)
    assert not site.connected
    assert not site.asked


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


HOSTS = [
    "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]",
    "127.0.0.1.", "0", "0.0.0.0",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_spellings_of_this_machine_are_refused_by_the_real_resolver(site: Site, tmp_path: Path, host: str) -> None:
    site.routes["/fox.png"] = give(encoded())
    with pytest.raises(VelaturaError):
        PictureFetcher(tmp_path).fetch(f"http://{host}:{site.port}/fox.png")
    assert not site.asked


def test_the_real_resolver_knows_this_machine() -> None:
    assert "127.0.0.1" in resolve("127.0.0.1", 80)


def test_connection_goes_to_the_address_that_was_checked(site: Site, tmp_path: Path) -> None:
    site.routes["/fox.png"] = give(encoded())
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    session = public_session(lambda host, port: next(answers), site.connect)
    assert PictureFetcher(tmp_path, session=session).fetch(URL)
    assert site.connected == [PUBLIC]


def test_each_hop_is_checked_again(site: Site, tmp_path: Path) -> None:
    site.routes["/fox.png"] = moved("/again.png")
    site.routes["/again.png"] = give(encoded())
    answers = iter([[PUBLIC], ["169.254.169.254"]])
    session = public_session(lambda host, port: next(answers), site.connect)
    with pytest.raises(SourceError, match="not on the public network"):
        PictureFetcher(tmp_path, session=session).fetch(URL)
    assert [path for _, path in site.asked] == ["/fox.png"]


@pytest.mark.parametrize(
    "target",
    [
        "http://inside.example/fox.png", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd",
        "http://me:secret@pictures.example/owl.png", "ftp://pictures.example/owl.png", "//127.0.0.1/owl.png",
        "data:image/png;base64,AAAA", "gopher://pictures.example/", "http://unknown.example/",
        "http://pictures.example:0/owl.png", "http://pictures.example:99999/owl.png", "http://[/owl.png",
    ],
)  # fmt: skip
def test_redirection_to_where_nobody_may_go_is_refused(site: Site, tmp_path: Path, target: str) -> None:
    site.names["inside.example"], site.names["169.254.169.254"] = ["10.1.2.3"], ["169.254.169.254"]
    site.names["127.0.0.1"] = ["127.0.0.1"]
    site.routes["/fox.png"], site.routes["/owl.png"] = moved(target), give(encoded())
    with pytest.raises(VelaturaError):
        fetcher(site, tmp_path).fetch(URL)
    assert [path for _, path in site.asked] == ["/fox.png"]


def test_three_redirections_are_followed_and_a_fourth_is_not(site: Site, tmp_path: Path) -> None:
    for number in range(4):
        site.routes[f"/{number}"] = moved(f"/{number + 1}", 307)
    site.routes["/4"] = give(encoded())
    assert fetcher(site, tmp_path).fetch("http://pictures.example/1")
    with pytest.raises(SourceError, match="more than 3 times"):
        fetcher(site, tmp_path).fetch("http://pictures.example/0")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://pictures.example/a", "http://me@pictures.example/a", "http://", "picture.png",
        "http://a b/", "http://pictures.example/\n", "javascript:alert(1)", "http://" + "a" * 3000, "http://x\\@y/",
        "http://[", "http://pictures.example:port/",
    ],
)  # fmt: skip
def test_addresses_that_are_never_asked(site: Site, tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="no address that pictures are fetched from"):
        fetcher(site, tmp_path).fetch(url)
    assert not site.connected


def test_proxies_credentials_and_cookies_stay_at_home(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine pictures.example login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    site.routes["/fox.png"] = give(encoded(), Set_Cookie="a=b")
    site.routes["/owl.png"] = give(encoded("blue"))
    pictures = fetcher(site, tmp_path)
    pictures.fetch(URL)
    pictures.fetch("http://pictures.example/owl.png")
    assert not {name for sent in site.headers for name in sent} & {"Cookie", "Authorization", "Proxy-Authorization"}


def test_secrets_in_an_address_are_not_repeated(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        fetcher(site, tmp_path).fetch("http://pictures.example/fox.png?token=abcdef")
    assert "abcdef" not in str(caught.value)


# ---------------------------------------------------------------- which


def shown_for(*urls: str, nsfw: int | None = PG, **fields: Any) -> AdapterRecord:
    examples = tuple(Example(image=url, nsfw=nsfw) for url in urls)
    return AdapterRecord(source="civitai", key="1", title="Fox", **{"examples": examples, "nsfw": nsfw, **fields})


def local(tmp_path: Path, **fields: Any) -> AdapterRecord:
    for number, color in enumerate(("red", "lime", "blue", "white"), 1):
        (tmp_path / f"{number}.png").write_bytes(encoded(color, (20, 20)))
    path = str(tmp_path / "fox.safetensors")
    return shown_for(path=path, **{"previews": tuple(f"{number}.png" for number in range(1, 5)), **fields})


def color_of(picture: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(picture)) as image:
        return tuple(round(value / 255) for value in image.getpixel((5, 5)))  # type: ignore[union-attr]


def test_local_pictures_come_first_and_few_are_shown(site: Site, tmp_path: Path) -> None:
    site.routes["/fox.png"] = give(encoded("black", (20, 20)))
    record = local(tmp_path, examples=(Example(image=URL, nsfw=PG),), previews=("1.png", "gone.png", "1.png"))
    shown = ShownPictures(fetcher(site, tmp_path / "cache"))
    assert [color_of(picture) for picture in shown.show(record)] == [(1, 0, 0), (0, 0, 0)]
    assert [color_of(picture) for picture in ShownPictures(most=2).show(local(tmp_path))] == [(1, 0, 0), (0, 1, 0)]
    assert ShownPictures(most=0).show(record) == []


@pytest.mark.parametrize(
    ("rating", "allowed", "is_shown"),
    [
        (PG, PG | PG13, True), (R, PG | PG13, False), (None, PG | PG13, False), (None, None, True), (XXX, None, True),
        (PG | R, PG, False), (BLOCKED, None, False), (BLOCKED, 63, False), (0, PG, True),
    ],
)  # fmt: skip
def test_rating_decides_what_is_shown(
    site: Site, tmp_path: Path, rating: int | None, allowed: int | None, is_shown: bool
) -> None:
    site.routes["/fox.png"] = give(encoded())
    shown = ShownPictures(fetcher(site, tmp_path), nsfw=allowed)
    for record in (shown_for(URL, nsfw=rating), local(tmp_path, nsfw=rating, examples=())):
        assert bool(shown.show(record)) is is_shown
        assert bool(shown.identities(record)) is is_shown


def test_local_example_that_is_rated_itself_stays_out(tmp_path: Path) -> None:
    record = local(tmp_path, previews=("1.png",), examples=(Example(image="2.png", nsfw=XXX),), nsfw=PG)
    assert len(ShownPictures(nsfw=PG).show(record)) == 1


def test_what_depicts_a_minor_is_not_shown(site: Site, tmp_path: Path) -> None:
    record = shown_for(URL, minor=True)
    assert ShownPictures(fetcher(site, tmp_path)).show(record) == []
    assert not site.asked


def test_identity_is_content_or_address_and_costs_no_request(site: Site, tmp_path: Path) -> None:
    shown = ShownPictures(fetcher(site, tmp_path / "cache"))
    assert shown.identities(shown_for(URL, "http://pictures.example/a.mp4", "ftp://a/b.png")) == (URL,)
    assert not site.asked
    record = local(tmp_path, previews=("1.png", "2.png"), examples=())
    first = shown.identities(record)
    (tmp_path / "1.png").rename(tmp_path / "moved.png")
    (tmp_path / "moved.png").rename(tmp_path / "1.png")
    assert ShownPictures().identities(record) == first
    (tmp_path / "1.png").write_bytes(encoded("black", (30, 30)))
    assert shown.identities(record)[0] != first[0]
    assert shown.identities(record)[1] == first[1]


def test_digests_that_are_known_are_not_read_again(tmp_path: Path) -> None:
    record = local(tmp_path, previews=("1.png",), examples=())
    file = read_picture_file(tmp_path / "1.png")
    assert ShownPictures(digests={file.stamp: "known"}).identities(record) == ("known",)
    assert ShownPictures(digests={"another": "known"}).identities(record) == (file.digest,)


def test_addresses_are_nothing_without_a_fetcher() -> None:
    assert ShownPictures().identities(shown_for(URL)) == ()
    assert ShownPictures().show(shown_for(URL)) == []


def test_damaged_file_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    record = local(tmp_path, examples=())
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    shown = ShownPictures(most=2)
    assert [color_of(picture) for picture in shown.show(record)] == [(0, 1, 0), (0, 0, 1)]
    assert [Path(failed.locator).name for failed in shown.failed] == ["1.png"]
