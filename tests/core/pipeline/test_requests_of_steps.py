"""What an import of a checkpoint and an ingestion ask for and store, without images."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.pipeline import import_checkpoint, ingest
from core.pipeline.ingestion import request as requests
from core.pipeline.ingestion.request import SourceRequest
from core.settings import Settings
from core.sources.records import Problem
from support.array_patches import no_progress

STUDY = Path("study")


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of the calls that an import makes, and its run."""
    asked: dict[str, Any] = {}
    run = SimpleNamespace(folder=tmp_path, manifest={}, name="train-1")
    network = SimpleNamespace(
        checkpoint_state=lambda: {"a": torch.zeros(1)},
        mean=torch.tensor([123.675, 116.28]), std=torch.tensor([[58.395]]),
    )  # fmt: skip

    def keep(name: str, result: Any) -> Any:
        return lambda *given, **named: asked.update({name: (*given, named)}) or result

    module = import_checkpoint
    monkeypatch.setattr(module.runs, "file_hash", lambda file: f"hash of {file.name}")
    monkeypatch.setattr(module.networks, "read_state", keep("state", "weights"))
    monkeypatch.setattr(module, "_patches_at_published_side", keep("patches", "patches-1"))
    monkeypatch.setattr(module.lineage, "check_named_classes", keep("named", None))
    monkeypatch.setattr(module.lineage, "run_classes", keep("classes", MAMMOGRAPHY))
    monkeypatch.setattr(module, "network_request", keep("request", {"input_side": 224}))
    monkeypatch.setattr(module.networks, "build", keep("build", network))
    monkeypatch.setattr(module, "check_input_side", keep("side", None))
    monkeypatch.setattr(module.checkpoints, "load_state", keep("load", None))
    monkeypatch.setattr(module.runs, "create_run", keep("create", nullcontext(run)))
    return asked | {"asked": asked, "run": run, "network": network}


@pytest.mark.parametrize(
    ("arch", "pool", "training"),
    [
        ("small", None, {"pool": "global", "units": 24}),
        ("resnet152", None, {"pool": "top_left_7"}),
        ("resnet152", "global", {"pool": "global"}),
    ],
)
def test_request_of_an_import(
    imported: dict[str, Any], tmp_path: Path, arch: str, pool: str | None, training: dict
) -> None:
    asked, run, network = (imported[name] for name in ("asked", "run", "network"))
    settings = Settings().with_changes("training", units=24)
    file = tmp_path / "best.pth"
    file.touch()
    result = import_checkpoint.run_import(
        STUDY, settings, file, arch, no_progress, classes=3, patches="p", pool=pool
    )
    assert (result.run, result.created) == ("train-1", True)
    weights = {"architecture": arch, "weights": "best.pth"} | training
    request = {"imported": True, "training": weights, "classes": 3, "input_side": 224}
    version = import_checkpoint._VERSION
    assert asked["create"] == (
        *(STUDY, "train", version, request, ["patches-1"], "hash of best.pth", {}),
    )
    assert asked["patches"] == (STUDY, settings, arch, no_progress, "p", {})
    assert asked["named"] == (STUDY, "patches-1", settings.class_definition, {})
    assert asked["request"] == (STUDY, settings, arch, "patches-1", {})
    build = {"units": 24, "pool": training["pool"], "channels": 1}
    assert asked["build"] == (arch, 3, build) and asked["side"] == (network, 224, {})
    assert asked["load"] == (network, "weights", file, {}) and asked["state"] == (file, {})
    assert run.manifest == {
        "weights": import_checkpoint._WEIGHTS_FILE, "architecture": arch,
        "checkpoint": f"hash of {import_checkpoint._WEIGHTS_FILE}", "processes": 1,
        "auxiliary": [],
        "imported": {
            "file": "best.pth", "sha256": "hash of best.pth", "pool": training["pool"],
            # Published as .485, .456 and .229 of white.
            "input_side": 224, "mean": [0.485, 0.456], "deviation": [0.229],
        },
    }  # fmt: skip
    assert (tmp_path / import_checkpoint._WEIGHTS_FILE).is_file()
    with pytest.raises(UserError, match=r"--classes is 2, but the patches of patches-1 have 3"):
        import_checkpoint.run_import(STUDY, settings, file, arch, no_progress, classes=2)


