"""Exports of figures and tables: arguments, files, records, refusals, and the archive of all."""

from __future__ import annotations

import base64
import io
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from core.errors import UserError
from evaluation.queries.provenance import MissingInput
from evaluation.reporting import base
from evaluation.reporting.base import Export
from evaluation.reporting.figures import export as figures
from evaluation.reporting.figures.base import FigureResult, FigureSpec
from evaluation.reporting.tables import Table, TableColumn
from evaluation.reporting.tables import export as tables
from evaluation.reporting.tables.base import TableSpec, format_p, format_value

STUDY = Path("study")
GONE = ("Step", "it is gone", "deepminer x")


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(owner, name, function)


def missing(*_: Any, **__: Any) -> Any:
    raise MissingInput(*GONE)


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace what records take from the study; return what the simulated parts were asked for."""
    asked: list[Any] = []
    for module in (figures, tables):
        replace(
            monkeypatch,
            module.provenance,
            simulated_parts=lambda *given: asked.append(given) or "images",
            current_inputs=lambda study, names: dict.fromkeys(names, "v"),
            hash_tables=lambda given: json.dumps(given),
            export_software=lambda: {"python": "3"},
            evidence_head=lambda study: "head",
            study_seed=lambda study: 7,
        )
        replace(
            monkeypatch,
            module,
            load_image_noun=lambda study: "image",
            caption_suffix=lambda study, simulated: f" [{simulated}]",
        )
    return asked


def figure_spec(labelled: bool = False, **changes: Any) -> FigureSpec:
    def plot(*given: Any) -> FigureResult:
        figure = Figure(figsize=(1, 0.5))
        figure.text(0, 0, "Mammograms")
        return FigureResult(
            figure=figure,
            data={"a": pd.DataFrame({"x": [1 / 3, 2.0]}), "b": pd.DataFrame({"y": ["=1"]})},
            caption=f"mammogram {given}",
            counts={"n": 5},
            method="mammograms counted",
            kind="image",
            seed=3,
        )

    values = {"name": "f", "title": "T", "needs": ("data", "labels"), "required": (), "width": 85}
    return FigureSpec(**values | {"plot": plot, "labelled": labelled} | changes)


def test_figure_in_the_words_of_the_study(origin: list[Any]) -> None:
    result, simulated = figures.render_figure(STUDY, figure_spec(), 90, "own")
    assert simulated == "images" and origin == [(STUDY, ("data", "labels"), None)]
    assert result.caption == f"image {(STUDY, 90)}" and result.method == "images counted"
    texts = [text.get_text() for text in result.figure.texts]
    assert texts == ["Images", "SIMULATED IMAGES"]
    result, _ = figures.render_figure(STUDY, figure_spec(labelled=True), 90, "own")
    assert result.caption == f"image {(STUDY, 90, 'own')}"
    assert origin[1] == (STUDY, ("data", "labels"), "own")
    assert figures.render_figure(STUDY, figure_spec(labelled=True), 90)[0].caption.endswith("None)")


def test_record_of_a_figure(origin: list[Any], tmp_path: Path) -> None:
    export = figures.export_figure(STUDY, figure_spec(), tmp_path, None, ("svg", "png"))
    record = export.record
    assert record is not None and (export.name, export.step) == ("f", "")
    texts = {"a": "x\n0.3333333333\n2\n", "b": "y\n'=1\n"}
    caption = f"image {(STUDY, 85)} [images]"
    assert vars(record) == {
        "name": "f",
        "kind": "figure",
        "title": "T",
        "caption": caption,
        "counts": {"n": 5},
        "method": "images counted",
        "seed": 3,
        "simulated": "images",
        "inputs": {"data": "v", "labels": "v"},
        "data_hash": json.dumps(texts),
        "command": "deepminer figures f --study STUDY --out DIR --width-mm 85 --format svg,png",
        "software": {"python": "3"},
        "evidence": "head",
        "files": ("f.svg", "f.png", "f.a.csv", "f.b.csv", "f.caption.txt"),
        "width_mm": 85,
    }
    assert (tmp_path / "f.caption.txt").read_text() == f"{caption}\n\nimages counted\n"
    assert {name: (tmp_path / f"f.{name}.csv").read_text() for name in "ab"} == texts
    assert (tmp_path / "f.provenance.json").is_file()
    # Images have 300 dots per inch.
    with Image.open(tmp_path / "f.png") as image:
        assert image.size == (300, 150)
    for labelled, options in ((False, ""), (True, " --label-set own")):
        spec = figure_spec(labelled)
        record = figures.export_figure(STUDY, spec, tmp_path, 40.5, ("svg",), "own").record
        assert record is not None and record.width_mm == 40.5
        assert record.command.endswith(f"--width-mm 40.5 --format svg{options}")
    spec = figure_spec(labelled=True)
    plain = figures.export_figure(STUDY, spec, tmp_path, None, ("svg",)).record
    assert plain is not None and "--label-set" not in plain.command
    gone = figures.export_figure(STUDY, figure_spec(plot=missing), tmp_path, None, ("svg",))
    assert gone == Export("f", None, *GONE)


def test_figures_of_one_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, reports, pools = [], [], []
    specs = {name: name.upper() for name in "abcdefgh"}

    class Pool:
        def __init__(self, processes: int, mp_context: Any) -> None:
            pools.append((processes, mp_context.get_start_method()))

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None: ...

        def map(self, function: Any, names: list[str]) -> Any:
            return map(function, names)

    monkeypatch.setattr("evaluation.reporting.figures.FIGURES", specs)
    replace(
        monkeypatch,
        figures,
        FIGURES=specs,
        export_figure=lambda *given, **named: asked.append((given, named)) or given[1],
        ProcessPoolExecutor=Pool,
    )
    out = tmp_path / "out"

    def run(names: list[str], **options: Any) -> Any:
        asked.clear(), reports.clear(), pools.clear()
        report = lambda *step: reports.append(step)  # noqa: E731
        return figures.export_figures(STUDY, names, out, 90.0, ("svg",), report, **options)

    assert run(["b", "a", "b"], label_set="own") == ["B", "A"] and out.is_dir()
    options = {"out": out, "width_mm": 90.0, "formats": ("svg",), "label_set": "own"}
    assert asked == [((STUDY, "B"), options), ((STUDY, "A"), options)]
    assert reports == [(1, 2, "figures"), (2, 2, "figures")] and pools == []
    assert run([]) == run(["a", "all"]) == list(specs.values())
    assert asked[0][1]["label_set"] is None and pools == []
    # A process for every four figures, and never one alone.
    run([], processes=9)
    assert pools == [(2, "spawn")]
    run(list("abcdefg"), processes=9)
    assert pools == []
    with pytest.raises(UserError, match=r"no figure 'x'; the figures are a, b, c"):
        run(["a", "x"])
    for formats, text in ((("svg", "gif"), "--format has gif"), ((), "--format has nothing")):
        with pytest.raises(UserError, match=text):
            figures.export_figures(STUDY, ["a"], out, None, formats, len)  # type: ignore[arg-type]
    assert figures.FIGURE_FORMATS == ("pdf", "svg", "eps", "png", "tiff")
    figures.check_formats(figures.FIGURE_FORMATS)


def test_files_of_a_figure(tmp_path: Path) -> None:
    figure = Figure(figsize=(1.019, 0.5))
    figure.add_axes((0.25, 0.25, 0.5, 0.5)).imshow(np.zeros((2, 2)), cmap="gray")
    paths = {
        suffix: figures.save_figure(figure, tmp_path / f"f.{suffix}", "line")
        for suffix in ("pdf", "svg", "eps")
    }
    assert paths["pdf"].read_bytes()[:5] == b"%PDF-" and b"DeepMiner" in paths["pdf"].read_bytes()
    assert b"CreationDate" not in paths["pdf"].read_bytes()
    svg = paths["svg"].read_text()
    assert svg.startswith("<?xml") and "<dc:date>" not in svg and "DeepMiner" in svg
    # Pictures within have 300 dots per inch: 150 by 75 pixels, on the square axes 75 by 75.
    encoded = svg.split("data:image/png;base64,")[1].split('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == pytest.approx((75, 75), abs=1)
    eps = paths["eps"].read_text(encoding="latin-1")
    assert "%%Creator: DeepMiner" in eps and "CreationDate" not in eps
    pixels = figures.rasterize(figure, 100)
    # Parts of a pixel are cut off.
    assert pixels.size == (101, 50) and pixels.mode == "RGB"
    assert pixels.getpixel((0, 0)) == (255, 255, 255) and pixels.getpixel((50, 25)) == (0, 0, 0)
    for kind, head, form in (
        ("line", "data:image/png", "PNG"),
        ("image", "data:image/jpeg", "JPEG"),
    ):
        uri = figures.figure_data_uri(figure, kind, 100)
        picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
        assert uri.startswith(f"{head};base64,") and picture.format == form
        assert picture.size == (101, 50)


def test_preview_of_a_figure(monkeypatch: pytest.MonkeyPatch, origin: list[Any]) -> None:
    asked: list[Any] = []
    specs = {"f": figure_spec(), "gone": figure_spec(plot=missing)}
    replace(
        monkeypatch,
        figures,
        FIGURES=specs,
        figure_data_uri=lambda figure, kind, dpi: asked.append((kind, dpi)) or "uri",
    )
    preview = figures.preview_figure(STUDY, "f", None)
    assert vars(preview) == {
        "image_uri": "uri",
        "caption": f"image {(STUDY, 85)} [images]",
        "counts": {"n": 5},
        "method": "images counted",
        "simulated": "images",
        "missing": None,
    }
    assert asked == [("image", 192)]
    assert f"{(STUDY, 60)}" in figures.preview_figure(STUDY, "f", 60).caption
    empty = {"image_uri": "", "caption": "", "counts": {}, "method": "", "simulated": ""}
    assert vars(figures.preview_figure(STUDY, "gone", None)) == empty | {"missing": GONE}


def table() -> Table:
    columns = (TableColumn("Mammograms"), TableColumn("Share", format_p, True, True))
    return Table(columns, [(1500, 1 / 3, 0.25, 0.5)], "mammogram note", {"n": 4}, "method")


def table_spec(**changes: Any) -> TableSpec:
    values = {"name": "t", "title": "T", "needs": ("data",), "required": ()}
    return TableSpec(**values | {"build": lambda study: table()} | changes)


def test_record_of_a_table(origin: list[Any], tmp_path: Path) -> None:
    built = tables.build_table(STUDY, table_spec())
    assert [c.heading for c in built.columns] == ["Images", "Share"] and built.note == "image note"
    assert built.columns[1].interval and built.columns[1].wrap and built.rows == table().rows
    export = tables.export_table(STUDY, table_spec(), tmp_path)
    csv = "Images,Share,Share 95 % low,Share 95 % high\n1500,0.3333333333,0.25,0.5\n"
    assert export.name == "t" and export.record is not None
    assert vars(export.record) == {
        "name": "table_t",
        "kind": "table",
        "title": "T",
        "caption": "image note [images]",
        "counts": {"n": 4},
        "method": "method",
        "seed": 7,
        "simulated": "images",
        "inputs": {"data": "v"},
        "data_hash": json.dumps({"t": csv}),
        "command": "deepminer tables t --study STUDY --out DIR",
        "software": {"python": "3"},
        "evidence": "head",
        "files": ("table_t.csv", "table_t.xlsx", "table_t.tex", "table_t.md"),
        "width_mm": None,
    }
    assert origin == [(STUDY, ("data",))]
    assert (tmp_path / "table_t.csv").read_text() == csv
    assert (tmp_path / "table_t.md").read_text() == (
        "**T**\n\n| Images   | Share (95 % CI)     |\n|----------|---------------------|\n"
        "| 1,500    | .333 (.250 to .500) |\n\nimage note \\[images\\]\n"
    )
    assert r"\label{tab:t}" in (tmp_path / "table_t.tex").read_text()
    assert all((tmp_path / name).is_file() for name in export.record.files)
    gone = tables.export_table(STUDY, table_spec(build=missing), tmp_path)
    assert gone == Export("t", None, *GONE)


def test_tables_of_one_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reports: list[Any] = []
    specs = {name: name.upper() for name in "abc"}
    monkeypatch.setattr("evaluation.reporting.tables.TABLES", specs)
    replace(monkeypatch, tables, TABLES=specs, export_table=lambda *given: given)
    out = tmp_path / "out"

    def run(names: list[str]) -> Any:
        return tables.export_tables(STUDY, names, out, lambda *step: reports.append(step))

    assert run(["c", "a", "c"]) == [(STUDY, "C", out), (STUDY, "A", out)] and out.is_dir()
    assert reports == [(1, 2, "tables"), (2, 2, "tables")]
    assert run([]) == run(["b", "all"]) == [(STUDY, name, out) for name in "ABC"]
    with pytest.raises(UserError, match=r"no table 'x'; the tables are a, b, c"):
        run(["x"])


@pytest.mark.parametrize(
    ("columns", "rows", "size", "kind"),
    [
        (6, 20, "footnotesize", "table"),
        (7, 20, "scriptsize", "table"),
        (9, 21, "scriptsize", "pages"),
        (10, 1, "tiny", "table"),
        (11, 20, "tiny", "table"),
        (12, 1, "scriptsize", "landscape"),
    ],
)
def test_sizes_of_latex_tables(columns: int, rows: int, size: str, kind: str) -> None:
    headings = tuple(TableColumn(f"C{i}") for i in range(columns))
    text = tables.to_latex(Table(headings, [("x",) * columns] * rows, "N"), "T", "t")
    lines = text.split("\n")
    setup = rf"\{size}\setlength{{\tabcolsep}}{{2pt}}"
    packages = r"\usepackage{booktabs}, \usepackage{xltabular}"
    if kind == "landscape":
        packages += r", \usepackage{pdflscape}"
    assert lines[0] == rf"% needs \usepackage[T1]{{fontenc}}, {packages}"
    start = {
        "table": [r"\begin{table}", setup],
        "pages": ["{" + setup + r"\begin{xltabular}"],
        "landscape": [r"\begin{landscape}", setup],
    }[kind]
    if kind == "pages":
        assert lines[1] == "{" + setup and text.endswith("}\n")
        assert lines[2].startswith(r"\begin{xltabular}{\linewidth}{@{}lllllllll@{}}")
    else:
        assert lines[1:3] == start
    assert text.endswith("\\end{landscape}\n") == (kind == "landscape")
    inner = "tabularx" if kind == "table" else "xltabular"
    assert text.count(rf"\begin{{{inner}}}{{\linewidth}}") == 1
    assert text.count(rf"\end{{{inner}}}") == 1 and "longtable" not in text


def test_types_of_latex_columns() -> None:
    columns = (
        TableColumn("Two words-here"),
        TableColumn("Share", format_p, interval=True),
        TableColumn("Text & more", wrap=True),
        TableColumn("Name"),
    )
    rows: list[tuple[Any, ...]] = [
        (1, 0.5, 0.25, 0.75, "a", "x 5 %"),
        (None, None, None, None, "−1 ≥ 2 ≤ 3 → 4", "0123456789abcdef"),
    ]
    text = tables.to_latex(Table(columns, rows, "N"), "T", "t")
    wide = r">{\raggedright\arraybackslash\hspace{0pt}}X"
    assert rf"{{@{{}}rl{wide}l@{{}}}}" in text
    assert r"\shortstack[l]{Two\\words-\\here}" in text
    assert r"\shortstack[l]{Share\\(95~\%~CI)}" in text and r"Text \& more" in text
    assert r"$-$1 $\geq$ 2 $\leq$ 3 $\rightarrow$ 4" in text and r"x 5~\%" in text
    assert r"012345\allowbreak 6789ab\allowbreak cdef" in text
    assert tables.escape_markdown("a_b _c_ *d* <b> x@y www.z http://q &amp; 5 < 6") == (
        r"a_b \_c\_ \*d\* &lt;b> x&#64;y www&#46;z http&#58;//q &amp;amp; 5 < 6"
    )
    assert [format_value(v) for v in (1234, True, None, float("nan"), pd.NA, "x", 0.5)] == [
        *("1,234", "True", "–", "–", "–", "x", "0.5")
    ]
    assert [format_p(p) for p in (0.0346, 0.0001, 0.9999, None)] == [
        *(".035", "< .001", "> .999", "not estimable")
    ]


def test_newest_inputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = ["train-1"]
    monkeypatch.setattr(base.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(base.run_table, "latest_run", lambda con, kind: run[-1])
    assert base.newest_run(STUDY, "train") == "train-1"
    run.append(None)  # type: ignore[arg-type]
    with pytest.raises(MissingInput) as error:
        base.newest_run(STUDY, "train")
    given = (error.value.step, error.value.reason, error.value.command)
    assert given == base.MISSING_INPUTS["train"]
    closed: list[Any] = [None]
    listed: list[Any] = []
    monkeypatch.setattr(base, "closed_protocol", lambda con: closed[-1])
    monkeypatch.setattr(base.protocol_table, "list_protocols", lambda con: listed)
    reason = ("Reading", "no reading study has been closed")
    for protocols, command in (
        ([], "deepminer reading create"),
        ([("P", 1, "designed"), ("Q", 2, "reading")], base.next_command("Q", 2, "reading")),
    ):
        listed[:] = [SimpleNamespace(protocol=p, version=v, state=s) for p, v, s in protocols]
        with pytest.raises(MissingInput) as error:
            base.load_closed_protocol(STUDY)
        given = (error.value.step, error.value.reason, error.value.command)
        assert given == (*reason, command)
    closed.append(SimpleNamespace(protocol="P", version=3))
    assert base.load_closed_protocol(STUDY) is closed[-1]
    scored: list[Any] = []
    monkeypatch.setattr(
        base.workflow, "score_protocol", lambda *given: scored.append(given) or len(scored)
    )
    # Every call scores, but within one report a study is scored once.
    assert [base.load_closed_study(STUDY) for _ in range(2)] == [1, 2]
    with base.remember_scores():
        assert [base.load_closed_study(STUDY) for _ in range(2)] == [3, 3]
        closed.append(SimpleNamespace(protocol="P", version=4))
        assert base.load_closed_study(STUDY) == 4
        assert base.load_closed_study(Path("other")) == 5
    assert base.load_closed_study(STUDY) == 6
    assert scored[0] == (STUDY, "P", 3) and scored[3] == (STUDY, "P", 4)
    folder = tmp_path / "a" / "b"
    assert base.create_output_folder(folder) == folder and folder.is_dir()
    base.create_output_folder(folder)
    (folder / "file").touch()
    for path in (folder / "file", folder / "file" / "c"):
        with pytest.raises(UserError, match="cannot be a folder for exports"):
            base.create_output_folder(path)
