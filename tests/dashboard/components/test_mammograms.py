"""Mammograms side by side: a zoom beyond the working image shows the film at source resolution."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from dashboard.components.http import component_source
from dashboard.components.mammograms import Panel, panel_data

WORKING_WIDTH, SOURCE_WIDTH, SHOWN_WIDTH = 256, 640, 200


def image_address(width: int) -> str:
    """Return a black square as a data address."""
    buffer = io.BytesIO()
    Image.new("L", (width, width)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def show_panels(page, panels: list[Panel]) -> None:
    """Draw linked panels in an empty page, without a server."""
    data = {
        "panels": [panel_data(panel) for panel in panels],
        "height": SHOWN_WIDTH,
        "patches": False,
        "linked": True,
    }
    script = base64.b64encode(component_source("mammograms", "mammograms.js").encode()).decode()
    page.set_content(
        f"<style>{component_source('mammograms', 'mammograms.css')}</style>"
        f'<main style="width:{SHOWN_WIDTH * len(panels)}px"><div class="mammograms"></div></main>'
    )
    page.evaluate(
        f"""async data => {{
            const module = await import("data:text/javascript;base64,{script}");
            module.default({{data, parentElement: document.querySelector("main")}});
        }}""",
        json.loads(json.dumps(data)),
    )


def panel(source: str, heat: np.ndarray | None = None) -> Panel:
    return Panel(
        url=image_address(WORKING_WIDTH),
        width=WORKING_WIDTH,
        height=WORKING_WIDTH,
        source=source,
        heat=heat,
    )


@pytest.mark.browser
def test_zoom_shows_the_film_at_source_resolution(browser) -> None:
    page = browser.new_page(viewport={"width": 800, "height": 640})
    show_panels(page, [panel(image_address(SOURCE_WIDTH)), panel("", np.zeros((4, 4)))])
    film, class_map = page.locator(".stage").all()
    resolution = page.locator(".resolution")
    expect(resolution).to_have_count(1)
    expect(resolution).to_be_hidden()
    # The zoom of the linked map reaches the film as well.
    class_map.hover()
    page.mouse.wheel(0, -600)
    expect(resolution).to_have_text(f"Source resolution, {SOURCE_WIDTH} px wide")
    expect(film.locator("img")).to_have_js_property("naturalWidth", SOURCE_WIDTH)
    expect(class_map.locator("img")).to_have_js_property("naturalWidth", WORKING_WIDTH)
    class_map.dblclick()
    expect(resolution).to_be_hidden()
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", f"Working image, {WORKING_WIDTH} px wide"),
        (
            "data:image/png;base64,AAAA",
            f"Working image, {WORKING_WIDTH} px wide; source not loaded: reload the page",
        ),
    ],
)
def test_zoom_names_the_working_image_without_a_source(browser, source: str, text: str) -> None:
    page = browser.new_page(viewport={"width": 800, "height": 640})
    show_panels(page, [panel(source)])
    page.locator(".stage").hover()
    page.mouse.wheel(0, -600)
    expect(page.locator(".resolution")).to_have_text(text)
    expect(page.locator("img")).to_have_js_property("naturalWidth", WORKING_WIDTH)
    page.close()
