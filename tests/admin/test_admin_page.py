"""The status page, as it leaves the server and as a real browser shows it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import shutil
import sqlite3
import struct
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.admin.page import NONE, age
from tests.admin.conftest import START

if TYPE_CHECKING:
    from pathlib import Path

    from tests.admin.conftest import Client, Played, Serve

TOKEN = "t0ken-of-the-admin"
PHONE = (500, 900)
"""The narrowest window that Chromium makes is 500 wide."""

NASTY = "z<script>alert(1)</script>\"'&/ p"
DELIVERY = (
    "INSERT INTO deliveries (webhook_id, process_id, type, payload, created_at, state,"
    " pending_since, attempts, last_error)"
    " VALUES (?, ?, 'process.settled', '{}', 1, 'dead', 1, 9, 'http_500')"
)
chromium = shutil.which("chromium")
needs_a_browser = pytest.mark.skipif(
    chromium is None, reason="chromium is not installed (Debian: apt-get install chromium)"
)


class Page(HTMLParser):
    """The content of a page: tags with attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self._words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def links(self) -> list[str]:
        return [str(attrs["href"]) for tag, attrs in self.tags if tag == "a"]


async def look(client: Client, status: int = 200, **headers: str) -> tuple[Page, Any]:
    async with client.session.get(client.url + "/", headers=headers) as response:
        assert (response.status, response.content_type) == (status, "text/html")
        return Page(await response.text()), response.headers


def change(store_path: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with contextlib.closing(sqlite3.connect(store_path)) as connection, connection:
        for statement, values in statements:
            connection.execute(statement, values)


async def trouble(client: Client, store_path: Path) -> None:
    """Twelve overdue processes, one with a nasty id, and a delivery that was given up."""
    ids = [*(f"process-{number:03}" for number in range(14)), NASTY]
    await client.register(
        *({"dossierId": "d", "processId": key, "provider": "onfido"} for key in ids)
    )
    overdue = "UPDATE processes SET state = 'overdue', state_since = ?, last_error = 'http_503'"
    change(
        store_path,
        (f"{overdue} WHERE process_id >= 'process-003'", (START - 4_000_000,)),
        (DELIVERY, ("msg_1", "process-001")),
    )


async def test_it_tells_the_ledger_in_numbers(
    client: Client, played: Played, store_path: Path
) -> None:
    await trouble(client, store_path)
    played.breaker, played.spooled, played.last_sweep_at = "open", 3, START - 2_000

    page, _ = await look(client)

    assert "overdue 12" in page.text
    assert "waiting 3" in page.text
    assert "oldest overdue 1 h 6 min" in page.text
    assert "breaker open" in page.text
    assert "spooled 3" in page.text
    assert "outbox dead 1" in page.text
    assert "last sweep 2026-02-28 23:59:58 UTC" in page.text
    assert "1.2.3 2026-02-28 23:58:30 UTC open" in page.text  # the instance


async def test_each_item_leads_to_its_json_and_every_link_is_answered(
    client: Client, store_path: Path
) -> None:
    await trouble(client, store_path)

    page, _ = await look(client)
    links = page.links()

    assert len([link for link in links if link.startswith("/v1/processes/")]) == 11
    for link in links:
        async with client.session.get(client.url + link) as response:
            assert response.status == 200, link


async def test_an_id_from_outside_stays_text(client: Client, store_path: Path) -> None:
    await trouble(client, store_path)

    page, _ = await look(client)

    assert NASTY in page.text
    assert "script" not in {tag for tag, _ in page.tags}


async def test_it_loads_nothing_from_elsewhere_and_its_policy_forbids_it(client: Client) -> None:
    page, headers = await look(client)
    again, _ = await look(client)

    policy = headers["Content-Security-Policy"]
    (style,) = [attrs for tag, attrs in page.tags if tag == "style"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'nonce-{style['nonce']}'" in policy
    assert not any("src" in attrs or "style" in attrs for _, attrs in page.tags)
    assert [a["href"] for tag, a in page.tags if tag == "link"] == ["data:,"]
    assert all(link.startswith("/") and not link.startswith("//") for link in page.links())
    assert headers["Cache-Control"] == "no-store"
    assert {"style": style} != {"style": dict(again.tags)["style"]}


async def test_while_the_store_is_down_it_says_so_and_what_it_still_knows(
    client: Client, played: Played, store_path: Path
) -> None:
    change(store_path, ("ALTER TABLE processes RENAME TO away", ()))
    played.spooled = 7

    page, _ = await look(client, status=503)

    assert "The store does not answer" in page.text
    assert "7 wait there" in page.text


async def test_it_names_the_loops_that_stand_still(client: Client, played: Played) -> None:
    played.stale_jobs = ["sweep"]

    page, _ = await look(client)

    assert "have not ticked lately: sweep" in page.text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, NONE), (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min 59 s"),
     (3600, "1 h"), (90_061, "1 d 1 h")],
)  # fmt: skip
def test_ages_are_said_as_people_do(seconds: float | None, said: str) -> None:
    assert age(seconds) == said


