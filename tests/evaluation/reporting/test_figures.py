"""Figures for print: sizes, fonts, resolutions, provenance records, and reproducible numbers."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.backends import backend_ps
from matplotlib.collections import Collection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.text import Text
from PIL import Image
from pypdf import PdfReader

from core import store, study_folder
from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.sessions.reading_session import ReadingSession
from core.store import participant_table, run_table, unit_table
from core.store.labels import decision_table
from core.store.reading import reading_table
from evaluation.intervals import decimal
from evaluation.queries import explanations, performance, provenance
from evaluation.queries.provenance import MissingInput
from evaluation.reading_study import workflow
from evaluation.reporting import report
from evaluation.reporting.archive import zip_exports
from evaluation.reporting.blocks import Paragraph, TableBlock
from evaluation.reporting.figures import FIGURES, export, style
from evaluation.reporting.figures.explanations import choose_example_cases
from evaluation.reporting.figures.export import (
    FIGURE_FORMATS,
    export_figure,
    export_figures,
    preview_figure,
    render_figure,
    save_figure,
)
from evaluation.reporting.report import build_blocks
from evaluation.reporting.tables import TABLES

NOT_PLOTTED = {"annotation_screen", "ablation"}
PLOTTED = [name for name in FIGURES if name not in NOT_PLOTTED]
Image.MAX_IMAGE_PIXELS = None


def silent(done: int, total: int, unit: str) -> None:
    """Ignore progress."""


@pytest.fixture(scope="module")
def exported(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the ROC as PDF, one figure of lines in all formats and one of images in three."""
    out = tmp_path_factory.mktemp("figures")
    export_figures(demonstration, ["roc"], out, None, ["pdf"], silent)
    export_figure(demonstration, FIGURES["calibration"], out, None, FIGURE_FORMATS)
    export_figure(demonstration, FIGURES["units"], out, None, ("svg", "png", "tiff"))
    return out


def fonts(path: Path) -> list[tuple[str, bool]]:
    """Return (subtype, embedded) of every font of a PDF."""
    embedded = []
    for page in PdfReader(path).pages:
        for font in page["/Resources"].get("/Font", {}).values():
            body = font.get_object()
            inner = body["/DescendantFonts"][0].get_object() if "/DescendantFonts" in body else body
            has_file = "/FontFile2" in inner["/FontDescriptor"].get_object()
            embedded.append((inner["/Subtype"], has_file))
    return embedded


def check_pdf(path: Path, width_mm: float) -> None:
    """Check the size of the page of a figure, and that its fonts are embedded as TrueType."""
    page = PdfReader(path).pages[0]
    width, height = (float(v) / 72 * 25.4 for v in (page.mediabox.width, page.mediabox.height))
    assert abs(width - width_mm) < 0.5 and height <= style.MAX_HEIGHT
    embedded = fonts(path)
    assert embedded and all(font == ("/CIDFontType2", True) for font in embedded)


def is_drawn(text: Text) -> bool:
    """Return whether a text is drawn: what belongs to axes that are off is not."""
    return text.get_visible() and (text.axes is None or text.axes.axison or text in text.axes.texts)


def undrawn_tick_labels(figure: Figure) -> set[Text]:
    """Return the labels of the ticks of axes that are off, or beyond the ends of an axis."""
    undrawn: set[Text] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not ax.axison or not low <= tick.get_loc() <= high:
                    undrawn |= {tick.label1, tick.label2}
    return undrawn


