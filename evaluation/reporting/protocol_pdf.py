"""The frozen protocol as a PDF: what a team files, or sends to an ethics board or a registry,
before anybody reads.
"""

from __future__ import annotations

import io

from core.store.reading_table import Protocol
from evaluation.reporting.pdf_writer import write_pdf
from evaluation.reporting.report import Grid, Heading, Paragraph
from evaluation.reporting.tables.reading_study import fixed_table

ABOUT = (
    "The hash covers this protocol and the sealed answer key: the cases, their texts, their order"
    " and their truth. Every answer, export and result of the study carries it. Whoever holds this"
    " page can tell later whether what was analysed is what was planned."
)


def protocol_pdf(protocol: Protocol, simulated: bool) -> bytes:
    """The file's bytes.

    The protocol must be frozen (it has a hash). simulated: what it shows is not of real patients
    and experts.
    """
    if not protocol.hash:
        raise ValueError("only a frozen protocol has a hash to print")
    blocks: list[Heading | Paragraph | Grid] = [
        Heading(f"Protocol: {protocol.protocol}, version {protocol.version}")
    ]
    if simulated:
        blocks.append(
            Paragraph(
                "SIMULATED: the images or labels of this study are synthetic; it is no study of"
                " people.",
                strong=True,
            )
        )
    blocks += [
        Paragraph(f"SHA-256 {protocol.hash}", strong=True),
        Paragraph(ABOUT),
        Grid("As frozen", fixed_table(protocol)),
    ]
    file = io.BytesIO()
    write_pdf(list(blocks), file)
    return file.getvalue()
