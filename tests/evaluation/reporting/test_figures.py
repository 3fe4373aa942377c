"""Figures for print: sizes, fonts, resolutions, passports, and that the same command gives the same
numbers.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.text import Text
from PIL import Image
from pypdf import PdfReader

from core import store, study_folder
from core.class_labels import CLASSES
from core.errors import UserError
from core.store import annotation_table, run_table, unit_table
from evaluation.intervals import decimal
from evaluation.queries import explanations, performance, provenance
from evaluation.queries.provenance import Missing
from evaluation.reporting.figures import FIGURES, style
from evaluation.reporting.figures.export import (
    FORMATS,
    draw,
    export_figure,
    export_figures,
    preview,
    zipped,
)
from evaluation.reporting.figures.units import chosen_cases

NOT_DRAWN = {"annotation_screen", "ablation"}
DRAWN = [name for name in FIGURES if name not in NOT_DRAWN]
Image.MAX_IMAGE_PIXELS = None


def silent(done: int, total: int, unit: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def exported(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every figure as PDF, two of them in every format."""
    out = tmp_path_factory.mktemp("figures")
    export_figures(demonstration, ["all"], out, None, ["pdf"], silent)
    for name in ("calibration", "units"):
        export_figure(demonstration, FIGURES[name], out, None, FORMATS)
    return out


def fonts(path: Path) -> list[tuple[str, bool]]:
    """(subtype, embedded) of every font of a PDF."""
    found = []
    for page in PdfReader(path).pages:
        for font in page["/Resources"].get("/Font", {}).values():
            body = font.get_object()
            inner = body["/DescendantFonts"][0].get_object() if "/DescendantFonts" in body else body
            found.append((inner["/Subtype"], "/FontFile2" in inner["/FontDescriptor"].get_object()))
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_pdf_has_the_width_asked_for_and_embedded_truetype_fonts_only(
    exported: Path, name: str
) -> None:
    page = PdfReader(exported / f"{name}.pdf").pages[0]
    width, height = (float(v) / 72 * 25.4 for v in (page.mediabox.width, page.mediabox.height))
    assert abs(width - FIGURES[name].width) < 0.5 and height <= style.TALLEST
    found = fonts(exported / f"{name}.pdf")
    assert found and all(font == ("/CIDFontType2", True) for font in found)


@pytest.mark.parametrize("width", [style.SINGLE, style.DOUBLE])
@pytest.mark.parametrize("name", DRAWN)
def test_letters_are_large_enough_and_nothing_is_titled(
    demonstration: Path, name: str, width: float
) -> None:
    drawn, parts = draw(demonstration, FIGURES[name], width)
    inches = drawn.figure.get_size_inches()
    assert abs(inches[0] * 25.4 - width) < 0.5 and inches[1] * 25.4 <= style.TALLEST
    words = [t for t in drawn.figure.findobj(Text) if t.get_text().strip()]
    assert min(t.get_fontsize() for t in words) >= 7
    titles = [
        ax.get_title(loc=where) for ax in drawn.figure.axes for where in ("left", "center", "right")
    ]
    assert all(re.fullmatch("[a-h]?", t) for t in titles)
    assert parts and any(t.get_text() == f"SIMULATED {parts.upper()}" for t in words)


@pytest.mark.parametrize(("name", "dots"), [("calibration", 1200), ("units", 300)])
def test_pictures_carry_their_resolution(exported: Path, name: str, dots: int) -> None:
    for suffix, wanted in ((".tiff", dots), (".png", min(dots, 600))):
        with Image.open(exported / f"{name}{suffix}") as image:
            assert image.mode == "RGB" and abs(float(image.info["dpi"][0]) - wanted) < 0.1
            assert abs(image.width / wanted * 25.4 - FIGURES[name].width) < 0.5
            if suffix == ".tiff":
                assert image.info["compression"] == "tiff_lzw"
    svg = (exported / f"{name}.svg").read_text()
    assert "<text" not in svg and "http://" not in svg.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")


