"""`deepminer verify`: whether the evidence of the reading studies holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UserError
from dashboard.commands.common import JsonOption, StudyOption, emit_result, resolve_study

if TYPE_CHECKING:
    from core.store.evidence import ChainHead, ChainVerification

verify_app = typer.Typer()
# The option of every command at whose end a head is worth keeping outside the study.
DepositOption = Annotated[
    Path | None,
    typer.Option("--deposit", help="new file for the head of the evidence, to be kept elsewhere"),
]
MAX_LISTED_FAULTS = 20


@verify_app.command("verify")
def verify_command(
    study: StudyOption = Path("."),
    head: Annotated[
        Path | None,
        typer.Option("--head", help="a head deposited earlier, to compare the evidence with"),
    ] = None,
    deposit: DepositOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the evidence of the reading studies; exit 1 names the first broken record.

    With --head it states that the deposited head matches, or exits with 1.
    """
    from core import store
    from core.store import evidence

    path = resolve_study(study)
    deposited = evidence.read_deposit(head) if head is not None else None
    with store.read(path) as con:
        result = evidence.verify_chain(con)
        contradiction = evidence.compare_with_deposit(con, deposited) if deposited else ""
    values = {
        "valid": result.valid and not contradiction,
        "records": result.records,
        "rows": result.rows,
        "removed": result.removed,
        "counts": result.counts,
        "head": result.head,
        "faults": [{**vars(f), "sentence": f.sentence()} for f in result.faults],
        "deposit": {**vars(deposited), "contradiction": contradiction} if deposited else None,
        "replaced": result.replaced,
    }
    text = _text(result)
    if deposited is not None and not contradiction:
        text += (
            f"\nThe head deposited on {deposited.made}, record {deposited.number}, matches this"
            " evidence."
        )
    emit_result("verify", path, values, as_json, text)
    if result.first_broken is not None:
        others = len(result.faults) - 1
        more = f" There are {others} further contradictions." if others else ""
        raise UserError(
            f"The evidence does not hold: {result.reason}.{more} Keep the study as it is and"
            " compare it with its backups."
        )
    if contradiction:
        raise UserError(f"The evidence is not the deposited one: {contradiction}.")
    if deposit is not None:
        deposit_evidence(path, result.head, deposit)


def check_deposit_file(file: Path | None) -> None:
    """Raise a UserError if a head could not be written to a file.

    For commands that cannot be taken back, before they act.
    """
    if file is None:
        return
    if file.exists():
        raise UserError(f"{file} exists already; name a new file for the head of the evidence.")
    if not file.parent.is_dir():
        raise UserError(f"{file.parent} is not a folder; create it, or name another file.")


def deposit_evidence(study: Path, head: ChainHead, file: Path) -> None:
    """Write a head to a file and say so on stderr."""
    from core.store import evidence

    evidence.deposit_head(study, head, file)
    typer.echo(f"Deposited the head of the evidence in {file}.", err=True)


def deposit_study_evidence(study: Path, file: Path | None) -> None:
    """Write the present head of a study to a file, if one is named."""
    from core import store
    from core.store import evidence

    if file is None:
        return
    with store.read(study) as con:
        head = evidence.chain_head(con)
    deposit_evidence(study, head, file)


def _text(result: ChainVerification) -> str:
    counts = ", ".join(f"{kind} {count:,}" for kind, count in result.counts.items())
    lines = [
        f"{result.records:,} records, compared with {result.rows:,} rows"
        + (f" ({counts})." if counts else "."),
        f"Head: {result.head.sentence()}",
    ]
    if result.removed:
        lines.append(f"{result.removed:,} orders or answers were removed by a recorded withdrawal.")
    lines += [f"BROKEN {fault.sentence()}" for fault in result.faults[:MAX_LISTED_FAULTS]]
    lines += [
        f"replaced by the restore of {replaced.restored_at:%Y-%m-%d %H:%M:%S} UTC: record"
        f" {replaced.record.number} of {replaced.record.made:%Y-%m-%d %H:%M:%S} UTC"
        f" ({replaced.record.kind}), {replaced.record.subject}"
        for replaced in result.replaced
    ]
    return "\n".join(lines)
