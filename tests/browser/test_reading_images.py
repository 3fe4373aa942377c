"""Image arms in a real browser: access to images, and blinding of every byte that is sent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import store
from core.images.blinded_rendering import MAMMOGRAM, mammogram_source
from core.sessions.reading_pictures import render_reading_pictures
from core.store.reading import reading_table
from core.store.reading.reading_table import CasePicture
from dashboard.server import image_routes
from dashboard.server.context import STUDY_VARIABLE
from evaluation.reading_study import site_bundles
from support.expert_client import ExpertClient, begin_reading, token_of
from support.image_arms import close_open_study, freeze_image_study
from support.image_requests import request_image
from support.live_server import Served, start_server, stop_server
from support.network_capture import NetworkCapture
from support.reading_browser import DEAD_TIME_OF_IMAGES_MS, answer_practice, wait_for_case
from support.shadow_dom import shadow_condition

pytestmark = pytest.mark.browser
IMAGE_LOADED = shadow_condition(".rd .pic img", "e.complete && e.naturalWidth")


@pytest.fixture
def image_study(own_study: Path) -> Iterator[Served]:
    """A server over the demonstration with an open study of four arms."""
    close_open_study(own_study)
    freeze_image_study(own_study, ("image", "class_map", "image_explanation", "explanation"))
    running = start_server(own_study)
    yield running
    stop_server(running)


def answer_case(client: ExpertClient, case: dict) -> dict:
    """Answer a case and return the response."""
    return client.reading_request(
        "answer", {"token": case["token"], "answer": 3, "seconds": 1.0, "idle": False}
    )


def test_images_have_an_address_for_one_reader_and_position(image_study: Served) -> None:
    clients = {code: begin_reading(image_study, code) for code in ("R1", "R2")}
    client, case = clients["R1"]
    annotator = ExpertClient(image_study.base).sign_in(token_of(image_study.invite("annotator")))
    team = ExpertClient(image_study.base).sign_in(token_of(image_study.invite("team")))
    urls, bodies, shapes, modes, sizes = [], [], set(), set(), set()
    while case is not None:
        shapes.add(tuple(sorted(case)))
        if case["image"]:
            assert set(case["image"]) == {"kind", "url"}
            kind, url = case["image"]["kind"], case["image"]["url"]
            assert kind in ("film", "class_map")
            status, body = client.request(url)
            image = Image.open(io.BytesIO(body))
            assert (status, image.format) == (200, "JPEG")
            assert not image.getexif()
            assert "comment" not in image.info
            sizes.add(len(body))
            bodies.append(body)
            modes.add((kind, image.mode))
            assert clients["R2"][0].request(url)[0] == 403  # an image of another reader
            assert annotator.request(url)[0] == 404
            assert team.request(url)[0] == 404
            assert ExpertClient(image_study.base).request(url)[0] == 401
            urls.append(url)
        case = answer_case(client, case).get("case")
    with store.read(image_study.study) as con:
        items = reading_table.load_reading_items(con, "Pictures", 1).query("code == 'R1'")
        with_image = {p.case_number for p in reading_table.load_case_pictures(con, "Pictures", 1)}
    # A hidden repeat has an address of its own.
    assert len(urls) == len(set(urls)) == int(items["case_number"].isin(with_image).sum())
    assert items["repeat"].any()
    assert len(shapes) == len(sizes) == 1  # neither form nor size tells anything
    assert len(set(bodies)) == len(bodies)
    assert modes == {("film", "L"), ("class_map", "RGB")}
    # Images of cases that can no longer be reopened are refused.
    assert [client.request(url)[0] for url in urls[:-3]] == [403] * (len(urls) - 3)
    assert client.request("/image/unknown")[0] == 403


def wait_for_image(page) -> None:
    """If the case has an image, wait until it is loaded and for the dead time after it."""
    if page.locator(".rd.pictured").count():
        page.wait_for_function(IMAGE_LOADED)
        page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)


def test_nothing_sent_names_a_case_or_a_score(image_study: Served, context) -> None:
    with NetworkCapture(image_study.port) as wire:
        page = context.new_page()
        page.goto(image_study.invite("reader", "R1").replace(image_study.base, wire.base))
        page.click("button")
        page.wait_for_selector("text=You will be shown mammograms, maps")
        page.check("#agree")
        page.get_by_role("button", name="Continue", exact=True).click()
        page.wait_for_selector("text=The scale is the same for every case")
        page.click("text=Start with the practice cases")
        kinds = set()
        for i in range(11):
            wait_for_case(page, f"Practice {i + 1} / 11")
            wait_for_image(page)
            if page.locator(".rd.pictured").count():
                kinds.add(page.locator(".rd .r").get_attribute("aria-label"))
                assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            following = f"Practice {i + 2} / 11" if i < 10 else "Practice is over"
            answer_practice(page, "4", following)
        page.click("text=Start with case 1")
        with store.read(image_study.study) as con:
            total = int((~reading_table.load_reading_items(con, "Pictures", 1)["practice"]).sum())
        for i in range(8):
            wait_for_case(page, f"{i + 1} / {total}")
            wait_for_image(page)
            if i == 4:
                page.keyboard.press("Backspace")
                wait_for_case(page, f"{i} / {total}")
                page.keyboard.press("Escape")
                wait_for_case(page, f"{i + 1} / {total}")
                wait_for_image(page)
            page.keyboard.press("2")
        wait_for_case(page, f"9 / {total}")
        assert kinds == {"Mammogram", "Map"}
        sent = wire.own
    with store.read(image_study.study) as con:
        rows = con.execute("SELECT mammogram_id, patient_id, file FROM mammograms").fetchall()
        cases = reading_table.load_reading_cases(con, "Pictures", 1)
    assert sent.count(b"JFIF") >= 8
    assert b'"kind":"class_map"' in sent
    for secret in [
        *(name for row in rows for name in row),
        "explain-",
        "Exif\0\0",
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


def test_a_site_bundle_serves_its_images(own_study: Path, tmp_path: Path) -> None:
    close_open_study(own_study)
    freeze_image_study(own_study, ("image", "class_map"))
    bundle = site_bundles.create_bundle(own_study, tmp_path / "away", "Pictures", "team", readers=2)
    running = start_server(bundle.folder)
    try:
        (client, case), (other, _) = begin_reading(running, "R1"), begin_reading(running, "R2")
        for _ in range(6):
            status, body = client.request(case["image"]["url"])
            assert status == 200
            assert Image.open(io.BytesIO(body)).format == "JPEG"
            assert case["texts"] == []
            assert other.request(case["image"]["url"])[0] == 403
            case = answer_case(client, case)["case"]
    finally:
        stop_server(running)


def test_readers_receive_blinded_images_only(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STUDY_VARIABLE, str(own_study))
    with store.read(own_study) as con:
        file = con.execute("SELECT file FROM mammograms LIMIT 1").fetchone()[0]

    picture = CasePicture(1, MAMMOGRAM, mammogram_source(file))
    (rendered,) = render_reading_pictures(own_study, [picture])

    def blinded_url(position: int, source: str = rendered.source) -> str:
        """Return the address of a blinded mammogram for R1."""
        return image_routes.image_url(
            "blinded", "R1", content=MAMMOGRAM, source=source, position=position
        )

    def status(url: str, role: str = "reader", code: str = "R1") -> int:
        """Return the status of the response to a participant."""
        return request_image(url, role, code).status_code

    # Mammograms that are not blinded are not registered for readers.
    assert status(image_routes.image_url("mammogram", "R1", file=file)) == 403
    url = blinded_url(7)
    assert status(url) == 200
    assert status(url, code="R2") == 403
    assert status(url, role="team") == 404
    response = request_image(url, "reader", "R1")
    assert response.headers["cache-control"] == "no-store"
    repeated = blinded_url(9)
    assert repeated != url
    again = request_image(repeated, "reader", "R1").body
    assert again != response.body  # the repeat of a picture has other bytes
    assert len(again) == len(response.body)
    pixels = [np.asarray(Image.open(io.BytesIO(body))) for body in (again, response.body)]
    assert np.array_equal(*pixels)
    image_routes.revoke_image_urls("R1", (8, 9))
    assert status(url) == 403
    assert status(repeated) == 200
    assert status(blinded_url(9, mammogram_source("nowhere"))) == 410
    body = request_image(repeated, "reader", "R1").body
    assert np.asarray(Image.open(io.BytesIO(body))).ndim == 2
