"""HTML of the elements, texts of the stepper, addresses of images, options of the controls."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.class_labels import ClassDefinition
from dashboard.server import context
from dashboard.ui import (
    charts,
    controls,
    elements,
    patch_images,
    stage_stepper,
    study_words,
    theme,
    unit_charts,
)
from evaluation.queries.units import ActivationCurves
from support.page_transcript import (
    STUDY,
    PageStub,
    Stopped,
    Transcript,
    expected_lines,
    render_into,
)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    """The elements themselves, which write into a transcript."""
    page = Transcript(monkeypatch)
    monkeypatch.setattr(elements, "st", PageStub(page))
    monkeypatch.setattr(theme, "st", PageStub(page))
    monkeypatch.setattr(elements, "cached_result", page.query)
    monkeypatch.setattr(theme, "theme_mode", lambda: "light")
    monkeypatch.setattr(context, "served_study", lambda: STUDY)
    return page


def test_elements(page: Transcript) -> None:
    elements.sign_out_link("/a&b")
    elements.page_heading("<Title>", "a & b", {"images": True, "labels": False, "<x>": True})
    elements.page_heading("Title", simulated={"images": False})
    elements.page_heading("Title")
    elements.section_heading("<Section>", "a & b")
    elements.section_heading("Section")
    elements.class_heading("benign")
    elements.metric_row([("<a>", "1"), ("b", "<2>")], notes=["n1", "<n2>"])
    elements.metric_row([("a", "1")])
    table = pd.DataFrame([("<b>1</b>", 2), ("3", 4)], columns=["<x>", "y"])
    elements.html_table(table)
    elements.html_table(table, left=True)
    elements.key_value_table([("<name>", "<b>value</b>")])
    elements.small_note("<b>note</b>")
    elements.warning_line("a < b")
    elements.bullet_list(["<one>", "two"])
    elements.step_card("<Title>", "stale", "<head>", ["<line>", "", "two"])
    elements.stepper([("<a>", "n1"), ("b", "<n2>"), ("c", "")], 1, "<note>")
    elements.stepper([("a", "")], -1, "note")
    elements.metric_card("<t>", "<v>", ["<l1>", "l2"])
    assert page.take() == expected_lines("elements", "HTML")


def test_badges_and_bars(page: Transcript) -> None:
    page.lines += [
        elements.state_badge("done"),
        elements.state_badge("unknown & new"),
        elements.state_badge("done", "✓ built"),
        elements.share_bar("<b>head</b>", "12 %", 0.1234, "#fff"),
        elements.share_bar("head", "100 %", 1.0),
        elements.class_marker("malignant"),
        elements.escape_markdown(r"a_b*c`d~e$f[g]\h"),
    ]
    assert page.take() == expected_lines("elements", "badges")
    icons = {state: elements.state_badge(state).split(">")[1][0] for state in elements._STATE_ICONS}
    assert icons == {
        "done": "✓",
        "stale": "◷",
        "running": "◌",
        "interrupted": "◍",
        "failed": "✕",
        "missing": "○",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86399, "23 h ago"),
        (86400, "1 d ago"),
        (86400 * 3 - 1, "2 d ago"),
    ],
)
def test_age(seconds: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 2, 3, 4, 5)
    monkeypatch.setattr(elements.timestamps, "utc_now", lambda: now)
    assert elements.age_text(now - timedelta(seconds=seconds)) == text
    assert elements.age_text(None) == ""


def test_hints(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped):
        elements.stop_with_hint("Nothing yet.", "deepminer figures --out exports")
    monkeypatch.setattr(elements, "load_step_cards", lambda: "cards")
    monkeypatch.setattr(
        elements.study_overview, "first_command", lambda cards, kind: f"{kind} of {cards}"
    )
    with pytest.raises(Stopped):
        elements.stop_without_result("No result.", "explain")
    for level, truth in ((True, []), (False, ["As stated.", "Not biopsy."])):
        page.queries |= {
            ("has_image_level_labels",): level,
            ("truth_statements",): truth,
        }
        elements.image_level_note()
    monkeypatch.setattr(elements, "image_noun", lambda: "mammogram")
    monkeypatch.setattr(elements, "in_study_words", lambda text, noun: f"{text} of a {noun}")
    monkeypatch.setattr(elements, "help_sections", lambda: {"Data": "Help"})
    elements.page_help("Data")
    assert page.take() == expected_lines("elements", "hints")


def test_cards_while_a_step_runs(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress of an unfinished run is in its folder, which the cache does not watch."""
    monkeypatch.setattr(elements.provenance, "export_records", lambda study: [study / "r"])
    page.queries["step_cards", repr({"files": [STUDY / "r"]})] = "cached"
    for unfinished, cards in ((["run"], f"fresh of {STUDY}"), ([], "cached")):
        monkeypatch.setattr(elements.runs, "unfinished_runs", lambda _, u=unfinished: u)
        if unfinished:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    elements.study_overview, "step_cards", lambda study: f"fresh of {study}"
                )
                assert elements.load_step_cards() == cards
        else:
            assert elements.load_step_cards() == cards


