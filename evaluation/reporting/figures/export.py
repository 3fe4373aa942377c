"""Writing figures: every format with its resolution, the numbers behind, a caption draft, and the
passport.
"""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from core.errors import UserError
from core.study_folder import write_text
from evaluation.queries import provenance
from evaluation.queries.provenance import Missing, Passport
from evaluation.reporting.figures import FIGURES, style
from evaluation.reporting.figures.base import Drawn, Kind

FORMATS = ("pdf", "svg", "eps", "png", "tiff")
MOST_PNG_DPI = 600
SCREEN_DPI = 96


@dataclass(frozen=True)
class Export:
    """What became of one figure or table: its passport, or why it was skipped (step, sentence,
    command).
    """

    name: str
    passport: Passport | None
    step: str = ""
    reason: str = ""
    command: str = ""


def draw(study: Path, kind: Kind, width_mm: float) -> tuple[Drawn, str]:
    """The figure with its simulated mark, and what is simulated; Missing where an input is not
    there.
    """
    with style.print_style():
        drawn = kind.draw(study, width_mm)
        parts = provenance.simulated_parts(study, kind.needs)
        style.mark_simulated(drawn.figure, parts)
    return drawn, parts


def export_figure(
    study: Path, kind: Kind, out: Path, width_mm: float | None, formats: Sequence[str]
) -> Export:
    """Write one figure in every format, with data, caption and passport; at its natural width if
    none is given.
    """
    width = width_mm or kind.width
    try:
        drawn, parts = draw(study, kind, width)
    except Missing as missing:
        return Export(kind.name, None, missing.step, missing.reason, missing.command)
    files = [
        save(drawn.figure, out / f"{kind.name}.{suffix}", drawn.kind).name for suffix in formats
    ]
    tables = {
        name: frame.to_csv(index=False, float_format="%.10g") for name, frame in drawn.data.items()
    }
    for name, text in tables.items():
        files.append(f"{kind.name}.{name}.csv")
        write_text(out / files[-1], text)
    caption = drawn.caption + caption_tail(study, parts)
    files.append(f"{kind.name}.caption.txt")
    write_text(out / files[-1], f"{caption}\n\n{drawn.method}\n")
    command = (
        f"deepminer figures {kind.name} --study STUDY --out DIR --width-mm {width:g} --format"
        f" {','.join(formats)}"
    )
    passport = Passport(
        name=kind.name,
        kind="figure",
        title=kind.title,
        caption=caption,
        counts=drawn.counts,
        method=drawn.method,
        seed=drawn.seed,
        simulated=parts,
        inputs=provenance.inputs(study, kind.needs),
        data_hash=provenance.data_hash(tables),
        command=command,
        software=provenance.software(),
        files=tuple(files),
        width_mm=width,
    )
    passport.write(out)
    return Export(kind.name, passport)


def caption_tail(study: Path, parts: str) -> str:
    """What every caption and note must end with where it applies."""
    weak = (
        " Labels are image-level: every tissue patch carries its film's diagnosis."
        if provenance.image_level_labels(study)
        else ""
    )
    return weak + (f" SIMULATED: {parts}; not a result about people." if parts else "")


def export_figures(
    study: Path,
    names: Sequence[str],
    out: Path,
    width_mm: float | None,
    formats: Sequence[str],
    report: Callable[[int, int, str], None],
) -> list[Export]:
    """Write several figures into a folder, made if it is missing. "all" or no name: every figure.

    A wrong name or format is a UserError.
    """
    wanted = list(FIGURES) if not names or "all" in names else list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in FIGURES]
    if unknown:
        raise UserError(f"There is no figure {unknown[0]!r}; the figures are {', '.join(FIGURES)}.")
    strange = [name for name in formats if name not in FORMATS]
    if strange or not formats:
        raise UserError(
            f"--format has {strange[0] if strange else 'nothing'}; choose from"
            f" {', '.join(FORMATS)}, joined by commas."
        )
    folder(out)
    done = []
    for i, name in enumerate(wanted):
        done.append(export_figure(study, FIGURES[name], out, width_mm, formats))
        report(i + 1, len(wanted), "figures")
    return done