@pytest.mark.parametrize("width", [85, 174])
@pytest.mark.parametrize("name", PLOTTED)
def test_fonts_sizes_and_no_titles(
    demonstration: Path, tmp_path: Path, name: str, width: float
) -> None:
    result, simulated = render_figure(demonstration, FIGURES[name], width)
    inches = result.figure.get_size_inches()
    assert abs(inches[0] * 25.4 - width) < 0.5 and inches[1] * 25.4 <= style.MAX_HEIGHT
    texts = [t for t in result.figure.findobj(Text) if t.get_text().strip()]
    assert min(t.get_fontsize() for t in texts) >= 7
    # Nothing that is written is cut off at the edge, by more than a tenth of a millimetre.
    result.figure.draw_without_rendering()
    page = result.figure.bbox.padded(0.1 / 25.4 * result.figure.dpi)
    undrawn = undrawn_tick_labels(result.figure)
    drawn = [t for t in texts if is_drawn(t) and t not in undrawn]
    outside = [
        t.get_text()
        for t in drawn
        if not all(map(page.contains, *zip(*t.get_window_extent().corners())))
    ]
    assert outside == []
    # `without_transparency` makes collections opaque for EPS; nothing else may be transparent.
    visible = [artist for artist in result.figure.findobj() if artist.get_visible()]
    transparent = [artist for artist in visible if artist.get_alpha() not in (None, 1)]
    assert all(isinstance(artist, Collection) for artist in transparent)
    titles = [
        ax.get_title(loc=where)
        for ax in result.figure.axes
        for where in ("left", "center", "right")
    ]
    # Letters of panels; the two panels of the ROC say what is counted.
    assert all(re.fullmatch("[a-h]?|Patches|Mammograms", t) for t in titles)
    assert simulated and any(t.get_text() == f"SIMULATED {simulated.upper()}" for t in texts)
    if width == FIGURES[name].width:
        check_pdf(save_figure(result.figure, tmp_path / f"{name}.pdf", result.kind), width)


@pytest.mark.parametrize(("name", "dpi"), [("calibration", 1200), ("units", 300)])
def test_raster_resolution(exported: Path, name: str, dpi: int) -> None:
    for suffix, expected in ((".tiff", dpi), (".png", min(dpi, 600))):
        with Image.open(exported / f"{name}{suffix}") as image:
            assert image.mode == "RGB" and abs(float(image.info["dpi"][0]) - expected) < 0.1
            assert abs(image.width / expected * 25.4 - FIGURES[name].width) < 0.5
            if suffix == ".tiff":
                assert image.info["compression"] == "tiff_lzw"
    svg = (exported / f"{name}.svg").read_text()
    assert "<text" not in svg and "http://" not in svg.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")


