"""Export of figures: every format at its resolution, the underlying numbers, the caption and the
provenance record.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends import _backend_pdf_ps, backend_ps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_ps import FigureCanvasPS
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from core.annotation.spreadsheet_cells import csv_text
from core.atomic_files import write_text
from core.errors import UserError
from core.progress import ProgressCallback
from core.settings import in_study_words, load_image_noun
from evaluation.queries import provenance
from evaluation.queries.provenance import MissingInput, ProvenanceRecord
from evaluation.reporting.base import Export, caption_suffix, create_output_folder
from evaluation.reporting.figures import FIGURES, select_figures, style
from evaluation.reporting.figures.base import FigureResult, FigureSpec

FIGURE_FORMATS = ("pdf", "svg", "eps", "png", "tiff")
CanvasT = TypeVar("CanvasT", bound=FigureCanvasBase)
FIGURES_PER_PROCESS = 4
MAX_PNG_DPI = 600
SCREEN_DPI = 96


def render_figure(
    study: Path, spec: FigureSpec, width_mm: float, label_set: str | None = None
) -> tuple[FigureResult, str]:
    """Return a figure with its mark of simulated data, and the names of the simulated parts.

    label_set: of figures that show labels; None for the labels that the study uses.
    MissingInput where an input does not exist.
    """
    with style.print_style():
        result = (
            spec.plot(study, width_mm, label_set) if spec.labelled else spec.plot(study, width_mm)
        )
        used_labels = label_set if spec.labelled else None
        simulated = provenance.simulated_parts(study, spec.needs, used_labels)
        style.mark_simulated(result.figure, simulated)
    noun = load_image_noun(study)
    # The texts are written about mammograms. To list them creates the ticks of hidden axes too.
    if noun != "mammogram":
        for text in result.figure.findobj(Text):
            text.set_text(in_study_words(text.get_text(), noun))
    style.fix_layout(result.figure)
    worded = replace(
        result,
        caption=in_study_words(result.caption, noun),
        method=in_study_words(result.method, noun),
    )
    return worded, simulated


def export_figure(
    study: Path,
    spec: FigureSpec,
    out: Path,
    width_mm: float | None,
    formats: Sequence[str],
    label_set: str | None = None,
) -> Export:
    """Write one figure in the given formats, with data, caption and provenance record.

    width_mm: None for the natural width of the figure. A missing input gives an Export without a
    record.
    """
    width = width_mm or spec.width
    try:
        result, simulated = render_figure(study, spec, width, label_set)
    except MissingInput as missing:
        return Export(spec.name, None, missing.step, missing.reason, missing.command)
    paths = [out / f"{spec.name}.{suffix}" for suffix in formats]
    files = [path.name for path in save_formats(result.figure, paths, result.kind)]
    # Ten significant digits: enough for any further analysis, and stable between platforms.
    tables = {name: csv_text(frame, float_format="%.10g") for name, frame in result.data.items()}
    caption = result.caption + caption_suffix(study, simulated)
    texts = {f"{spec.name}.{name}.csv": text for name, text in tables.items()}
    texts[f"{spec.name}.caption.txt"] = f"{caption}\n\n{result.method}\n"
    for name, text in texts.items():
        write_text(out / name, text)
    record = ProvenanceRecord(
        name=spec.name,
        kind="figure",
        title=spec.title,
        caption=caption,
        counts=result.counts,
        method=result.method,
        seed=result.seed,
        simulated=simulated,
        inputs=provenance.current_inputs(study, spec.needs),
        data_hash=provenance.hash_tables(tables),
        command=f"deepminer figures {spec.name} --study STUDY --out DIR --width-mm {width:g}"
        f" --format {','.join(formats)}"
        + (f" --label-set {label_set}" if label_set and spec.labelled else ""),
        software=provenance.export_software(),
        evidence=provenance.evidence_head(study),
        files=(*files, *texts),
        width_mm=width,
    )
    record.write(out)
    return Export(spec.name, record)


def export_figures(
    study: Path,
    names: Sequence[str],
    out: Path,
    width_mm: float | None,
    formats: Sequence[str],
    report: ProgressCallback,
    label_set: str | None = None,
    processes: int = 1,
) -> list[Export]:
    """Write several figures into a folder, which is created if it is missing.

    label_set: of the figures that show labels; None for the labels that the study uses.
    processes: more than 1 only from a command, because a new process imports the main module.
    No name or "all": every figure. An unknown name or format is a UserError.
    """
    selected = select_figures(names)
    check_formats(formats)
    create_output_folder(out)
    write = partial(
        _export_named, study, out=out, width_mm=width_mm, formats=formats, label_set=label_set
    )
    # A process takes as long to start as a few figures to write.
    processes = min(processes, len(selected) // FIGURES_PER_PROCESS)
    with contextlib.ExitStack() as stack:
        written: Iterable[Export] = map(write, selected)
        if processes > 1:
            pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
            written = stack.enter_context(pool).map(write, selected)
        exports = []
        for export in written:
            exports.append(export)
            report(len(exports), len(selected), "figures")
    return exports


def _export_named(study: Path, name: str, **options: Any) -> Export:
    """Write the figure of this name; arguments and result pass between processes."""
    return export_figure(study, FIGURES[name], **options)


def check_formats(formats: Sequence[str]) -> None:
    """Raise UserError for a format in which figures are not written, or for none."""
    unsupported = [name for name in formats if name not in FIGURE_FORMATS]
    if unsupported or not formats:
        raise UserError(
            f"--format has {unsupported[0] if unsupported else 'nothing'}; choose from"
            f" {', '.join(FIGURE_FORMATS)}, joined by commas."
        )


def save_figure(figure: Figure, path: Path, kind: str) -> Path:
    """Write a figure to one file; the suffix of the path determines the format.

    PDF, SVG and EPS are vector graphics without a date, so that equal figures are equal files. PNG
    and TIFF (LZW) are RGB at the print resolution of the kind of figure.
    """
    return save_formats(figure, [path], kind)[0]


def save_formats(figure: Figure, paths: Sequence[Path], kind: str) -> list[Path]:
    """Write a figure to several files as `save_figure` does; pixels of one size are drawn once."""
    drawn: dict[int, Image.Image] = {}
    for path in paths:
        if path.suffix == ".svg":
            path.write_bytes(render_svg(figure))
        elif path.suffix == ".eps":
            path.write_text(_render_eps(figure), encoding="latin-1")
        elif path.suffix == ".pdf":
            with _canvas(figure, FigureCanvasPdf, style.PRINT_DPI["mixed"]) as canvas:
                canvas.print_pdf(
                    path, metadata={"CreationDate": None, "Creator": "DeepMiner", "Producer": None}
                )
        else:
            is_tiff = path.suffix == ".tiff"
            dpi = style.PRINT_DPI[kind] if is_tiff else min(style.PRINT_DPI[kind], MAX_PNG_DPI)
            if dpi not in drawn:
                drawn[dpi] = rasterize(figure, dpi)
            options = {"compression": "tiff_lzw"} if is_tiff else {}
            drawn[dpi].save(path, dpi=(dpi, dpi), **options)
    return list(paths)


@contextmanager
def _canvas(figure: Figure, kind: type[CanvasT], dpi: int) -> Iterator[CanvasT]:
    """Give a figure a canvas of this kind and resolution, for the duration of the context.

    `Figure.savefig` draws every figure twice, the first time for the layout alone, which
    `render_figure` has computed.
    """
    own_canvas, own_dpi = figure.canvas, figure.dpi
    with style.print_style():
        try:
            canvas = kind(figure)
            figure.set_dpi(dpi)
            yield canvas
        finally:
            figure.set_dpi(own_dpi)
            figure.set_canvas(own_canvas)


def render_svg(figure: Figure) -> bytes:
    """Return a figure as SVG; photographs inside it have the resolution of images in print."""
    buffer = io.BytesIO()
    with _canvas(figure, FigureCanvasSVG, style.PRINT_DPI["image"]) as canvas:
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": "DeepMiner"})
    return buffer.getvalue()


def _render_eps(figure: Figure) -> str:
    buffer = io.StringIO()
    with (
        style.without_transparency(figure),
        _canvas(figure, FigureCanvasPS, style.PRINT_DPI["mixed"]) as canvas,
    ):
        canvas.print_eps(buffer, metadata={"Creator": "DeepMiner"})
    # matplotlib has no setting that omits the date of an EPS.
    return re.sub(r"%%CreationDate:.*\n", "", buffer.getvalue())


def rasterize(figure: Figure, dpi: int) -> Image.Image:
    """Return a figure as RGB pixels."""
    with _canvas(figure, FigureCanvasAgg, dpi) as canvas:
        canvas.draw()
        # The Agg canvas truncates the size to whole pixels.
        size = canvas.get_width_height()
        # White paper is opaque, so that the fourth byte of a pixel says nothing.
        return Image.frombytes("RGB", size, bytes(canvas.buffer_rgba()), "raw", "RGBX")


def figure_data_uri(figure: Figure, kind: str, dpi: int) -> str:
    """Return a figure as a data URI: PNG for line art, JPEG where it contains mammograms."""
    buffer = io.BytesIO()
    image = rasterize(figure, dpi)
    if kind == "line":
        # 128 colours suffice for line art and quarter the size.
        image.quantize(128).save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _bounding_box(font: Any) -> tuple[float, float, float, float]:
    """Return the smallest box that holds each glyph of a TrueType font, from its header."""
    head = font["head"]
    return head.xMin, head.yMin, head.xMax, head.yMax


# matplotlib draws thousands of glyphs for this box, for each font of each EPS file.
backend_ps._bounds = _bounding_box


def _load_font(file: Any, options: subset.Options) -> TTFont:
    """Open a font to embed a part of it, without its tables for the arrangement of text."""
    font = subset.load_font(file, options)
    for table in ("GDEF", "GPOS", "GSUB"):
        if table in font:
            del font[table]
    return font


# The glyphs in a file have their places. Reading these tables takes most of the time of embedding a
# font.
_backend_pdf_ps.subset = SimpleNamespace(
    Options=subset.Options, Subsetter=subset.Subsetter, load_font=_load_font
)
_uncached_subset = _backend_pdf_ps.get_glyphs_subset


@lru_cache(maxsize=32)
def _subset_file(file: Any, glyphs: frozenset[int]) -> tuple[bytes, dict[int, int]]:
    """Return the file of a font with some of its glyphs, and their new numbers by the old ones."""
    with _uncached_subset(file, set(glyphs)) as result:
        return _backend_pdf_ps.font_as_file(result.font).getvalue(), result.glyph_index_map


@contextmanager
def _cached_subset(fontfile: Any, glyphs: Iterable[int]) -> Iterator[_backend_pdf_ps.SubsetResults]:
    content, numbers = _subset_file(fontfile, frozenset(glyphs))
    # As matplotlib opens it: a time or a box computed anew would make equal figures unequal files.
    with TTFont(io.BytesIO(content), recalcBBoxes=False, recalcTimestamp=False) as font:
        yield _backend_pdf_ps.SubsetResults(font, numbers)


# The PDF and the EPS of a figure embed the same glyphs.
_backend_pdf_ps.get_glyphs_subset = _cached_subset


@dataclass(frozen=True, kw_only=True)
class FigurePreview:
    """A figure for display on a page.

    image_uri: the figure as a data URI; simulated: names of the simulated parts; missing: (step,
    reason, command) of the missing input, in which case the other fields are empty.
    """

    image_uri: str
    caption: str
    counts: dict[str, int]
    method: str
    simulated: str
    missing: tuple[str, str, str] | None = None


def preview_figure(study: Path, name: str, width_mm: float | None) -> FigurePreview:
    """Return a preview of a figure at its print size, at twice the resolution of a screen."""
    spec = FIGURES[name]
    try:
        result, simulated = render_figure(study, spec, width_mm or spec.width)
    except MissingInput as missing:
        return FigurePreview(
            image_uri="",
            caption="",
            counts={},
            method="",
            simulated="",
            missing=(missing.step, missing.reason, missing.command),
        )
    return FigurePreview(
        image_uri=figure_data_uri(result.figure, result.kind, 2 * SCREEN_DPI),
        caption=result.caption + caption_suffix(study, simulated),
        counts=result.counts,
        method=result.method,
        simulated=simulated,
    )
