"""What the commands about data and a study as a whole print, and what they pass on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.settings import Settings
from dashboard.commands import study as study_commands
from support.command_stub import STUDY, Commands

INGESTED = {
    "source": "s1",
    "patients": 3,
    "mammograms": 12,
    "inverted_count": 5,
    "already_ingested": False,
    "replaced": 0,
    "problems": [],
}

PROBLEM = {"item": "C1", "cause": "It is dark.", "action": "look"}


def ingestion(commands: Commands, **changes: Any) -> None:
    commands.replace(
        core__settings__load_settings=Settings(),
        core__settings__load_image_noun="mammogram",
        core__pipeline__ingest__ingest=SimpleNamespace(**(INGESTED | changes)),
        core__store__dataset_table__dataset_counts={"patients": 41},
        core__sources__dicom_folder__pseudonyms__check_key_location=None,
    )


ADDED = "Added 3 patients and 12 mammograms (5 of inverted polarity were corrected); the study"


@pytest.mark.parametrize(
    ("changes", "options", "text"),
    [
        ({}, (), f"{ADDED} contains 41 patients."),
        (
            {"already_ingested": True},
            (),
            "This source is in the study already; nothing was added.",
        ),
        (
            {"replaced": 2},
            (),
            f"{ADDED} contains 41 patients. 2 of them replace earlier content, and what rested on"
            " it is out of date.",
        ),
        (
            {"problems": [PROBLEM, {}, {}]},
            ("--image-labels",),
            f"{ADDED} contains 41 patients. 3 problems, such as: C1: It is dark. Labels are"
            " image-level, and so are all results derived from them.",
        ),
    ],
)
def test_text_of_an_ingestion(
    commands: Commands, changes: dict[str, Any], options: tuple[str, ...], text: str
) -> None:
    ingestion(commands, **changes)
    arguments = ("ingest", "manifest", "t.csv", *options)
    assert commands.text(*arguments) == f"{text} Next: deepminer patches"


def test_options_of_an_ingestion(commands: Commands) -> None:
    ingestion(commands)
    result = commands.result("ingest", "phantom")
    assert result["totals"] == {"patients": 41}
    source = result["source"]
    assert (source["turned"], source["answered"]) == (5, False)
    assert not {"inverted_count", "already_ingested"} & set(source)
    # Four patches fit across a phantom mammogram.
    common = {"skip_bad": False, "workers": 2, "shard": (1, 1)}
    side = Settings().images.input_side
    phantom = {"patients": 200, "seed": 1, "width": 4 * side}
    arguments = (STUDY, Settings(), "phantom", None, "report of ingest phantom")
    assert commands.called("ingest") == [(arguments, phantom | common)]
    assert not commands.called("check_key_location")
    commands.text(
        *("ingest", "dicom", "films", "--images", "i", "--truth", "t", "--pseudonym-key", "k"),
        *("--pathology-from-birads", "5=MALIGNANT", "--image-labels", "--skip-bad"),
        *("--workers", "3", "--shard", "2/8", "--patients", "9", "--seed", "4"),
    )
    assert commands.called("check_key_location") == [((Path("k"), STUDY), {})]
    [(arguments, options)] = commands.called("ingest")
    assert arguments[2:] == ("dicom", Path("films"), "report of ingest dicom")
    assert options == {
        "images": Path("i"),
        "truth": Path("t"),
        "pseudonym_key": Path("k"),
        "pathology_from_birads": "5=MALIGNANT",
        "image_labels": True,
        "skip_bad": True,
        "workers": 3,
        "shard": (2, 8),
    }


@pytest.mark.parametrize("problems", [[], [PROBLEM]])
def test_check_of_a_source(commands: Commands, problems: list[dict[str, str]]) -> None:
    ingestion(commands)
    checked = SimpleNamespace(patients=3, mammograms=12, findings=7, problems=problems)
    commands.replace_at("core.pipeline.ingestion.source_check.check_source", checked)
    arguments = ("ingest", "manifest", "t.csv", "--check", "--sheet", "s.png", "--workers", "3")
    lines = ["C1: It is dark. (look)"] if problems else []
    lines.append(
        "3 patients, 12 mammograms and 7 findings can be imported;"
        f" {len(problems)} problems. Nothing was written."
    )
    if problems:
        # The exit status is that of the problems.
        with pytest.raises(AssertionError, match="can be imported"):
            commands.text(*arguments)
    else:
        assert commands.text(*arguments).splitlines() == lines
        assert commands.result(*arguments) == {"check": vars(checked)}
    assert not commands.called("ingest")
    [(arguments, options)] = commands.called("check_source")
    assert arguments == (STUDY, Settings(), "manifest", Path("t.csv"), "report of check manifest")
    assert options == {"workers": 3, "sheet": Path("s.png")}


def test_download(commands: Commands) -> None:
    module = "core.sources.public_sets.idc_download"
    result = SimpleNamespace(series=7, patients=3, fetched=11, present=2)
    commands.replace_at(f"{module}.ImagingDataCommons", "the commons")
    commands.replace_at(f"{module}.download_collection", result)
    command = ("download", "cbis-ddsm", "--out", "films", "--patients", "3")
    assert commands.text(*command) == (
        "films holds 7 series of 3 patients (11 files copied, 2 were there). Next: put the tables"
        " *_case_description_*_set.csv of CBIS-DDSM beside them (docs/reference/data_sets.md), then"
        " deepminer ingest cbis-ddsm films"
    )
    arguments = (Path("films"), "the commons", "report of download", 3)
    assert commands.called("download_collection") == [(arguments, {})]
    assert commands.result(*command, study=None) == vars(result)
    with pytest.raises(UserError, match="no download of 'ddsm'"):
        commands.text("download", "ddsm")


def test_demo(commands: Commands, tmp_path: Path) -> None:
    commands.replace(
        evaluation__demo__build__build_demo=tmp_path,
        evaluation__queries__study_status__study_status={"patients": 4},
    )
    result = commands.result("demo", str(tmp_path), study=tmp_path)
    assert 0 <= result.pop("seconds") < 60
    assert result == {"simulated_experts": True, "patients": 4}
    [(arguments, options)] = commands.called("build_demo")
    assert options.pop("progress") is not None
    assert arguments == (tmp_path,)
    assert options == {"quick": False, "experts": True, "shortcut": False}
    text = commands.text("demo", str(tmp_path), "--quick", "--shortcut", "--no-simulated-experts")
    assert text.startswith(f"The demonstration study is in {tmp_path} (")
    assert text.endswith(f" s). Next: deepminer serve --study {tmp_path}")
    [(_, options)] = commands.called("build_demo")
    assert (options["quick"], options["experts"], options["shortcut"]) == (True, False, True)
    [(arguments, _)] = commands.called("study_status")
    assert arguments == (tmp_path,)
    options = ("demo", str(tmp_path), "--no-simulated-experts")
    assert commands.result(*options, study=tmp_path)["simulated_experts"] is False


def test_doctor_and_backup(commands: Commands, tmp_path: Path) -> None:
    checks = [
        SimpleNamespace(check="disk", finding="80 GB free", good=True),
        SimpleNamespace(check="films", finding="2 missing", good=False),
        SimpleNamespace(check="store", finding="locked", good=False),
    ]
    commands.replace(core__study_checks__check_study=checks)
    with pytest.raises(UserError, match="needs attention: films: 2 missing"):
        commands.text("doctor")
    commands.replace(core__study_checks__check_study=checks[:1])
    assert commands.text("doctor") == "ok    disk: 80 GB free"
    file = tmp_path / "b.duckdb"
    file.write_bytes(bytes(321))
    commands.replace_at("core.store.create_backup", 0)
    text = f"Copied the store of {STUDY} to {file}."
    assert commands.text("backup", str(file)) == text
    assert commands.called("create_backup") == [((STUDY, file), {})]
    assert commands.result("backup", str(file)) == {"file": str(file), "bytes": 321, "keys": 0}
    commands.replace_at("core.store.create_backup", 2)
    assert commands.text("backup", str(file)) == (
        f"{text} The keys of its site bundles are in {file}.keys; keep both together."
    )


RESTORED = {
    "annotations": 5,
    "answers": 17,
    "last": datetime(2026, 2, 3, 4, 5, 6),
    "lost_annotations": 3,
    "lost_answers": 8,
    "lost_records": 0,
    "keys": 0,
    "kept": Path("/x/replaced.duckdb"),
}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            ", the last of 2026-02-03 04:05:06 UTC. The replaced store contained 3 more annotations"
            " and 8 more answers; it is kept as replaced.duckdb.",
        ),
        (
            {"last": None, "lost_records": 4, "keys": 2},
            ". The replaced store contained 3 more annotations and 8 more answers, and 4 records of"
            " its evidence are lost with it (`deepminer verify` lists them); it is kept as"
            " replaced.duckdb. Keys of site bundles that were missing are here again: 2.",
        ),
        (
            {"lost_annotations": None, "lost_answers": None},
            ", the last of 2026-02-03 04:05:06 UTC. The replaced store cannot be opened, so answers"
            " after that are lost; it is kept as replaced.duckdb.",
        ),
    ],
)
def test_restore(commands: Commands, changes: dict[str, Any], text: str) -> None:
    restored = RESTORED | changes
    commands.replace_at("core.store.restore_backup", SimpleNamespace(**restored))
    arguments = ("restore", "b.duckdb", "--study", str(STUDY))
    assert commands.text(*arguments) == (f"5 annotations and 17 answers are restored{text}")
    assert commands.called("restore_backup") == [((STUDY, Path("b.duckdb")), {})]
    result = commands.result(*arguments)
    assert result["kept"] == "replaced.duckdb" and result["answers"] == 17


def invitation(commands: Commands, titles: str, served: bool) -> None:
    commands.replace(
        core__store__participant_table__new_invitation_token="token",
        core__store__participant_table__hash_token="hash",
        core__store__participant_table__next_free_code="R4",
        core__store__participant_table__invite_participant=None,
        core__store__labels__assignment_table__assigned_titles=titles,
        core__store__reading__bundle_table__check_reader_seat=None,
        dashboard__server__links__server_address="http://here:1",
        dashboard__server__links__is_served=served,
    )


def test_invitations(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    invitation(commands, "", True)
    link = "http://here:1/enter?token=token"
    assert commands.text("invite", "reader") == f"R4 (reader); the link is shown only once: {link}"
    con = "write connection"
    assert commands.called("next_free_code") == [((con, "reader"), {})]
    # A seat of a bundle is checked before the reader is invited.
    assert commands.called("check_reader_seat") == [((con, "R4"), {})]
    assert commands.called("hash_token") == [(("token",), {})]
    assert commands.called("invite_participant") == [((con, "R4", "reader", "hash"), {})]
    assert commands.called("assigned_titles") == [((con, "R4"), {})]
    invitation(commands, "vgg16, last", False)
    options = ("--name", "A7", "--base", "https://x.org/")
    text = commands.text("invite", "annotator", *options)
    assert text == (
        "A7 (annotator), names the units of vgg16, last; the link is shown only once:"
        " https://x.org/enter?token=token"
    )
    assert not commands.called("next_free_code") and not commands.called("check_reader_seat")
    assert commands.result("invite", "annotator", *options) == {
        "code": "A7",
        "role": "annotator",
        "link": "https://x.org/enter?token=token",
    }


@pytest.mark.parametrize(
    ("served", "base", "warns"), [(False, (), True), (True, (), False), (False, ("x",), False)]
)
def test_invitation_without_a_server(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, served: bool, base: Any, warns: bool
) -> None:
    invitation(commands, "", served)
    warnings: list[tuple[str, bool]] = []
    monkeypatch.setattr("typer.echo", lambda text, err: warnings.append((text, err)))
    study_commands.invite_command("team", STUDY, None, *base)
    expected = (
        "No server runs for this study. The link is for http://127.0.0.1:8501, the address of"
        " `deepminer serve`; for another port or host, name the address with --base."
    )
    assert warnings == ([(expected, True)] if warns else [])


def test_status_text_of_numbers() -> None:
    shown = study_commands._status_text
    assert shown(None, None) == "none yet" and shown(12345, None) == "12,345"
    values = {"normal": 0.25, "malignant": 1200, "other_kind": None}
    text = "normal .250, malignant 1,200, other kind –"
    assert shown(values, MAMMOGRAPHY) == shown(values, None) == text
    run = study_commands._run_text
    row = {"id": "evaluate-1", "kind": "evaluate", "auc": {"malignant": 0.9, "benign": 0.6}}
    assert run(row, MAMMOGRAPHY) == "run evaluate-1: patch AUC malignant, test, .900"
    assert run(row | {"auc": None}, MAMMOGRAPHY) == "run evaluate-1"
    assert run(row | {"kind": "dissect"}, None) == "run evaluate-1"
