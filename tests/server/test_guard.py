"""The guard: by which name a server is called, who may ask, from where, and with how much."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

import pytest
import requests

from velatura.server.guard import COOKIE, Guard, client_of, cookie_of, is_loopback, names_of

TOKEN = "a-token-that-nobody-guesses"
SEARCH = {"prompt": "a fox"}


@pytest.fixture(scope="module")
def guarded(serve: Any) -> Any:
    """A server with a token."""
    return serve(token=TOKEN)


def post(server: Any, path: str = "/search", body: Any = SEARCH, **headers: str) -> requests.Response:
    return requests.post(f"{server.url}{path}", json=body, headers=headers, timeout=120)


def said(answer: requests.Response) -> str:
    return str(answer.json()["error"]["message"])


# ------------------------------------------------------------------------------------------------- tokens


def test_a_token_is_shown_as_a_bearer_as_a_password_or_in_the_cookie(guarded: Any) -> None:
    basic = base64.b64encode(f"ada:{TOKEN}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer  {TOKEN} "},
        {"Authorization": f"Basic {basic}"},
        {"Cookie": f"other=1; {COOKIE}={cookie_of(TOKEN)}"},
    ):
        assert post(guarded, **headers).status_code == 200, headers


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Bearer {TOKEN[:-1]}"},
     {"Authorization": TOKEN}, {"Authorization": "Basic !!!"}, {"Authorization": f"Basic {TOKEN}"},
     {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()}, {"Authorization": "Bearer \xe4\xf6"},
     {"Cookie": f"{COOKIE}={TOKEN}"}, {"Cookie": f"{COOKIE}="}, {"Cookie": "]["}, {"X-Token": TOKEN}],
)  # fmt: skip
def test_nobody_is_let_in_with_anything_else(guarded: Any, headers: dict[str, str]) -> None:
    answer = post(guarded, **headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Bearer TOKEN" in said(answer)


def test_every_path_but_the_page_and_health_needs_the_token(guarded: Any) -> None:
    spec = requests.get(f"{guarded.url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10).json()
    open_paths = {"/health", "/", "/login", "/metrics", "/favicon.ico"}
    asked = 0
    for path, routes in spec["paths"].items():
        if path in open_paths or path.startswith("/page/"):
            continue
        for method in routes:
            answer = requests.request(method, f"{guarded.url}{path.replace('{number}', '1')}", timeout=10)
            assert answer.status_code == 401, (method, path)
            asked += 1
    assert asked > 20
    for path in ("/openapi.json", "/docs", "/nothing", "/pictures/x.png"):
        assert requests.get(f"{guarded.url}{path}", timeout=10).status_code == 401
    assert requests.get(f"{guarded.url}/health", timeout=10).status_code == 200


def test_a_browser_is_let_in_by_its_cookie_until_it_logs_out(guarded: Any) -> None:
    browser = requests.Session()
    assert browser.post(f"{guarded.url}/login", json={"token": "wrong"}, timeout=10).status_code == 401
    assert browser.get(f"{guarded.url}/stats", timeout=10).status_code == 401
    answer = browser.post(f"{guarded.url}/login", json={"token": TOKEN}, timeout=10)
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert browser.get(f"{guarded.url}/stats", timeout=10).status_code == 200
    secure = requests.post(
        f"{guarded.url}/login", json={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"}, timeout=10
    )
    assert "Secure" in secure.headers["Set-Cookie"], "behind a proxy that speaks https"
    browser.post(f"{guarded.url}/logout", timeout=10)
    assert browser.get(f"{guarded.url}/stats", timeout=10).status_code == 401


def test_a_server_without_a_token_needs_no_login(served: Any) -> None:
    answer = post(served, "/login", {"token": "anything"})
    assert answer.json() == {"needed": False}
    assert "Set-Cookie" not in answer.headers


# ------------------------------------------------------------------------------------ names and other sites


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7870", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "", "::1@x"],
)
def test_a_name_that_was_pointed_here_is_refused(served: Any, host: str) -> None:
    answer = post(served, Host=host)
    assert answer.status_code == 403
    assert "not called by that name" in said(answer)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]", "[::1]:7870"])
def test_its_own_names_are_fine(served: Any, host: str) -> None:
    assert post(served, Host=host).status_code == 200


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "http://localhost:1", "http://127.0.0.1", "file://", "", "http://"]
)
def test_a_page_of_another_site_may_not_ask(served: Any, origin: str) -> None:
    answer = post(served, Origin=origin)
    assert answer.status_code == 403
    assert "another site" in said(answer)
    gone = requests.delete(f"{served.url}/jobs/x", headers={"Origin": origin}, timeout=10)
    assert gone.status_code == 403


def test_the_servers_own_page_may_ask(served: Any) -> None:
    assert post(served, Origin=served.url).status_code == 200
    assert post(served, Host="[::1]:9", Origin="http://[::1]:9").status_code == 200


def test_public_names_are_named_by_the_settings() -> None:
    assert set(names_of("127.0.0.1", ["paint.example"])) == {"localhost", "127.0.0.1", "::1", "paint.example"}
    assert names_of("0.0.0.0", []) == (), "every name: nobody can say which ones an address has"
    assert "paint.example" in names_of("0.0.0.0", ["paint.example"])
    assert names_of("192.168.1.5", []) == ("192.168.1.5",)
    assert [is_loopback(host) for host in ("127.0.0.5", "::1", "localhost", "0.0.0.0", "example.org")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_clients_of_one_address_are_told_apart_by_a_short_name() -> None:
    from starlette.datastructures import Headers

    scope = {"type": "http", "client": ("10.0.0.1", 5)}
    assert client_of(scope, Headers({})) == "10.0.0.1"
    assert client_of(scope, Headers({"x-velatura-client": "a" * 500})) == f"10.0.0.1 {'a' * 64}"
    assert client_of({"type": "http", "client": None}, Headers({})) == "unknown"


# --------------------------------------------------------------------------------------------------- bodies


async def ask(
    body: list[bytes], *, largest: int = 10, token: str | None = None, **headers: str
) -> tuple[int, bytes, int]:
    """Send a body in pieces through a guard to an application that reads all of it; return what it got, too."""
    pieces, sent, read = list(body), [], 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal read
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RuntimeError("the client is gone")
            read += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    scope = {
        "type": "http", "method": "POST", "path": "/search", "client": ("127.0.0.1", 1),
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    }  # fmt: skip
    await Guard(app, token=token, hosts=(), largest=largest)(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], content, read


def run(*pieces: bytes, **headers: Any) -> tuple[int, bytes, int]:
    import asyncio

    return asyncio.run(ask(list(pieces), **headers))


def test_a_body_may_be_as_large_as_it_may() -> None:
    assert run(b"12345", b"67890") == (200, b"fine", 10)


@pytest.mark.parametrize("length", ["11", "9" * 30, "9" * 5000])
def test_a_body_that_says_that_it_is_too_large_is_not_read(length: str) -> None:
    status, content, read = run(b"x", content_length=length)
    assert (status, read) == (413, 0)
    assert b"larger than" in content


@pytest.mark.parametrize("length", [{}, {"content_length": "2"}, {"content_length": "-5"}, {"content_length": "\xb2"}])
def test_a_body_in_pieces_or_that_lies_ends_where_it_becomes_too_large(length: dict[str, str]) -> None:
    status, _, read = run(b"123456", b"789012", b"345", **length)
    assert status == 413
    assert read <= 10


def test_a_body_of_a_million_values_is_not_read_and_a_picture_is() -> None:
    status, content, read = run(b"[" + b"[]," * 300_000, b"[]," * 300_000, largest=32 << 20)
    assert (status, b"more than the 1,000,000 values" in content) == (413, True)
    assert read < 1_000_000
    picture = bytes(range(256)) * 20_000
    assert run(*[picture] * 5, largest=32 << 20) == (200, b"fine", 5 * len(picture))


@pytest.mark.parametrize("shown", ["Basic \xe9", "Basic YTrDqQ==", "Basic /w==", "Bearer \xff", "Basic"])
def test_a_password_of_odd_letters_is_a_wrong_one(shown: str) -> None:
    status, content, _ = run(b"{}", token="secret", authorization=shown)
    assert (status, b"needs its token" in content) == (401, True)


def test_a_chunked_body_over_a_real_connection_is_cut_off(serve: Any) -> None:
    server = serve(largest_body=1)
    head = "POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(17):  # a megabyte and some more
            connection.sendall(piece)
        answer = b""
        while not answer.endswith(b"}") and (piece := connection.recv(65536)):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"larger than the 1 MB" in answer


def test_a_prompt_of_ten_megabytes_is_refused(serve: Any) -> None:
    assert post(serve(largest_body=1), body={"prompt": "x" * 10_000_000}).status_code == 413
    answer = post(serve(), body={"prompt": "x" * 10_000_000})
    assert answer.status_code == 422
    assert len(answer.content) < 1000, "it is not sent back"


def test_errors_have_the_form_that_openais_clients_read(guarded: Any) -> None:
    answer = post(guarded)
    assert json.loads(answer.content)["error"]["type"] == "authentication_error"
    missing = requests.get(f"{guarded.url}/nothing", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert missing.json()["error"]["type"] == "not_found_error"