def test_patches_at_the_side_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made where only their side is missing."""
    module = import_checkpoint
    state: dict[str, Any] = {"side": 64, "labels": "own", "same": True}
    made: list[Any] = []
    monkeypatch.setattr(module, "patches_of_architecture", lambda study, arch, run: run or "p1")
    monkeypatch.setattr(module, "load_run_settings", lambda *given: {"input_side": state["side"]})
    monkeypatch.setattr(module.store, "read", nullcontext)
    monkeypatch.setattr(
        module.run_table, "load_run", lambda *_: {"manifest": {"labels": state["labels"]}}
    )
    monkeypatch.setattr(
        module.run_table,
        "is_same_patches",
        lambda con, *runs: runs == ("p2", "p1") and state["same"],
    )

    def extract(*given: Any, input_side: int) -> Any:
        made.append((*given, input_side))
        return SimpleNamespace(run="p2")

    monkeypatch.setattr(module, "run_patch_extraction", extract)
    settings = Settings()

    def choose(arch: str, patches: str | None = None) -> str:
        return module._patches_at_published_side(STUDY, settings, arch, no_progress, patches)

    assert choose("small") == "p1" and choose("inception_v3", "p7") == "p7" and made == []
    assert choose("inception_v3") == "p2"
    assert made == [(STUDY, settings, no_progress, 299)]
    state["side"] = 299
    assert choose("inception_v3") == "p1" and len(made) == 1
    state.update(side=64, same=False)
    message = "inception_v3 was published for patches of 299 px, and p1 has other ones"
    with pytest.raises(UserError, match=message):
        choose("inception_v3")
    state.update(labels="published", same=True)
    with pytest.raises(UserError, match=message):
        choose("inception_v3")
    assert len(made) == 2


def source(path: Path | None = None, **changes: Any) -> SourceRequest:
    fields: dict[str, Any] = {
        "kind": "manifest", "path": path, "options": {}, "shard": (1, 1), "input_side": 64,
    }  # fmt: skip
    return SourceRequest(**(fields | changes))


def test_sources_that_cannot_be_read_have_no_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a")
    assert len(source(table).table_hash()) == 64 and source(None).table_hash() == ""

    def fail(*_: object) -> None:
        raise OSError(5, "damaged")

    monkeypatch.setattr(requests.hashlib, "file_digest", fail)
    assert source(table).table_hash() == ""


def test_classes_of_the_images_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"mammograms": 0}
    other = SimpleNamespace(names=("normal", "lesion"))
    monkeypatch.setattr(requests.store, "read", nullcontext)
    monkeypatch.setattr(requests.dataset_table, "dataset_counts", lambda con: counts)
    monkeypatch.setattr(requests.dataset_table, "load_classes", lambda con: other)
    requests.check_study_classes(STUDY, Settings())
    counts["mammograms"] = 1
    named = "names the classes normal, benign, malignant, but the images were ingested with normal"
    with pytest.raises(UserError, match=f"{named}, lesion; restore"):
        requests.check_study_classes(STUDY, Settings())
    other.names = MAMMOGRAPHY.names
    requests.check_study_classes(STUDY, Settings())


@pytest.fixture
def waiting_for(monkeypatch: pytest.MonkeyPatch) -> Any:
    """List the patients A to E of a source; of C and D the study has an earlier state."""
    stored: dict[str, Any] = {
        "stamps": {"B": "s-B", "C": "old", "D": "old"}, "patients": ["B", "C", "Z"],
        "sources": ["x"],
    }  # fmt: skip
    tasks = [SimpleNamespace(patient=name) for name in "ABCDE"]
    problem = Problem("t", "cause", "action")
    module: Any = SimpleNamespace(
        list_tasks=lambda path, skip_bad, **options: (tasks if options else [], [problem])
    )
    monkeypatch.setattr(ingest, "task_stamp", lambda module, task: f"s-{task.patient}")
    monkeypatch.setattr(ingest.store, "read", nullcontext)
    table = ingest.dataset_table
    monkeypatch.setattr(table, "load_stamps", lambda con, name: stored["stamps"])
    frame = pd.DataFrame
    monkeypatch.setattr(
        table, "load_patients", lambda con: frame({"patient_id": stored["patients"]})
    )
    monkeypatch.setattr(table, "load_sources", lambda con: frame({"source_id": stored["sources"]}))

    def find(options: dict[str, Any], **changes: Any) -> Any:
        request = source(options=options, **changes)
        return ingest._list_waiting(STUDY, module, request, skip_bad=True)

    return find, stored


def names(waiting: Any) -> str:
    return "".join(task.patient for task in waiting.tasks)


def test_patients_that_wait(waiting_for: Any) -> None:
    find, stored = waiting_for
    waiting = find({"a": 1})
    # B is as it was; D was withdrawn from the study and comes as a new patient.
    assert names(waiting) == "ACDE" and waiting.replaced == {"C"}
    assert waiting.stamps == {name: f"s-{name}" for name in "ABCDE"}
    assert waiting.problems == [Problem("t", "cause", "action")]
    part = find({"a": 1}, shard=(2, 2))
    assert names(part) == "D" and part.stamps == {"B": "s-B", "D": "s-D"}
    stored["stamps"] = {}
    assert names(find({"a": 1})) == "ABCDE" and find({"a": 1}).replaced == frozenset()
    # A source from before stamps is unchanged as a whole.
    stored["sources"] = [source(options={"a": 1}).source_id("")]
    assert names(find({"a": 1})) == "ADE" and find({"a": 1}).replaced == frozenset()
    first = r"The first problem: t: cause$"
    with pytest.raises(UserError, match=rf"^manifest holds no patient; check .* {first}"):
        find({})
    with pytest.raises(UserError, match=r"^manifest holds no patient in part 7 of 7; check"):
        find({"a": 1}, shard=(7, 7))


def test_result_of_a_source_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame(
        {"source_id": ["x", "y"], "patients": [1, 3], "mammograms": [2, 7], "other": 0}
    )
    problems = pd.DataFrame(
        {
            "source_id": ["y", "x"], "item": ["i", "j"], "cause": ["c", "d"],
            "action": ["a", "b"], "skipped": [True, False], "code": "k",
        }
    )  # fmt: skip
    monkeypatch.setattr(ingest.store, "read", nullcontext)
    monkeypatch.setattr(ingest.dataset_table, "load_sources", lambda con: rows)
    monkeypatch.setattr(ingest.problem_table, "list_problems", lambda con: problems)
    assert ingest._earlier_result(STUDY, "y") == ingest.IngestionResult(
        source_id="y", patients=3, mammograms=7, findings=0, inverted_count=0,
        problems=[{"item": "i", "cause": "c", "action": "a", "skipped": True}],
        already_ingested=True,
    )  # fmt: skip


@pytest.mark.parametrize("known", [["x", "y"], []])
def test_problems_of_a_source_without_new_patients(
    known: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    request = source()
    monkeypatch.setattr(ingest.store, "write", nullcontext)
    monkeypatch.setattr(ingest.dataset_table, "origin_sources", lambda con, name: known)
    monkeypatch.setattr(
        ingest.problem_table, "replace_source_problems", lambda *given: calls.append(given)
    )
    monkeypatch.setattr(
        ingest.dataset_table, "refresh_source_counts", lambda con: calls.append("counts")
    )
    monkeypatch.setattr(ingest, "_earlier_result", lambda study, name: name)
    problem = Problem("t", "cause", "action", skipped=True)
    waiting = ingest._Waiting([], [problem], frozenset(), {})
    found: Any = ingest._without_new_patients(STUDY, request, waiting)
    row = {
        "item": "t", "cause": "cause", "action": "action", "skipped": True, "source_id": "y",
    }  # fmt: skip
    if known:
        assert found == "y" and calls == [(STUDY, ["x", "y"], [row]), "counts"]
    else:
        assert found == request.source_id("") and calls == []