def version(state: str) -> Any:
    return SimpleNamespace(protocol="Masses", version=3, state=state, design={"readers": 2})


def test_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, stage_stepper)
    now = datetime(2026, 2, 3, 4, 5)
    monkeypatch.setattr(elements.timestamps, "utc_now", lambda: now)
    page.queries |= {
        ("load_state_times", "Masses", 3): {
            "design": (now - timedelta(hours=5), "T1"),
            "checked": (now - timedelta(hours=4), "T2"),
            "closed": (now - timedelta(minutes=7), "T3"),
        },
        ("reading_progress_by_reader", "Masses", 3): pd.DataFrame({"code": ["R1"], "missing": [4]}),
        ("valid_invitations",): {
            "h1": SimpleNamespace(code="R1", role="reader"),
            "h2": SimpleNamespace(code="R2", role="reader"),
            "h3": SimpleNamespace(code="A1", role="annotator"),
        },
    }
    stage_stepper.render_stages(None)
    for state in ("design", "checked", "frozen", "reading", "closed", "scored"):
        stage_stepper.render_stages(version(state))
    assert page.take() == expected_lines("elements", "stages")


def test_styles(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets = {"palette": "P", "team_pages": "T", "expert_pages": "E"}
    monkeypatch.setattr(theme, "_stylesheet", sheets.__getitem__)
    monkeypatch.setattr(theme, "_chart_stylesheet", lambda: "C")
    theme.apply_team_style()
    monkeypatch.setattr(theme, "theme_mode", lambda: "dark")
    theme.apply_team_style()
    theme.apply_expert_style()
    assert page.take() == [
        "html: '<style>:root { color-scheme: light; }</style>PTC'",
        "html: '<style>:root { color-scheme: dark; }</style>PTC'",
        "html: 'E'",
    ]


def test_stylesheets_are_those_of_the_package() -> None:
    theme._stylesheet.cache_clear()
    folder = Path(theme.__file__).parent
    for name in ("palette", "team_pages", "expert_pages"):
        css = (folder / f"{name}.css").read_text(encoding="utf-8")
        assert theme._stylesheet(name) == f"<style>{css}</style>"


def test_stylesheet_of_charts() -> None:
    sheet = theme._chart_stylesheet()
    # The accent ink: 4F46A5 is 79, 70, 165, and B1A9FA is 177, 169, 250.
    rule = (
        '.js-plotly-plot [style*="stroke: rgb(79, 70, 165)"], .js-plotly-plot'
        ' [style*="stroke: rgb(177, 169, 250)"]'
        " { stroke: light-dark(#4F46A5, #B1A9FA) !important; }"
    )
    assert rule in sheet and rule.replace("stroke", "fill") in sheet
    colors = 2 + len(theme.CLASS_FILL["light"]) + len(theme.FURTHER_FILL["light"])
    assert sheet.count("!important") == 2 * colors


def test_colours_of_classes(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ClassDefinition(("tile", "crack", "brick"), "brick", "tile")
    monkeypatch.setattr(theme, "cached_query", lambda *_: classes)
    monkeypatch.setattr(theme, "class_styles", lambda c: {"tile": "normal", "crack": "0"})
    assert [theme.class_style(n) for n in ("benign", "tile", "crack", "brick")] == [
        "benign",
        "normal",
        "0",
        "other",
    ]
    assert theme.class_line("tile") == {"color": theme.CLASS_FILL["light"]["normal"], "dash": "dot"}
    first = theme.FURTHER_FILL["light"][0]
    assert theme.class_line("crack") == {"color": first, "dash": "dashdot"}
    ink = {mode: theme.CLASS_INK[mode]["benign"] for mode in ("light", "dark")}
    assert theme.class_ink("benign") == f"light-dark({ink['light']}, {ink['dark']})"
    ink = {mode: theme.CLASS_INK[mode]["normal"] for mode in ("light", "dark")}
    assert theme.class_ink("tile") == f"light-dark({ink['light']}, {ink['dark']})"
    assert theme.class_ink("no class") == "inherit"


@pytest.mark.parametrize(("kind", "mode"), [("dark", "dark"), ("light", "light"), (None, "light")])
def test_theme_in_use(monkeypatch: pytest.MonkeyPatch, kind: str | None, mode: str) -> None:
    used = SimpleNamespace(context=SimpleNamespace(theme=SimpleNamespace(type=kind)))
    monkeypatch.setattr(theme, "st", used)
    assert theme.theme_mode() == mode


def test_words_of_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    for noun, breasts in (("mammogram", True), ("image", False)):
        monkeypatch.setattr(study_words, "cached_result", lambda _, noun=noun: noun)
        found = study_words.image_noun(), study_words.image_nouns(), study_words.shows_breasts()
        assert found == (noun, f"{noun}s", breasts)


def test_controls(page: Transcript) -> None:
    names = {"a": "Title of a", "b": "B"}
    stub = PageStub(page)
    assert controls.segment_choice(stub, "L", names, default="b", key="k") == "b"
    assert controls.select_choice(stub, "L", names, key="k", help_text="h") == "a"
    assert controls.select_choice(stub, "L", names, key="k", default="b") == "b"
    # Thirty letters fit side by side.
    for letters, kind in ((30, "segmented_control"), (31, "selectbox")):
        shown = {"a": "x" * (letters - 1), "b": "y"}
        options = {"default": "b", "key": "k", "help_text": "h"}
        assert controls.class_choice(stub, "L", shown, **options) == "b"
        assert page.lines[-1].startswith(kind)
    assert page.take() == expected_lines("elements", "controls")
    empty = SimpleNamespace(segmented_control=lambda *_, **__: None)
    assert controls.segment_choice(empty, "L", names, default="b", key="k") == "b"


def test_addresses_of_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, patch_images)
    monkeypatch.setattr(
        patch_images, "image_url", lambda kind, audience, **o: f"{kind} {audience} {o}"
    )
    patches = pd.DataFrame(
        {"file": ["f1", "f2"], "y": [1, 2], "x": [3, 4], "side": [5, 6], "unit": [9, 7]}
    ).assign(rank=[0, 3])
    [first, second] = patches.to_dict("records")
    place = {"file": "f1", "y": 1, "x": 3, "side": 5, "size": 88}
    assert patch_images.patch_url(first, 88) == f"patch team {place}"
    region = {"run": "d", "unit": 7, "rank": 3, "level": 0.5}
    place = {"file": "f2", "y": 2, "x": 4, "side": 6, "size": 88}
    assert patch_images.unit_patch_url(second, "d", 0.5, 88) == f"unit team {place | region}"
    page.queries |= {
        ("load_run", "d"): {"settings": {"dissection": {"threshold": 0.25}}},
        ("load_units", "d"): pd.DataFrame({"unit": [7, 9, 11], "largest": [4.0, 8.0, 1.0]}),
        ("ancestor_run", "d", "patches"): "patches-1",
        ("load_top_patches", "d", "patches-1", "[7, 9, 11]", 2): patches,
    }
    found = patch_images.top_patch_urls("d", (7, 9, 11), 2, 96)
    assert {unit: len(urls) for unit, urls in found.items()} == {7: 1, 9: 1, 11: 0}
    # A quarter of the unit's own largest activation.
    assert "'level': 1.0" in found[7][0] and "'level': 2.0" in found[9][0]
    assert all("'size': 96" in urls[0] and "'run': 'd'" in urls[0] for urls in (found[7], found[9]))


def test_charts_of_one_unit(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theme, "class_style", lambda name: name)
    curves = ActivationCurves(
        values=pd.Series([0.0, 2.0, 10.0]).to_numpy(),
        densities={"benign": pd.Series([0.5, 1.0, 0.25]).to_numpy()},
        zero_share=0.37,
    )
    thresholds = {"low": 7.0, "high": 7.1}
    page.record("activation", unit_charts.activation_figure(curves, thresholds))
    quartiles = {"benign": (0.5, 0.75, 1.25), "malignant": (1.0, 1.5, 4.0)}
    page.record("influence", unit_charts.influence_bars(quartiles))
    page.record("styled", charts.style_figure(unit_charts.go.Figure(), 300, 200))
    assert page.take() == expected_lines("elements", "charts of a unit")


def test_help_of_the_pages() -> None:
    elements.help_sections.cache_clear()
    text = Path(elements.__file__).parents[1].joinpath("page_help.md").read_text(encoding="utf-8")
    sections = elements.help_sections()
    assert text.count("\n## ") == len(sections)
    for title, content in sections.items():
        assert f"\n## {title}\n\n{content}" in text or f"\n## {title}\n{content}" in text
