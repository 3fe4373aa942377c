"""`deepminer reading`: the blinded study from design to score, and the replay of somebody else's."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from core import store
from core.errors import UserError
from core.store import reading_table
from dashboard.commands.common import JsonOption, StudyOption, answer, studied
from evaluation import replay as replay_module
from evaluation.intervals import decimal, percent
from evaluation.reading_study import planned_power, preset, site_bundles, workflow
from evaluation.reading_study.design import ARMS, RULES, designed

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "The blinded reading study: design, lint, freeze, close, score; replay of a published one."
    ),
)
ProtocolOption = Annotated[
    str | None, typer.Option("--protocol", help="the study's name; the newest if not given")
]


def _who() -> str:
    """Who is at the keyboard, for the log."""
    return getpass.getuser()


@app.command()
def create(
    study: StudyOption = Path("."),
    name: Annotated[
        str, typer.Option("--protocol", help="name of the reading study")
    ] = "Reading study",
    design: Annotated[
        str, typer.Option("--preset", help='"Recommended" or "DeepMiner 2021"')
    ] = "Recommended",
    readers: Annotated[int | None, typer.Option(help="planned readers")] = None,
    cases_per_class: Annotated[
        int | None, typer.Option(help="cases of each class; as many as there are if not given")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, holdout or test")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of cases and orders")] = None,
    arms: Annotated[
        str | None,
        typer.Option(help=f"arms with commas between, the primary one first: {', '.join(ARMS)}"),
    ] = None,
    truth_rule: Annotated[
        str | None, typer.Option(help=f"{', '.join(RULES)}; the preset's if not given")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help=(
                "any other setting of the design as NAME=VALUE, such as side=two-sided; may be"
                " repeated"
            ),
        ),
    ] = None,
    tell_prevalence: Annotated[
        bool, typer.Option("--tell-prevalence", help="tell readers the share of malignant cases")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Design a version: choose cases and their texts. Nothing is fixed before freezing."""
    path = studied(study)
    given: dict[str, Any] = {
        "readers": readers,
        "cases_per_class": cases_per_class,
        "split": split,
        "seed": seed,
        "truth_rule": truth_rule,
        "prevalence_told": tell_prevalence or None,
    }
    given |= designed(settings or [])
    if arms is not None:
        given["arms"] = tuple(arm.strip() for arm in arms.split(","))
    chosen = preset(design, name=name, **{k: v for k, v in given.items() if v is not None})
    made = workflow.create(path, name, chosen, _who())
    # What is tested is the primary arm; the other arms' texts do not add to its power.
    primary = int((made.cases["arm"] == chosen.arms[0]).sum())
    power, needed = planned_power(chosen, primary)
    result = {
        "protocol": name,
        "version": made.version,
        "cases": len(made.cases),
        "primary_cases": primary,
        "flow": made.flow,
        "power": power,
        "sample_size": needed,
    }
    text = (
        f"{name}, version {made.version}: {len(made.cases)} cases, {primary} of them in the primary"
        f" arm. {made.flow.sentence()}"
    )
    text += (
        f" Power {decimal(power.power)} for {percent(chosen.expected_share, 0)} right. Next:"
        " deepminer reading lint"
    )
    answer("reading create", path, result, as_json, text)


