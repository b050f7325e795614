"""Files of adapters, fetched: resumed, checked, named, from public addresses alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fetch_process import order_of
from public_site import PUBLIC, Route, Site, give, moved, running_site

from velatura.catalog import open_source
from velatura.errors import InputError
from velatura.fetching import Fetched, fetch
from velatura.fetching import transfer as transfers
from velatura.fetching.file_name import safe_file_name
from velatura.fetching.origin import origin_of
from velatura.records import XXX, AdapterRecord, Hashes, Licence, R

API = "/api/download/models/2"
STORED = "/stored/fox"
STORAGE = "https://storage.example/stored/fox?X-Signature=sesame"
TOKEN = "civitai-token-sesame"


def safetensors(size: int) -> bytes:
    """A safetensors file of one tensor with so many bytes, none like its neighbours."""
    header = json.dumps({"lora.weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + hashlib.shake_256(b"fox").digest(size)


FILE = safetensors(3_000_000)
SHA256 = hashlib.sha256(FILE).hexdigest()


def stored(
    content: bytes = FILE, *, etag: str | None = '"one"', most: int | None = None, stalls: int | None = None
) -> Route:
    """A storage that knows `Range` and `If-Range`; it breaks off after `most` bytes of each answer.

    With `stalls` it sends slowly, and from that byte on nothing more, until whoever asks goes away.
    """

    def answer(handler: BaseHTTPRequestHandler) -> None:
        first = 0
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if asked and handler.headers.get("If-Range") in (None, etag):
            first = int(asked[1])
        if first >= len(content):
            handler.send_response(416)
            handler.end_headers()
            return
        handler.send_response(206 if first else 200)
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if etag:
            handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(content) - first))
        handler.send_header("Content-Disposition", 'attachment; filename="../../.bashrc"')
        handler.end_headers()
        sent = content[first:stalls] if most is None else content[first : first + most]
        for place in range(0, len(sent), 50_000):
            handler.wfile.write(sent[place : place + 50_000])
            time.sleep(0.01 if stalls else 0)
        if stalls:
            handler.connection.recv(1)

    return answer


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as found:
        found.names = {"civitai.com": [PUBLIC], "storage.example": ["93.184.216.35"]}
        found.routes = {API: moved(STORAGE, 307), STORED: stored()}
        yield found


def brought(site: Site, folder: Path, *orders: Any, slept: list[float] | None = None) -> list[Fetched]:
    wanted = orders or (order_of("fox.safetensors", SHA256, len(FILE)),)
    return list(fetch(wanted, folder, session=site.safe_session, sleep=(slept if slept is not None else []).append))


def failure(site: Site, folder: Path, *orders: Any) -> str:
    (done,) = brought(site, folder, *orders)
    assert done.state == "failed"
    assert done.reason is not None
    assert "sesame" not in done.reason
    return done.reason


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------- what comes


def test_file_comes_whole_and_the_token_stays_with_its_site(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIVITAI_API_TOKEN", TOKEN)
    seen: list[tuple[int, int]] = []
    orders = [order_of("fox.safetensors", SHA256, len(FILE))]
    (done,) = fetch(orders, tmp_path, session=site.safe_session, progress=lambda *told: seen.append(told))
    assert (done.state, done.size, done.sha256) == ("fetched", len(FILE), SHA256)
    assert (tmp_path / "fox.safetensors").read_bytes() == FILE
    assert files(tmp_path) == {"fox.safetensors", "fox.civitai.info"}
    assert [(host, path.partition("?")[0]) for host, path in site.asked] == [
        ("civitai.com", API), ("storage.example", STORED),
    ]  # fmt: skip
    assert site.connected == [PUBLIC, "93.184.216.35"]
    assert [headers.get("Authorization") for headers in site.headers] == [f"Bearer {TOKEN}", None]
    assert not any("sesame" in path for host, path in site.asked if host == "civitai.com")
    assert seen[-1] == (len(FILE), len(FILE))
    (again,) = brought(site, tmp_path)
    assert again.state == "here"
    assert len(site.asked) == 2


def test_what_the_site_says_stays_with_the_file(site: Site, tmp_path: Path) -> None:
    told = {
        "kind": "locon", "triggers": (("red fox", "fur"), ("fox",)), "nsfw": R | XXX, "real_person": True,
        "minor": False, "base_model": "SD 1.5", "creator": "ada",
        "licence": Licence(commercial=("image",), no_credit=False),
    }  # fmt: skip
    source = Path(__file__).parents[2] / "playground" / "weights" / "loras" / "cat.safetensors"
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    site.routes[STORED] = stored(content)
    wanted = order_of("cat.safetensors", digest, len(content), **told)
    assert brought(site, tmp_path, wanted)[0].state == "fetched"
    (entry,) = open_source(tmp_path).entries()
    (record,) = entry.read()
    assert isinstance(record, AdapterRecord)
    for name in ("title", "model_id", "version_id", "nsfw", "real_person", "minor", "triggers", "licence", "creator"):
        assert getattr(record, name) == getattr(wanted.record, name), name
    assert record.hashes.sha256 == digest


def test_sidecar_that_is_there_is_left_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "fox.civitai.info").write_text("mine")
    assert brought(site, tmp_path)[0].state == "fetched"
    assert (tmp_path / "fox.civitai.info").read_text() == "mine"


@pytest.mark.parametrize("etag", ['"one"', None, 'W/"weak"'])
def test_broken_connection_is_gone_on_with(site: Site, tmp_path: Path, etag: str | None) -> None:
    site.routes[STORED] = stored(etag=etag, most=1_200_000)
    slept: list[float] = []
    (done,) = brought(site, tmp_path, slept=slept)
    assert done.state == "fetched"
    assert (tmp_path / "fox.safetensors").read_bytes() == FILE
    ranges = [headers.get("Range") for headers in site.headers if headers["Host"] == "storage.example"]
    assert ranges == [None, "bytes=1200000-", "bytes=2400000-"]
    assert len(slept) == 2


def test_file_that_changed_on_the_way_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    """An answer that is whole, or another piece, where the rest was asked for."""
    other = safetensors(3_000_000)[:-1] + b"!"
    routes = iter([stored(other, etag='"old"', most=1_000_000), stored(etag='"new"')])
    site.routes[STORED] = lambda handler: next(routes)(handler)
    assert brought(site, tmp_path)[0].state == "fetched"
    assert (tmp_path / "fox.safetensors").read_bytes() == FILE


def test_server_that_lies_about_the_piece_is_asked_for_the_whole(site: Site, tmp_path: Path) -> None:
    lie = give(FILE[5:], "x/y", 206, Content_Range=f"bytes 5-{len(FILE) - 1}/{len(FILE)}")
    routes = iter([stored(most=1_000_000), lie, stored()])
    site.routes[STORED] = lambda handler: next(routes)(handler)
    assert brought(site, tmp_path)[0].state == "fetched"
    assert (tmp_path / "fox.safetensors").read_bytes() == FILE


def test_part_that_is_not_what_its_note_says_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    """Such as after a power cut, which leaves zeros where bytes were."""
    site.routes[STORED] = stored(most=1_000_000)
    site.routes[API] = give(b"", None, 404)
    failure(site, tmp_path)
    note = {"version": "civitai:1/2", "sha256": SHA256, "size": len(FILE), "etag": '"one"'}
    (tmp_path / "fox.safetensors.part").write_bytes(bytes(1_000_000))
    (tmp_path / "fox.safetensors.part.note").write_text(json.dumps(note))
    site.routes |= {API: moved(STORAGE), STORED: stored()}
    assert brought(site, tmp_path)[0].state == "fetched"
    assert (tmp_path / "fox.safetensors").read_bytes() == FILE


@pytest.mark.parametrize("note", ["{", "[]", '{"version": 5}', "\xed\xa0\x80"])
def test_part_with_no_note_that_fits_is_begun_anew(site: Site, tmp_path: Path, note: str) -> None:
    (tmp_path / "fox.safetensors.part").write_bytes(b"x" * 4_000_000)
    (tmp_path / "fox.safetensors.part.note").write_text(note)
    assert brought(site, tmp_path)[0].state == "fetched"
    assert "Range" not in site.headers[-1]


def test_site_that_is_busy_is_waited_for(site: Site, tmp_path: Path) -> None:
    routes = iter([give(b"", None, 429, Retry_After="7"), give(b"", None, 503), moved(STORAGE), moved(STORAGE)])
    site.routes[API] = lambda handler: next(routes)(handler)
    signed = iter([give(b"", None, 403), stored()])  # a signature that ran out
    site.routes[STORED] = lambda handler: next(signed)(handler)
    slept: list[float] = []
    assert brought(site, tmp_path, slept=slept)[0].state == "fetched"
    assert slept[0] == 7
    assert len(slept) == 3


def test_several_come_and_one_that_fails_costs_no_other(site: Site, tmp_path: Path) -> None:
    names = [f"{number}.safetensors" for number in range(5)]
    orders = [
        order_of(name, SHA256 if name != "3.safetensors" else "a1" * 32, None) for name in (*names, "1.SafeTensors")
    ]
    done = brought(site, tmp_path, *orders)
    states = sorted((each.order.file_name, each.state) for each in done)
    assert states == [
        ("0.safetensors", "fetched"), ("1.SafeTensors", "failed"), ("1.safetensors", "fetched"),
        ("2.safetensors", "fetched"), ("3.safetensors", "failed"), ("4.safetensors", "fetched"),
    ]  # fmt: skip
    assert not [name for name in files(tmp_path) if ".part" in name]


# ---------------------------------------------------------------- killed


def test_killed_at_any_byte_it_goes_on(site: Site, tmp_path: Path) -> None:
    """SIGKILL while a slow server sends; then the right bytes, and less than all of them asked for again."""
    part = tmp_path / "fox.safetensors.part"
    command = [sys.executable, "-m", "fetch_process", str(tmp_path), str(site.port), SHA256, str(len(FILE))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for least in (1, 700_000, 1_700_000):
        site.routes[STORED] = stored(stalls=least + 800_000)
        process = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + 120
        while not (part.is_file() and part.stat().st_size >= least):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert not (tmp_path / "fox.safetensors").exists()
    there = part.stat().st_size
    site.routes[STORED] = stored()
    assert brought(site, tmp_path)[0].state == "fetched"
    assert site.headers[-1]["Range"] == f"bytes={there}-"
    assert (tmp_path / "fox.safetensors").read_bytes() == FILE
    assert files(tmp_path) == {"fox.safetensors", "fox.civitai.info"}


def test_killed_between_its_two_names_the_file_stays_whole(site: Site, tmp_path: Path) -> None:
    """The part is a second name of the file then, and must not be written through."""
    (tmp_path / "fox.safetensors.part").write_bytes(FILE)
    os.link(tmp_path / "fox.safetensors.part", tmp_path / "other.safetensors")
    assert brought(site, tmp_path)[0].state == "fetched"
    assert (tmp_path / "other.safetensors").read_bytes() == FILE
    assert not (tmp_path / "fox.safetensors.part").exists()


def test_two_that_fetch_the_same_do_not_meet(site: Site, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys, time; f = open(sys.argv[1], 'wb'); fcntl.flock(f, fcntl.LOCK_EX); "
         "print('locked', flush=True); time.sleep(60)", str(tmp_path / "fox.safetensors.part")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        assert "is being fetched by another process" in failure(site, tmp_path)
        assert not site.asked
    finally:
        process.kill()
        process.communicate()
    assert brought(site, tmp_path)[0].state == "fetched"


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("content", "sha256", "size", "message"),
    [
        (safetensors(3_000_000)[:-1] + b"!", SHA256, None, "is not the file that the catalogue knows"),
        (b"PK\x03\x04" + bytes(500), None, None, "is a pickle"),
        (b"\x80\x02" + bytes(500), hashlib.sha256(b"\x80\x02" + bytes(500)).hexdigest(), None, "is a pickle"),
        (FILE[:-1], hashlib.sha256(FILE[:-1]).hexdigest(), None, "is cut off"),
        (FILE, SHA256, len(FILE) - 5000, "bytes there, and the catalogue says"),
        (FILE, SHA256, len(FILE) + 5000, "bytes there, and the catalogue says"),
        (b"", None, None, "is empty"),
    ],
)  # fmt: skip
def test_what_is_not_the_file_gets_no_name(
    site: Site, tmp_path: Path, content: bytes, sha256: str | None, size: int | None, message: str
) -> None:
    site.routes[STORED] = stored(content) if content else give(b"", "x/y")
    assert message in failure(site, tmp_path, order_of("fox.safetensors", sha256, size))
    assert not {"fox.safetensors", "fox.civitai.info"} & files(tmp_path)


def test_known_beginning_of_the_digest_is_held_against_it(site: Site, tmp_path: Path) -> None:
    wanted = order_of("fox.safetensors", None, None, hashes=Hashes(autov2="0123456789"))
    assert "not 0123456789..." in failure(site, tmp_path, wanted)
    fits = order_of("fox.safetensors", None, None, hashes=Hashes(autov2=SHA256[:10]))
    assert brought(site, tmp_path, fits)[0].state == "fetched"


def test_endless_answer_is_cut_off(site: Site, tmp_path: Path) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))

    site.routes[STORED] = endless
    assert "sends more than the" in failure(site, tmp_path)
    assert not files(tmp_path)


@pytest.mark.parametrize("content", [b"another", None])
def test_another_file_of_that_name_is_left_alone(site: Site, tmp_path: Path, content: bytes | None) -> None:
    target = tmp_path / "fox.safetensors"
    if content is None:
        target.symlink_to(tmp_path / "gone")
    else:
        target.write_bytes(content)
    assert "is there already" in failure(site, tmp_path)
    assert content is None or target.read_bytes() == content
    assert not (tmp_path / "gone").exists()
    assert not site.asked


def test_link_in_the_place_of_the_part_is_not_written_through(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "fox.safetensors.part").symlink_to(tmp_path / "mine")
    failure(site, tmp_path)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_full_drive_is_told_before_anything_is_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert "has 1,000,000 free" in failure(site, tmp_path)
    monkeypatch.undo()
    assert brought(site, tmp_path)[0].state == "fetched"


ANSWERS: list[tuple[str, Route, str]] = [
    ("login", moved("/login?returnUrl=/models/1&reason=download-auth"), "set CIVITAI_API_TOKEN"),
    ("401", give(b"sesame", "application/json", 401), "set CIVITAI_API_TOKEN"),
    ("early access", give(b'{"error": "Early Access sesame"}', "application/json", 403), "set CIVITAI_API_TOKEN"),
    ("gone", give(b"sesame", None, 404), "has this file no longer"),
    ("page", give(b"<html>sesame", "text/html; charset=utf-8"), "a page for a browser"),
    ("packed", give(b"sesame", "x/y", Content_Encoding="gzip"), "packed"),
    ("teapot", give(b"sesame", None, 418), "HTTP 418"),
    ("huge", give(b"", "x/y", Content_Length="99999999999999"), "which is no adapter"),
    ("unsafe", moved("http://storage.example/stored/fox?sesame"), "must be https"),
    ("file", moved("file:///etc/passwd"), "must be https"),
    ("credentials", moved("https://me:sesame@storage.example/"), "must be https"),
    ("round", moved("/api/download/models/2"), "redirects more than"),
]


@pytest.mark.parametrize(
    ("route", "message"), [answer[1:] for answer in ANSWERS], ids=[answer[0] for answer in ANSWERS]
)
def test_answer_that_is_no_file_is_told_in_a_sentence(site: Site, tmp_path: Path, route: Route, message: str) -> None:
    site.routes[API] = route
    assert message in failure(site, tmp_path, order_of("fox.safetensors", SHA256, None))
    assert "fox.safetensors" not in files(tmp_path)


def test_token_that_does_not_help_is_told_by_its_name(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        give(str(handler.headers).encode(), "application/json", 401, X_Echo=handler.headers["Authorization"])(handler)

    monkeypatch.setenv("CIVITAI_API_TOKEN", TOKEN)
    site.routes[API] = echo
    assert "does not let the token in CIVITAI_API_TOKEN have it" in failure(site, tmp_path)
    monkeypatch.setenv("CIVITAI_API_TOKEN", "sesame\r\nX: y")
    assert "CIVITAI_API_TOKEN holds something else than a token" in failure(site, tmp_path)


INSIDE = [
    "127.0.0.1", "169.254.169.254", "::1", "10.1.2.3", "fd00::1", "::ffff:127.0.0.1", "192.168.1.1", "0.0.0.0",
    "fe80::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_redirection_into_the_house_is_not_followed(site: Site, tmp_path: Path, address: str) -> None:
    site.names["storage.example"] = [PUBLIC, address]
    assert "not on the public network" in failure(site, tmp_path)
    assert site.connected == [PUBLIC]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "localhost"])
def test_spellings_of_this_machine_are_refused(site: Site, tmp_path: Path, host: str) -> None:
    from velatura.public_http import resolve

    site.routes[API] = moved(f"https://{host}:{site.port}/stored/fox")
    site.resolve = lambda name, port: [PUBLIC] if name == "civitai.com" else resolve(name, port)  # type: ignore[method-assign]
    failure(site, tmp_path)
    assert site.connected == [PUBLIC]
    assert [path.partition("?")[0] for _, path in site.asked if path.startswith("/stored")] == []


def test_connection_goes_to_the_address_that_was_checked(site: Site, tmp_path: Path) -> None:
    """A name that means another address when it is asked for a second time."""
    answers = iter([[PUBLIC], ["93.184.216.35"], ["127.0.0.1"]])
    site.resolve = lambda name, port: next(answers)  # type: ignore[method-assign]
    assert brought(site, tmp_path)[0].state == "fetched"
    assert site.connected == [PUBLIC, "93.184.216.35"]


def test_dribbling_server_is_left_in_the_end(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dribble(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(FILE)))
        handler.end_headers()
        for byte in FILE[:100]:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)

    from velatura.public_http import public_session

    site.session = lambda: public_session(site.resolve, site.connect, kept=0.1)  # type: ignore[method-assign]
    monkeypatch.setattr(transfers, "_TRIES", 2)
    site.routes[STORED] = dribble
    begun = time.monotonic()
    assert "goes on from there" in failure(site, tmp_path)
    assert time.monotonic() - begun < 8  # each try would take 5, were it not left


# ---------------------------------------------------------------- from where, and as what


def test_address_is_built_of_ids_and_not_taken_from_a_page() -> None:
    def of(**fields: Any) -> str:
        return origin_of(
            AdapterRecord(**{"source": "civitai", "key": "k", "title": "Fox", "version_id": 7, **fields})
        ).url

    ours = "https://civitai.com/api/download/models/7?"
    assert of(url="http://169.254.169.254/x?type=Model&fp=fp16&token=secret&size=a%26b") == f"{ours}type=Model&fp=fp16"
    assert of(url=None) == of(url="http://[") == f"{ours}type=Model&format=SafeTensor"
    hub = {"source": "huggingface", "model_id": "ada/fox", "version_id": "a" * 40, "file_id": "v 1/fox.safetensors"}
    assert of(**hub) == f"https://huggingface.co/ada/fox/resolve/{'a' * 40}/v%201/fox.safetensors"
    for wrong in (
        {"file_id": "../../x.safetensors"},
        {"model_id": "../api"},
        {"file_id": "x.bin"},
        {"model_id": "a/b/c"},
    ):
        with pytest.raises(InputError, match="nowhere to fetch it from"):
            of(**{**hub, **wrong})
    for wrong, why in (({"format": "pickle"}, "pickle"), ({"available": False}, "not offered")):
        with pytest.raises(InputError, match=why):
            of(**wrong)


NAMES: dict[str | None, str] = {
    "fox.safetensors": "fox.safetensors", "Füchse 赤狐.safetensors": "Füchse 赤狐.safetensors",
    "../../.ssh/authorized_keys": "authorized_keys.safetensors", "/etc/passwd": "passwd.safetensors",
    "C:\\Windows\\a.safetensors": "a.safetensors", "a\x00b.safetensors": "ab.safetensors",
    "..": "civitai-7.safetensors", "": "civitai-7.safetensors", None: "civitai-7.safetensors",
    "nul.safetensors": "_nul.safetensors", "COM1.x.safetensors": "_COM1.x.safetensors", "lpt¹": "_lpt¹.safetensors",
    "fox. . .safetensors": "fox.safetensors", "fox.SAFETENSORS": "fox.safetensors", "-rf.safetensors": "rf.safetensors",
    "\u202egpj.xof.safetensors": "gpj.xof.safetensors", "a\uff0f..\u2215b.safetensors": "a_.._b.safetensors",
    "fox.pt": "fox.pt.safetensors", "a:b|c?.safetensors": "a_b_c_.safetensors",
    "\ud800fox.safetensors": "fox.safetensors",
    "fox.safetensors.safetensors": "fox.safetensors",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_name_is_one_that_every_system_takes(name: str | None) -> None:
    assert safe_file_name(name, "civitai-7") == NAMES[name]


def test_long_name_is_cut() -> None:
    for letter in ("a", "狐", "🦊"):
        name = safe_file_name(letter * 4000 + ".safetensors", "x")
        assert len(name.encode()) <= 192
        assert name.endswith(".safetensors")