def folder(out: Path) -> Path:
    """The folder to write into, made if it is missing; UserError where it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(
            f"{out} cannot be a folder for exports ({error.strerror}); name another with --out."
        ) from error
    return out


def save(figure: Figure, path: Path, kind: str) -> Path:
    """One file:

    PDF, SVG and EPS (without transparency, which it cannot hold) as vectors without a date, so that
    equal figures are equal files; PNG and TIFF (LZW) in RGB with their resolution.
    """
    with style.print_style():
        if path.suffix == ".pdf":
            figure.savefig(
                path,
                metadata={"CreationDate": None, "Creator": "DeepMiner", "Producer": None},
                dpi=style.DPI["mixed"],
            )
        elif path.suffix == ".svg":
            figure.savefig(
                path, metadata={"Date": None, "Creator": "DeepMiner"}, dpi=style.DPI["image"]
            )
        elif path.suffix == ".eps":
            text = io.StringIO()
            with style.opaque(figure):
                figure.savefig(
                    text,
                    format="eps",
                    metadata={"Creator": "DeepMiner", "Title": path.stem},
                    dpi=style.DPI["mixed"],
                )
            path.write_text(re.sub(r"%%CreationDate:.*\n", "", text.getvalue()), encoding="latin-1")
        else:
            dpi = style.DPI[kind] if path.suffix == ".tiff" else min(style.DPI[kind], MOST_PNG_DPI)
            image = picture(figure, dpi)
            (
                image.save(path, compression="tiff_lzw", dpi=(dpi, dpi))
                if path.suffix == ".tiff"
                else image.save(path, dpi=(dpi, dpi))
            )
    return path


def picture(figure: Figure, dpi: int) -> Image.Image:
    """The figure in pixels, RGB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="raw", dpi=dpi)
    width, height = figure.canvas.get_width_height()
    scale = dpi / figure.dpi
    size = round(width * scale), round(height * scale)
    raw = buffer.getvalue()
    if len(raw) != size[0] * size[1] * 4:
        size = _size(figure, dpi, len(raw))
    return Image.frombuffer("RGBA", size, raw, "raw", "RGBA", 0, 1).convert("RGB")


def web_picture(figure: Figure, kind: str, dpi: int) -> str:
    """The figure as a data address: JPEG where it shows films, PNG where it shows lines."""
    buffer = io.BytesIO()
    with style.print_style():
        image = picture(figure, dpi)
    if kind == "line":
        image.quantize(128).save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A figure as a page shows it: its picture (data address), caption, n, method and what is
    simulated; or why there is none.
    """

    picture: str
    caption: str
    counts: dict[str, int]
    method: str
    simulated: str
    missing: tuple[str, str, str] | None = None


def preview(study: Path, name: str, width_mm: float | None) -> Preview:
    """A figure at its print size, twice as fine as a screen's pixels."""
    kind = FIGURES[name]
    try:
        drawn, parts = draw(study, kind, width_mm or kind.width)
    except Missing as missing:
        return Preview(
            picture="",
            caption="",
            counts={},
            method="",
            simulated="",
            missing=(missing.step, missing.reason, missing.command),
        )
    return Preview(
        picture=web_picture(drawn.figure, drawn.kind, 2 * SCREEN_DPI),
        caption=drawn.caption + caption_tail(study, parts),
        counts=drawn.counts,
        method=drawn.method,
        simulated=parts,
    )


def zipped(folder_: Path) -> bytes:
    """Every export of a folder, with its passports, as one ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for made in provenance.read(folder_):
            for file in (*made["files"], f"{made['name']}{provenance.SUFFIX}"):
                if (folder_ / file).is_file():
                    archive.write(folder_ / file, file)
    return buffer.getvalue()


def _size(figure: Figure, dpi: int, length: int) -> tuple[int, int]:
    """Pixels of the raw buffer: the Agg canvas truncates where we round."""
    inches = figure.get_size_inches()
    size = int(inches[0] * dpi), int(inches[1] * dpi)
    if size[0] * size[1] * 4 != length:
        raise RuntimeError(f"a buffer of {length} bytes is not {size} pixels")
    return size