@app.command()
def lint(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    reviewed: Annotated[
        str,
        typer.Option(help="what you found when you looked at the cases whose truth rules differ"),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Look for anything that gives the truth away or makes the result weak."""
    path = studied(study)
    found, findings = workflow.run_lint(path, protocol, _who(), reviewed)
    lines = [f.sentence() for f in findings]
    stopped = workflow.stops(findings)
    answer(
        "reading lint",
        path,
        {
            "protocol": found.protocol,
            "version": found.version,
            "stops": stopped,
            "lint": [f.as_dict() for f in findings],
        },
        as_json,
        "\n".join(lines)
        + (
            "\nErrors stop this study: change the design."
            if stopped
            else "\nNext: deepminer reading freeze"
        ),
    )


@app.command()
def freeze(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "FIELD=why the warnings about this field are accepted; every field with a warning"
                " needs one"
            )
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze the linted version: from now on readers can read it and nobody can change it."""
    path = studied(study)
    pairs = [text.partition("=") for text in reason or []]
    if any(not mark for _, mark, _ in pairs):
        raise UserError(
            "--reason takes FIELD=why, such as --reason 'texts=one label dominates by design'."
        )
    fields = [field.strip() for field, _, _ in pairs]
    twice = next((field for field in fields if fields.count(field) > 1), None)
    if twice is not None:
        raise UserError(
            f"--reason is given twice for {twice}; write one reason for all its warnings, or freeze"
            " on the Reading study page, which asks for each."
        )
    found = workflow.freeze(
        path, protocol, _who(), {field.strip(): why.strip() for field, _, why in pairs}
    )
    answer(
        "reading freeze",
        path,
        {"protocol": found.protocol, "version": found.version, "hash": found.hash},
        as_json,
        f"{found.protocol}, version {found.version}, is frozen: {found.hash}",
    )


@app.command()
def close(
    study: StudyOption = Path("."), protocol: ProtocolOption = None, as_json: JsonOption = False
) -> None:
    """Close and unblind: ends answering and makes results visible. Logged."""
    path = studied(study)
    found = workflow.close(path, protocol, _who())
    answer(
        "reading close",
        path,
        {"protocol": found.protocol, "version": found.version},
        as_json,
        f"{found.protocol}, version {found.version}, is closed. Next: deepminer reading score",
    )


@app.command()
def score(
    study: StudyOption = Path("."), protocol: ProtocolOption = None, as_json: JsonOption = False
) -> None:
    """Results of a closed study, the prespecified primary analysis first."""
    path = studied(study)
    found, result = workflow.scored(path, protocol)
    answer(
        "reading score",
        path,
        {
            "protocol": found.protocol,
            "version": found.version,
            "hash": found.hash,
            "score": result,
            "paragraph": result.paragraph(),
        },
        as_json,
        result.paragraph(),
    )


@app.command()
def status(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """Stages and progress of every version; never results."""
    path = studied(study)
    with store.read(path) as con:
        found: list[dict[str, Any]] = [
            {
                "protocol": p.protocol,
                "version": p.version,
                "state": p.state,
                "readers": reading_table.progress(con, p.protocol, p.version).to_dict("records"),
            }
            for p in reading_table.protocols(con)
        ]
    lines = [
        f"{p['protocol']}, version {p['version']}: {p['state']},"
        f" {sum(r['done'] for r in p['readers'])} answers"
        for p in found
    ]
    answer(
        "reading status",
        path,
        {"protocols": found},
        as_json,
        "\n".join(lines) or "No reading study yet.",
    )


@app.command()
def bundle(
    out: Annotated[Path, typer.Option(help="new folder for the bundle")],
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a study folder for another site: texts and the protocol's hash, no truth, scores or
    names, and images only where an arm shows them. `deepminer serve --study OUT` serves it.
    """
    path = studied(study)
    made = site_bundles.make(path, out.resolve(), protocol, _who())
    text = (
        f"Bundle {made.id} in {out}: {made.cases} texts under {made.hash[:12]}. At the other site:"
        " deepminer serve, invite reader, then reading export-answers FILE"
    )
    answer("reading bundle", path, vars(made), as_json, text)


@app.command(name="export-answers")
def export_answers(
    file: Annotated[Path, typer.Argument(help="new file, .json")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """In a bundle: write all answers into one sealed file to send home."""
    path = studied(study)
    made = site_bundles.export_answers(path, file)
    answer(
        "reading export-answers",
        path,
        {"file": str(file), "readers": made},
        as_json,
        f"{file}: {sum(made.values())} answers of {len(made)}"
        f" {'reader' if len(made) == 1 else 'readers'}. Send it home.",
    )


@app.command(name="import-answers")
def import_answers(
    file: Annotated[Path, typer.Argument(help="file made by export-answers")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """At home: add a bundle's answers, once.

    Refused when they do not fit the protocol's hash or were edited.
    """
    path = studied(study)
    made = site_bundles.import_answers(path, file, _who())
    lines = [f"{code}: {count} answers" for code, count in made.readers.items()]
    answer(
        "reading import-answers",
        path,
        vars(made),
        as_json,
        f"From bundle {made.id} for {made.protocol}, version {made.version}:\n" + "\n".join(lines),
    )


@app.command()
def replay(
    cases: Annotated[Path, typer.Option(help="CSV shown to the reader: Case #, explanation")],
    responses: Annotated[Path, typer.Option(help="CSV with the reader's answers")],
    key: Annotated[
        Path, typer.Option(help="CSV with image names, reports, network scores and diagnosis")
    ],
    labels: Annotated[Path | None, typer.Option(help="JSON of the units' labels")] = None,
    as_json: JsonOption = False,
) -> None:
    """Lint and score somebody else's reading study in the published CSV form."""
    result = replay_module.replay(cases, responses, key, labels)
    answer("reading replay", None, result.as_dict(), as_json, "\n".join(result.sentences()))