def basic(password: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_a_browser_is_asked_for_a_password_and_a_program_is_not(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        for path in ("/", "/v1/status", "/metrics"):
            told = await client.raw("GET", path, headers={"Accept": "text/html,*/*;q=0.8"})
            assert told.status == 401
            challenges = told.headers.getall("WWW-Authenticate")
            assert [each.split()[0] for each in challenges] == ["Bearer", "Basic"]
            told = await client.raw("GET", path)
            assert told.headers.getall("WWW-Authenticate") == ["Bearer"]


@pytest.mark.parametrize("user", ["anybody", "", "reconciler"])
async def test_the_token_as_a_password_lets_a_browser_look_at_everything(
    serve: Serve, user: str
) -> None:
    async with serve(token=TOKEN) as client:
        await look(client, Authorization=basic(TOKEN, user))
        for path in ("/v1/status", "/v1/processes"):
            headers = {"Authorization": basic(TOKEN, user)}
            assert (await client("GET", path, headers=headers)).status == 200


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic !", "Basic " + base64.b64encode(TOKEN.encode()).decode(), basic(""),
     basic(TOKEN + "x"), basic("x", TOKEN), basic(TOKEN) + "x", "Basic \xff"],
)  # fmt: skip
async def test_a_wrong_password_is_401(serve: Serve, header: str) -> None:
    async with serve(token=TOKEN) as client:
        answer = await client.raw("GET", "/", headers={"Authorization": header})

    assert answer.status == 401


async def test_a_password_changes_nothing(serve: Serve) -> None:
    """A browser adds it by itself, also to what a foreign page makes it send."""
    async with serve(token=TOKEN) as client:
        headers = {"Authorization": basic(TOKEN)}
        for method, path in (("POST", "/v1/processes"), ("DELETE", "/v1/processes/p1")):
            assert (await client.raw(method, path, headers=headers)).status == 401


async def browse(profile: Path, *arguments: str) -> str:
    assert chromium is not None
    process = await asyncio.create_subprocess_exec(
        chromium,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--hide-scrollbars", f"--user-data-dir={profile}", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(100):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@needs_a_browser
async def test_a_browser_shows_it(client: Client, store_path: Path, tmp_path: Path) -> None:
    await trouble(client, store_path)

    page = Page(await browse(tmp_path / "profile", "--dump-dom", client.url + "/"))

    assert "overdue 12" in page.text
    assert NASTY in page.text
    assert "script" not in {tag for tag, _ in page.tags}


@needs_a_browser
async def test_on_a_phone_nothing_is_wider_than_the_window(
    client: Client, store_path: Path, tmp_path: Path
) -> None:
    """The page is put into a frame as wide as a phone by a page that measures it."""
    await trouble(client, store_path)
    async with client.session.get(client.url + "/") as response:
        html = await response.text()
    html = re.sub(r'<meta http-equiv="refresh"[^>]*>', "", html)
    outer = tmp_path / "outer.html"
    encoded = base64.b64encode(html.encode()).decode()
    outer.write_text(
        "<!doctype html><iframe id=f width=360 height=740></iframe><output id=o></output><script>"
        "f.onload = () => { const d = f.contentDocument.documentElement;"
        " o.textContent = `${d.scrollWidth} of ${d.clientWidth}`; };"
        "f.srcdoc = new TextDecoder().decode("
        f"Uint8Array.from(atob('{encoded}'), c => c.charCodeAt(0)));</script>"
    )

    told = await browse(
        tmp_path / "profile", "--virtual-time-budget=5000", "--dump-dom", outer.as_uri()
    )

    (found,) = re.findall(r"(\d+) of (\d+)</output>", told)
    assert found[0] == found[1] == "360"


@needs_a_browser
async def test_a_browser_can_draw_it(client: Client, store_path: Path, tmp_path: Path) -> None:
    await trouble(client, store_path)
    picture = tmp_path / "page.png"
    size = "--window-size={},{}".format(*PHONE)

    await browse(tmp_path / "profile", size, f"--screenshot={picture}", client.url + "/")

    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == PHONE
    assert len(data) > 20_000  # an empty page is a tenth of that