def test_eps_fonts_and_transparency(
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
    result, _ = render_figure(demonstration, FIGURES["roc"], 85)
    band = next(a for a in result.figure.findobj(PolyCollection) if 0 < a.get_facecolor()[0][3] < 1)
    before = band.get_facecolor().tolist()
    with style.without_transparency(result.figure):
        assert all(
            (a.get_facecolor()[:, 3] == 1).all() for a in result.figure.findobj(PolyCollection)
        )
        r, g, b, _ = band.get_facecolor()[0]
        share = before[0][3]
        assert (r, g, b) == pytest.approx([share * v + 1 - share for v in before[0][:3]])
        with caplog.at_level("WARNING"):
            result.figure.savefig(io.StringIO(), format="eps")
        assert "transparency" not in caplog.text
    assert band.get_facecolor().tolist() == before


def test_unit_map_colour_scale(demonstration: Path) -> None:
    result, _ = render_figure(demonstration, FIGURES["explanations"], 174)
    text = " ".join(t.get_text() for t in result.figure.findobj(Text))
    with store.read(demonstration) as con:
        run = run_table.latest_run(con, "explain")
    explained = explanations.list_explained(demonstration, run or "", "all", 1)
    cases = [
        explanations.load_explanation(demonstration, run or "", str(name))
        for name in explained["mammogram_id"][:6]
    ]
    assert (
        len({case.scale for case in cases}) == 1
        # The end of the colour bar: class map 1, unit map at its largest.
        and f"1\n{decimal(cases[0].scale, 2)}" in text
        and "one scale for all cases" in result.caption
    )
    strongest = max(
        (unit.influence, case.unit_heat(unit).max()) for case in cases for unit in case.units
    )
    assert strongest[1] == pytest.approx((strongest[0] / cases[0].scale) ** 0.5, abs=0.02)


def test_coverage_without_interval(own_study: Path) -> None:
    with store.write(own_study) as con:
        con.execute("UPDATE coverage SET low = NULL, high = NULL WHERE name = 'interval'")
    result, _ = render_figure(own_study, FIGURES["coverage"], 85)
    assert "95 % CI not estimable" in result.caption and "nan %" not in result.caption


def test_class_lines_are_distinct() -> None:
    for table in (style.CLASS_LINES, style.CLASS_MARKERS):
        assert len({table[name] for name in MAMMOGRAPHY.names}) == 3


def test_provenance_command_repeats_export(
    demonstration: Path, exported: Path, tmp_path: Path
) -> None:
    before = json.loads((exported / "roc.provenance.json").read_text())
    assert (
        before["simulated"] == "images"
        and "patients as clusters" in before["method"]
        and before["counts"]["patients"] > 0
    )
    assert before["inputs"]["evaluate"].startswith("evaluate-") and {
        "deepminer",
        "matplotlib",
        "python",
    } <= set(before["software"])
    arguments = before["command"].split()
    assert arguments[:3] == ["deepminer", "figures", "roc"]
    width, formats = (
        float(arguments[arguments.index("--width-mm") + 1]),
        arguments[arguments.index("--format") + 1].split(","),
    )
    again = export_figure(demonstration, FIGURES["roc"], tmp_path, width, formats).record
    assert again is not None and again.data_hash == before["data_hash"]
    for file in before["files"]:
        assert (tmp_path / file).read_bytes() == (exported / file).read_bytes(), file


def test_roc_numbers_match_performance(demonstration: Path, exported: Path) -> None:
    table = pd.read_csv(exported / "roc.auc.csv")
    with store.read(demonstration) as con:
        run = run_table.latest_run(con, "evaluate")
    for level in ("patch", "image"):
        for r in performance.load_class_results(demonstration, run, "test", level):
            row = table[(table["level"] == level) & (table["class"] == r.name)].iloc[0]
            assert row["auc"] == pytest.approx(r.auc.estimate, abs=1e-9) and row[
                "low"
            ] == pytest.approx(r.auc.low, abs=1e-9)
    caption = (exported / "roc.caption.txt").read_text()
    assert "SIMULATED" in caption and "test split" in caption and "patients" in caption


def test_processes_write_the_same_files_in_order(
    demonstration: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FIGURES_PER_PROCESS", 1)
    names, done = ["calibration", "annotation_screen"], []
    written = export_figures(
        demonstration, names, tmp_path, None, ["pdf"], lambda *step: done.append(step), processes=2
    )
    assert [e.name for e in written] == names and [e.record is None for e in written] == [0, 1]
    assert done == [(1, 2, "figures"), (2, 2, "figures")]
    for name in ("calibration.pdf", "calibration.caption.txt"):
        assert (tmp_path / name).read_bytes() == (exported / name).read_bytes()


def test_bounding_box_of_a_font_is_that_of_its_glyphs() -> None:
    path = font_manager.findfont(style.font_family())
    # FreeType takes a fifth of the time of the pens of fontTools.
    glyphs = FT2Font(path)
    boxes = [
        glyphs.load_glyph(number, LoadFlags.NO_SCALE).bbox for number in range(glyphs.num_glyphs)
    ]
    left, bottom, right, top = zip(*boxes)
    drawn = min(left), min(bottom), max(right), max(top)
    with TTFont(path) as font:
        # Curves of the drawn glyphs end between the whole numbers of the header.
        assert backend_ps._bounds(font) == pytest.approx(drawn, abs=1)


def test_missing_inputs_name_their_step(tmp_path: Path) -> None:
    empty = study_folder.create_study(tmp_path / "empty")
    done = export_figures(empty, [], tmp_path / "out", None, ["pdf"], silent)
    assert [e.record for e in done] == [None] * len(FIGURES)
    assert all(e.step and e.reason for e in done)
    assert {e.name: e.command for e in done}["roc"] == "deepminer evaluate"
    now = provenance.current_inputs(empty, provenance.INPUT_NAMES)
    for kind in FIGURES.values():
        absent = provenance.first_missing_input(kind.required, now)
        assert isinstance(absent, MissingInput) and absent.step


def test_changed_labels_make_export_stale(own_study: Path, tmp_path: Path) -> None:
    units = export_figure(own_study, FIGURES["units"], tmp_path, None, ["pdf"]).record
    roc = export_figure(own_study, FIGURES["roc"], tmp_path, None, ["pdf"]).record
    assert units is not None and roc is not None
    assert not any(
        provenance.changed_inputs(p, provenance.current_inputs(own_study, provenance.INPUT_NAMES))
        for p in provenance.load_records(tmp_path)
    )
    with store.write(own_study) as con:
        run = run_table.latest_run(con, "dissect")
        unit = unit_table.selected_unit_ids(con, run)[0]
        decision_table.record_decision(con, run, unit, "Something new", [], "reviewed", "team")
    now = provenance.current_inputs(own_study, provenance.INPUT_NAMES)
    changed = {
        p["name"]: provenance.changed_inputs(p, now) for p in provenance.load_records(tmp_path)
    }
    assert changed == {"units": ["labels"], "roc": []}


def test_picked_case_is_in_caption(own_study: Path) -> None:
    with store.read(own_study) as con:
        run = run_table.latest_run(con, "explain")
        table = unit_table.load_explanations(con, run)
    right = table[(table["predicted"] == 2) & (table["truth"] == 2)]["mammogram_id"].tolist()
    random = {role: (name, how) for role, name, how in choose_example_cases(own_study, run, 1)}
    assert random["malignant, right"][1] == "random, seed 1"
    other = next(name for name in right if name != random["malignant, right"][0])
    with store.write(own_study) as con:
        unit_table.record_figure_pick(con, run, other, "hand-picked", "team")
    picked = {role: (name, how) for role, name, how in choose_example_cases(own_study, run, 1)}
    assert picked["malignant, right"] == (other, "hand-picked")
    assert "hand-picked" in preview_figure(own_study, "explanations", None).caption


def test_unknown_names_and_formats(demonstration: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no figure 'rok'"):
        export_figures(demonstration, ["rok"], tmp_path, None, ["pdf"], silent)
    with pytest.raises(UserError, match="jpeg"):
        export_figures(demonstration, ["roc"], tmp_path, None, ["jpeg"], silent)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be a folder"):
        export_figures(demonstration, ["roc"], tmp_path / "file", None, ["pdf"], silent)


def test_zip_has_a_folder_for_each_export_and_a_page_that_links_every_file(exported: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(zip_exports(exported, "A & B"))) as archive:
        names = set(archive.namelist())
        page = archive.read("A-B-exports/index.html").decode()
    assert "<h1>A &amp; B: figures and tables</h1>" in page
    for record in provenance.load_records(exported):
        for file in (*record["files"], f"{record['name']}.provenance.json"):
            place = f"figures/{record['name']}/{file}"
            assert f"A-B-exports/{place}" in names and f'href="{place}"' in page


def test_scale_bar_length(own_study: Path) -> None:
    assert "10 mm" not in preview_figure(own_study, "explanations", None).caption
    with store.write(own_study) as con:
        con.execute("UPDATE mammograms SET pixel_mm = 0.2")
    result, _ = render_figure(own_study, FIGURES["explanations"], 174)
    assert "White bar: 10 mm." in result.caption
    bars = [line for line in result.figure.axes[0].lines if line.get_linewidth() == 1.4]
    with store.read(own_study) as con:
        widths = con.execute("SELECT width, source_width FROM mammograms LIMIT 1").fetchone()
    assert (
        len(bars) == 1
        and abs(float(bars[0].get_xdata()[1] - bars[0].get_xdata()[0]) - 50 * widths[0] / widths[1])
        < 1e-9
    )


def test_reading_with_all_answers_correct(own_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wrong answer the estimate is 1 with a lower bound, never with an interval of no
    width.
    """
    with store.write(own_study) as con:
        con.execute(
            """
            UPDATE answers
            SET answer = CASE WHEN c.truth = 'malignant' THEN 6 ELSE 1 END
            FROM reading_items i
            JOIN reading_cases c ON c.protocol = i.protocol AND c.version = i.version
                AND c.case_number = i.case_number
            WHERE answers.protocol = i.protocol AND answers.version = i.version
                AND answers.code = i.code AND answers.position = i.position
            """
        )
    for name in ("reading", "time_order"):
        assert preview_figure(own_study, name, None).image_uri.startswith("data:image")
    first = TABLES["reading"].build(own_study).raw_frame().iloc[0]
    assert first["Result"].startswith("Primary") and first["Value"] == 1
    assert 0 < first["Value 95 % low"] < first["Value 95 % high"] == 1
    # Both are in the report, with its sentences about the study.
    monkeypatch.setattr(report, "RESULTS", (("Reading study", (), ("reading",)),))
    blocks = build_blocks(own_study, silent)
    assert "Results of the reading study" in [b.title for b in blocks if isinstance(b, TableBlock)]
    sentences = " ".join(b.text for b in blocks if isinstance(b, Paragraph))
    assert "(100.0 %; 95 % CI " in sentences and "100.0 % to 100.0 %" not in sentences


def test_positions_start_after_practice(own_study: Path) -> None:
    with store.write(own_study) as con:
        participant_table.invite_participant(con, "R1", "reader", "x")
        session = ReadingSession("R1", b"secret")
        protocol = session.protocol(con)
        session.assign_order(con, protocol)
        items = reading_table.load_reading_items(con, protocol.protocol, protocol.version)
        for item in items.itertuples():
            reading_table.append_reading_answer(
                con,
                protocol=protocol,
                code="R1",
                position=item.position,
                revision=1,
                answer=1 + item.position % 6,
                seconds=2.0,
            )
    workflow.close_protocol(own_study, protocol.protocol, "team", confirm=protocol.protocol)
    result, _ = render_figure(own_study, FIGURES["time_order"], 174)
    cases = int((~items["practice"]).sum())
    positions, blocks = result.data["answers"]["position"], result.data["blocks"]
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
    assert all(tick == round(tick) for axis in result.figure.axes for tick in axis.get_xticks())


def test_reports_are_printed_whole_and_up_to_five_units(own_study: Path) -> None:
    long = " ".join(f"word{k}" for k in range(250))
    with store.write(own_study) as con:
        con.execute("UPDATE findings SET report = ?", [long])
    result, _ = render_figure(own_study, FIGURES["explanations"], 174)
    texts = [t.get_text() for t in result.figure.findobj(Text)]
    reports = [" ".join(t.split()) for t in texts if t.startswith("Report:")]
    assert reports and all(long in report for report in reports)
    # Long reports take the place of rows; the data hold the cases that are printed.
    assert result.data["units"]["panel"].nunique() == len(reports) == result.counts["mammograms"]
    assert result.figure.get_size_inches()[1] * 25.4 <= style.MAX_HEIGHT
    units = result.data["units"]
    # A label stands once, with the number of its units.
    labelled = units[units["label"] != ""].groupby("panel")["label"].nunique().clip(upper=5)
    assert sum("of 8, unit_" in text for text in texts) == labelled.sum() > 0