def test_eps_embeds_its_fonts_and_holds_no_transparency(
    exported: Path, demonstration: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (exported / "calibration.eps").read_text(encoding="latin-1")
    assert (
        text.startswith("%!PS-Adobe-3.0 EPSF")
        and "/FontType 42" in text
        and "/FontType 3" not in text
        and "CreationDate" not in text
    )
    box = re.search(r"%%HiResBoundingBox: [\d.]+ [\d.]+ ([\d.]+)", text)
    assert box is not None and abs(float(box[1]) / 72 * 25.4 - FIGURES["calibration"].width) < 0.5
    drawn, _ = draw(demonstration, FIGURES["roc"], 85)
    band = next(a for a in drawn.figure.findobj(PolyCollection) if 0 < a.get_facecolor()[0][3] < 1)
    before = band.get_facecolor().tolist()
    with style.opaque(drawn.figure):
        assert all(
            (a.get_facecolor()[:, 3] == 1).all() for a in drawn.figure.findobj(PolyCollection)
        )
        r, g, b, _ = band.get_facecolor()[0]
        share = before[0][3]
        assert (r, g, b) == pytest.approx([share * v + 1 - share for v in before[0][:3]])
        with caplog.at_level("WARNING"):
            drawn.figure.savefig(io.StringIO(), format="eps")
        assert "transparency" not in caplog.text
    assert band.get_facecolor().tolist() == before


def test_maps_of_units_have_colours_that_the_figure_explains(demonstration: Path) -> None:
    drawn, _ = draw(demonstration, FIGURES["explanations"], 174)
    words = " ".join(t.get_text() for t in drawn.figure.findobj(Text))
    with store.read(demonstration) as con:
        run = run_table.latest(con, "explain")
    shown = [
        explanations.one(demonstration, run or "", str(name))
        for name in explanations.cases(demonstration, run or "", "all", 1)["mammogram_id"][:6]
    ]
    assert (
        len({case.scale for case in shown}) == 1
        and f"units {decimal(shown[0].scale, 2)}" in words
        and "one scale for all cases" in drawn.caption
    )
    strongest = max(
        (unit.influence, case.heat(unit).max()) for case in shown for unit in case.units
    )
    assert strongest[1] == pytest.approx((strongest[0] / shown[0].scale) ** 0.5, abs=0.02)


def test_coverage_without_an_interval_is_drawn_and_said(own_study: Path) -> None:
    with store.write(own_study) as con:
        con.execute("UPDATE coverage SET low = NULL, high = NULL WHERE name = 'interval'")
    drawn, _ = draw(own_study, FIGURES["coverage"], 85)
    assert "95 % CI not estimable" in drawn.caption and "nan %" not in drawn.caption


def test_lines_differ_without_colour() -> None:
    for table in (style.LINES, style.MARKERS):
        assert len({table[name] for name in CLASSES}) == 3


def test_passport_says_all_and_its_command_gives_the_same_numbers(
    demonstration: Path, exported: Path, tmp_path: Path
) -> None:
    before = json.loads((exported / "roc.passport.json").read_text())
    assert (
        before["simulated"] == "images"
        and "Obuchowski" in before["method"]
        and before["counts"]["patients"] > 0
    )
    assert before["inputs"]["evaluate"].startswith("evaluate-") and {
        "deepminer",
        "matplotlib",
        "python",
    } <= set(before["software"])
    words = before["command"].split()
    assert words[:3] == ["deepminer", "figures", "roc"]
    width, formats = (
        float(words[words.index("--width-mm") + 1]),
        words[words.index("--format") + 1].split(","),
    )
    again = export_figure(demonstration, FIGURES["roc"], tmp_path, width, formats).passport
    assert again is not None and again.data_hash == before["data_hash"]
    for file in before["files"]:
        assert (tmp_path / file).read_bytes() == (exported / file).read_bytes(), file


def test_numbers_behind_the_roc_are_the_pages(demonstration: Path, exported: Path) -> None:
    table = pd.read_csv(exported / "roc.auc.csv")
    with store.read(demonstration) as con:
        run = run_table.latest(con, "evaluate")
    for level in ("patch", "image"):
        for r in performance.class_results(demonstration, run, "test", level):
            row = table[(table["level"] == level) & (table["class"] == r.name)].iloc[0]
            assert row["auc"] == pytest.approx(r.auc.estimate, abs=1e-9) and row[
                "low"
            ] == pytest.approx(r.auc.low, abs=1e-9)
    caption = (exported / "roc.caption.txt").read_text()
    assert "SIMULATED" in caption and "test split" in caption and "patients" in caption


def test_what_is_missing_names_its_step(tmp_path: Path) -> None:
    empty = study_folder.init(tmp_path / "empty")
    done = export_figures(empty, [], tmp_path / "out", None, ["pdf"], silent)
    assert [e.passport for e in done] == [None] * len(FIGURES)
    assert all(e.step and e.reason for e in done)
    assert {e.name: e.command for e in done}["roc"] == "deepminer evaluate"
    now = provenance.inputs(empty, provenance.NAMES)
    for kind in FIGURES.values():
        absent = provenance.absent(kind.required, now)
        assert isinstance(absent, Missing) and absent.step


def test_an_export_is_stale_once_its_inputs_change(own_study: Path, tmp_path: Path) -> None:
    made = export_figure(own_study, FIGURES["units"], tmp_path, None, ["pdf"]).passport
    roc = export_figure(own_study, FIGURES["roc"], tmp_path, None, ["pdf"]).passport
    assert made is not None and roc is not None
    assert not any(
        provenance.changed(p, provenance.inputs(own_study, provenance.NAMES))
        for p in provenance.read(tmp_path)
    )
    with store.write(own_study) as con:
        run = run_table.latest(con, "dissect")
        unit = annotation_table.selected_units(con, run)[0]
        annotation_table.decide(con, run, unit, "Something new", [], "looked again", "team")
    now = provenance.inputs(own_study, provenance.NAMES)
    changed = {p["name"]: provenance.changed(p, now) for p in provenance.read(tmp_path)}
    assert changed == {"units": ["labels"], "roc": []}


def test_a_picked_case_is_used_and_the_caption_says_so(own_study: Path) -> None:
    with store.read(own_study) as con:
        run = run_table.latest(con, "explain")
        table = unit_table.explanations(con, run)
    right = table[(table["predicted"] == 2) & (table["truth"] == 2)]["mammogram_id"].tolist()
    random = {role: (name, how) for role, name, how in chosen_cases(own_study, run, 1)}
    assert random["malignant, right"][1] == "random, seed 1"
    other = next(name for name in right if name != random["malignant, right"][0])
    with store.write(own_study) as con:
        unit_table.pick_for_figure(con, run, other, "hand-picked", "team")
    picked = {role: (name, how) for role, name, how in chosen_cases(own_study, run, 1)}
    assert picked["malignant, right"] == (other, "hand-picked")
    assert "hand-picked" in preview(own_study, "explanations", None).caption


def test_wrong_names_and_formats_are_refused(demonstration: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no figure 'rok'"):
        export_figures(demonstration, ["rok"], tmp_path, None, ["pdf"], silent)
    with pytest.raises(UserError, match="jpeg"):
        export_figures(demonstration, ["roc"], tmp_path, None, ["jpeg"], silent)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be a folder"):
        export_figures(demonstration, ["roc"], tmp_path / "file", None, ["pdf"], silent)


def test_the_zip_holds_every_file_of_every_passport(exported: Path) -> None:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(zipped(exported))) as archive:
        names = set(archive.namelist())
    for made in provenance.read(exported):
        assert {*made["files"], f"{made['name']}.passport.json"} <= names


def test_a_bar_of_10_mm_where_the_pixel_size_is_known(own_study: Path) -> None:
    assert "10 mm" not in preview(own_study, "explanations", None).caption
    with store.write(own_study) as con:
        con.execute("UPDATE mammograms SET pixel_mm = 0.2")
    drawn, _ = draw(own_study, FIGURES["explanations"], 174)
    assert "White bar: 10 mm." in drawn.caption
    bars = [line for line in drawn.figure.axes[0].lines if line.get_linewidth() == 1.4]
    with store.read(own_study) as con:
        film = con.execute("SELECT width, source_width FROM mammograms LIMIT 1").fetchone()
    assert (
        len(bars) == 1
        and abs(float(bars[0].get_xdata()[1] - bars[0].get_xdata()[0]) - 50 * film[0] / film[1])
        < 1e-9
    )


def test_a_reading_in_which_all_is_right_is_drawn_and_tabled(own_study: Path) -> None:
    """Where every answer is right the clustered estimate does not exist; the exact test does."""
    from evaluation.reporting.report import blocks
    from evaluation.reporting.tables import TABLES

    with store.write(own_study) as con:
        con.execute(
            """UPDATE answers SET answer = CASE WHEN c.truth = 'malignant' THEN 6 ELSE 1 END FROM reading_items i JOIN reading_cases c
            ON c.protocol = i.protocol AND c.version = i.version AND c.case_number = i.case_number WHERE answers.protocol = i.protocol
            AND answers.version = i.version AND answers.code = i.code AND answers.position = i.position"""
        )
    for name in ("reading", "time_order"):
        assert preview(own_study, name, None).picture.startswith("data:image")
    drawn, _ = draw(own_study, FIGURES["reading"], 174)
    assert any(t.get_text() == "not estimable" for t in drawn.figure.axes[0].texts)
    assert TABLES["reading"].build(own_study).shown()["Value (95 % CI)"].iloc[0] == "–"
    assert len(blocks(own_study, silent)) > 20


def test_the_order_of_reading_counts_from_the_first_case_after_practice(own_study: Path) -> None:
    from core.sessions.reading_session import Desk
    from core.store import participant_table, reading_table
    from evaluation.reading_study import workflow

    with store.write(own_study) as con:
        participant_table.invite(con, "R1", "reader", "x")
        desk = Desk("R1", b"secret")
        protocol = desk.protocol(con)
        desk.seat(con, protocol)
        items = reading_table.items(con, protocol.protocol, protocol.version)
        for item in items.itertuples():
            reading_table.append_answer(
                con,
                protocol=protocol,
                code="R1",
                position=item.position,
                revision=1,
                answer=1 + item.position % 6,
                seconds=2.0,
            )
    workflow.close(own_study, protocol.protocol, "team")
    drawn, _ = draw(own_study, FIGURES["time_order"], 174)
    cases = int((~items["practice"]).sum())
    positions, blocks = drawn.data["answers"]["position"], drawn.data["blocks"]
    assert (
        items["practice"].sum() == 5
        and positions.min() >= 1
        and positions.max() <= cases
        and blocks["from"].iloc[0] == 1
    )
    assert all(
        start <= middle <= positions.max()
        for start, middle in zip(blocks["from"], blocks["middle"])
    )
    assert all(tick == round(tick) for axis in drawn.figure.axes for tick in axis.get_xticks())
