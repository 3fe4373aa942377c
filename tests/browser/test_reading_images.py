"""Image arms in a real browser: films and maps beside the answers, for this reader only, and no
byte that names a case or a score.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import store
from core.store import reading_table
from dashboard.server import image_routes
from evaluation.reading_study import site_bundles
from support.expert_client import Client, seat, token_of
from support.image_arms import close_open, freeze
from support.live_server import Served, start_server, stop_server
from support.network_capture import Wire
from support.reading_browser import settle

pytestmark = pytest.mark.browser
LOADED = (
    "() => { const i = [...document.querySelectorAll('*')].map(e =>"
    " e.shadowRoot?.querySelector('.rd .pic img')).find(Boolean); return Boolean(i && i.complete &&"
    " i.naturalWidth); }"
)


@pytest.fixture
def pictured(own_study: Path):
    """A server over the demonstration with an open study of four arms."""
    close_open(own_study)
    freeze(own_study, ("image", "class_map", "image_explanation", "explanation"))
    running = start_server(own_study)
    yield running
    stop_server(running)


def answer(client: Client, case: dict) -> dict:
    return client.read(
        "answer", {"token": case["token"], "answer": 3, "seconds": 1.0, "idle": False}
    )


def test_a_reader_sees_only_the_own_pictures_and_each_place_has_its_own_address(
    pictured: Served,
) -> None:
    clients = {code: seat(pictured, code) for code in ("R1", "R2")}
    client, case = clients["R1"]
    annotator = Client(pictured.base).enter(token_of(pictured.invite("annotator")))
    team = Client(pictured.base).enter(token_of(pictured.invite("team")))
    addresses, shapes, sizes = [], set(), set()
    while case is not None:
        shapes.add(tuple(sorted(case)))
        if case["picture"]:
            assert set(case["picture"]) == {"kind", "url"} and case["picture"]["kind"] in (
                "film",
                "class_map",
            )
            status, body = client.ask(case["picture"]["url"])
            image = Image.open(io.BytesIO(body))
            assert (
                status == 200
                and image.format == "JPEG"
                and not image.getexif()
                and "comment" not in image.info
            )
            sizes.add((case["picture"]["kind"], image.mode))
            assert clients["R2"][0].ask(case["picture"]["url"])[0] == 403  # another reader's
            assert (
                annotator.ask(case["picture"]["url"])[0] == 404
                and team.ask(case["picture"]["url"])[0] == 404
            )
            assert Client(pictured.base).ask(case["picture"]["url"])[0] == 401
            addresses.append(case["picture"]["url"])
        case = answer(client, case).get("case")
    with store.read(pictured.study) as con:
        items = reading_table.items(con, "Pictures", 1).query("code == 'R1'")
        shown = {p.case_number for p in reading_table.pictures(con, "Pictures", 1)}
    assert (
        len(addresses) == len(set(addresses)) == int(items["case_number"].isin(shown).sum())
    )  # a hidden repeat has an address of its own
    assert (
        items["repeat"].any()
        and len(shapes) == 1
        and sizes == {("film", "L"), ("class_map", "RGB")}
    )
    assert [client.ask(url)[0] for url in addresses[:-3]] == [403] * (
        len(addresses) - 3
    )  # what was read before is not to be had any more
    assert client.ask("/image/unknown")[0] == 403


def test_nothing_sent_names_a_case_or_a_score(pictured: Served, context) -> None:
    with Wire(int(pictured.base.rsplit(":", 1)[1])) as wire:
        page = context.new_page()
        page.goto(pictured.invite("reader", "R1").replace(pictured.base, wire.base))
        page.click("button")
        page.wait_for_selector("text=You will be shown mammograms, maps")
        page.check("#agree")
        page.click("text=Continue")
        page.wait_for_selector("text=on the same scale for every case")
        page.click("text=Start with the practice cases")
        kinds = set()
        for i in range(11):
            settle(page, f"Practice {i + 1} / 11")
            if page.locator(".rd.pictured").count():
                page.wait_for_function(LOADED)
                page.wait_for_timeout(430)
                kinds.add(page.locator(".rd .r").get_attribute("aria-label"))
                assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            page.keyboard.press("4")
        page.click("text=Start with case 1")
        with store.read(pictured.study) as con:
            total = int((~reading_table.items(con, "Pictures", 1)["practice"]).sum())
        for i in range(8):
            settle(page, f"{i + 1} / {total}")
            if page.locator(".rd.pictured").count():
                page.wait_for_function(LOADED)
                page.wait_for_timeout(430)
            if i == 4:
                page.keyboard.press("Backspace")
                settle(page, f"{i} / {total}")
                page.keyboard.press("Escape")
                settle(page, f"{i + 1} / {total}")
                if page.locator(".rd.pictured").count():
                    page.wait_for_function(LOADED)
                    page.wait_for_timeout(430)
            page.keyboard.press("2")
        settle(page, f"9 / {total}")
        assert kinds == {"Mammogram", "Map"}
        sent = wire.own
    with store.read(pictured.study) as con:
        names = [
            name
            for row in con.execute(
                "SELECT mammogram_id, patient_id, file FROM mammograms"
            ).fetchall()
            for name in row
        ]
        cases = reading_table.cases(con, "Pictures", 1)
    assert sent.count(b"JFIF") >= 8 and b'"kind":"class_map"' in sent
    for secret in [
        *names,
        "explain-",
        "Exif",
        '"malignant"',
        "network_score",
        '"arm"',
        '"truth"',
        "shuffled",
        "maps/",
    ]:
        assert secret.encode() not in sent, secret
    for score in cases["network_score"]:
        assert f"{score:.5f}".encode() not in sent


def test_a_bundle_shows_its_pictures_at_another_site(own_study: Path, tmp_path: Path) -> None:
    close_open(own_study)
    freeze(own_study, ("image", "class_map"))
    made = site_bundles.make(own_study, tmp_path / "away", "Pictures", "team")
    running = start_server(made.folder)
    try:
        (client, case), (other, _) = seat(running, "R1"), seat(running, "R2")
        for _ in range(6):
            status, body = client.ask(case["picture"]["url"])
            assert (
                status == 200
                and Image.open(io.BytesIO(body)).format == "JPEG"
                and case["texts"] == []
                and other.ask(case["picture"]["url"])[0] == 403
            )
            case = answer(client, case)["case"]
    finally:
        stop_server(running)


def test_only_blinded_pictures_are_for_readers(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.server import context as serving
    from support.image_requests import get

    monkeypatch.setenv(serving.VARIABLE, str(own_study))
    with store.read(own_study) as con:
        file = con.execute("SELECT file FROM mammograms LIMIT 1").fetchone()[0]
    assert (
        get(image_routes.url("film", "R1", file=file), "reader", "R1").status_code == 403
    )  # registered for nobody who reads
    mine = image_routes.url(
        "blinded", "R1", shown="film", source=json.dumps({"film": file}), place=7
    )
    assert (
        get(mine, "reader", "R1").status_code == 200
        and get(mine, "reader", "R2").status_code == 403
        and get(mine, "team", "R1").status_code == 404
    )
    assert get(mine, "reader", "R1").headers["cache-control"] == "no-store"
    again = image_routes.url(
        "blinded", "R1", shown="film", source=json.dumps({"film": file}), place=9
    )
    assert again != mine and get(again, "reader", "R1").body == get(mine, "reader", "R1").body
    image_routes.forget("R1", (8, 9))
    assert (
        get(mine, "reader", "R1").status_code == 403
        and get(again, "reader", "R1").status_code == 200
    )
    gone = image_routes.url(
        "blinded", "R1", shown="film", source=json.dumps({"film": "nowhere"}), place=9
    )
    assert get(gone, "reader", "R1").status_code == 410
    assert np.asarray(Image.open(io.BytesIO(get(again, "reader", "R1").body))).ndim == 2
