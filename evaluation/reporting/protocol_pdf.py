"""The frozen protocol as a PDF, for the files of the team, an ethics board or a registry.

Set by matplotlib, which every installation has: WeasyPrint is optional, and a protocol must be
printable everywhere.
"""

from __future__ import annotations

import io
from textwrap import wrap

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from core.store.reading.protocol_table import Protocol
from evaluation.reporting.figures import style
from evaluation.reporting.tables.reading_study import frozen_protocol_table

EXPLANATION = (
    "The hash covers this protocol and the sealed answer key: the cases, their texts, their order"
    " and their truth. Every answer, export and result of the study carries it. Comparing it with"
    " this page shows whether the analysis is the planned one."
)
EVIDENCE_EXPLANATION = (
    "The evidence record was the last one of the study when this page was printed. It depends on"
    " every record before it: on freezing, orders, answers and looks at results. `deepminer verify"
    " --head` compares the study with a head that was deposited in a file; with this page, record"
    " and hash are compared by eye."
)
SIMULATED_NOTICE = (
    "SIMULATED: the images or labels of this study are synthetic; it is not a study of people."
)
# A4 in millimetres, its margin, and the column of values.
PAGE_WIDTH, PAGE_HEIGHT = 210.0, 297.0
MARGIN = 18.0
VALUE_X = 66.0
LINE_HEIGHT = 4.4
# Characters that fit on a line of text, and in the columns of names and values, at 9 points in the
# widest of the font families.
TEXT_CHARACTERS = 110
NAME_CHARACTERS = 24
VALUE_CHARACTERS = 74


def protocol_pdf(protocol: Protocol, simulated: bool, evidence: str) -> bytes:
    """Return the PDF of a frozen protocol.

    simulated: images or labels of the study are synthetic. evidence: head of the study's evidence
    chain as a sentence. ValueError if the protocol is not frozen (has no hash).
    """
    if not protocol.hash:
        raise ValueError("only a frozen protocol has a hash to print")
    title = f"Protocol: {protocol.protocol}, version {protocol.version}"
    file = io.BytesIO()
    # No date: the same protocol and evidence always give the same file.
    metadata = {"Title": title, "Creator": "DeepMiner", "CreationDate": None}
    with style.print_style(), PdfPages(file, metadata=metadata) as pdf:
        page = _PageWriter(pdf)
        page.write([(MARGIN, line) for line in wrap(title, 60)], size=16, weight="bold")
        if simulated:
            page.write_text(SIMULATED_NOTICE, weight="bold")
        page.write_text(f"SHA-256 {protocol.hash}", weight="bold")
        page.write_text(EXPLANATION)
        page.write_text(f"{evidence}.", weight="bold")
        page.write_text(EVIDENCE_EXPLANATION)
        table = frozen_protocol_table(protocol)
        for name, value in table.rows:
            page.write_row(str(name), str(value))
        page.write_text(table.note)
        page.finish()
    return file.getvalue()


class _PageWriter:
    """Writes lines from the top of A4 pages downwards, and begins a new page when one is full."""

    def __init__(self, pdf: PdfPages) -> None:
        self._pdf = pdf
        self._number = 0
        self._begin()

    def _begin(self) -> None:
        self._number += 1
        self._y = PAGE_HEIGHT - MARGIN
        self._figure = Figure(figsize=(PAGE_WIDTH * style.MM, PAGE_HEIGHT * style.MM))
        self._draw(PAGE_WIDTH / 2, MARGIN / 2, str(self._number), fontsize=8, color=style.MUTED)

    def finish(self) -> None:
        """Write the last page."""
        self._pdf.savefig(self._figure)

    def _draw(self, x: float, y: float, text: str, **appearance: object) -> None:
        # parse_math=False: a dollar sign in a protocol is a dollar sign.
        self._figure.text(
            x / PAGE_WIDTH,
            y / PAGE_HEIGHT,
            text,
            va="top",
            parse_math=False,
            **appearance,  # type: ignore[arg-type]
        )

    def write(
        self, lines: list[tuple[float, str]], size: float = 9, weight: str = "normal"
    ) -> None:
        """Write lines (x, text) one below the other, and leave a gap."""
        step = LINE_HEIGHT * size / 9
        for x, text in lines:
            if self._y - step < MARGIN:
                self.finish()
                self._begin()
            self._draw(x, self._y, text, fontsize=size, fontweight=weight)
            self._y -= step
        self._y -= LINE_HEIGHT / 3

    def write_text(self, text: str, weight: str = "normal") -> None:
        """Write a paragraph across the page."""
        self.write([(MARGIN, line) for line in wrap(text, TEXT_CHARACTERS)], weight=weight)

    def write_row(self, name: str, value: str) -> None:
        """Write a row of the table: name and value, each on as many lines as it needs."""
        names, values = wrap(name, NAME_CHARACTERS), wrap(value, VALUE_CHARACTERS)
        height = LINE_HEIGHT * max(len(names), len(values))
        # A row that fits on one page is not divided between two.
        if self._y - height < MARGIN and height < PAGE_HEIGHT - 2 * MARGIN:
            self.finish()
            self._begin()
        top = self._y
        self.write([(MARGIN, line) for line in names], weight="bold")
        after_names, self._y = self._y, top
        self.write([(VALUE_X, line) for line in values])
        self._y = min(self._y, after_names)
