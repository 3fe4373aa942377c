"""What the demonstration asks of every step, and what its simulated people store."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import settings
from core.errors import UserError
from core.networks.architectures import INPUT_SIDES
from evaluation.demo import build, simulated_answers
from evaluation.demo.build import FULL_PLAN, QUICK_PLAN, DemoPlan
from evaluation.reading_study import design_preset

STUDY = Path("study")


def test_sizes_of_the_two_demonstrations() -> None:
    assert vars(FULL_PLAN) == {
        "patients": 120,
        "architecture": build.MEDIUM,
        "units": 96,
        "epochs": 3,
        "draws": 2500,
        "learning_rate": 0.001,
        "contrast": 1.09,
        "select": 12,
    }
    assert vars(QUICK_PLAN) == {
        "patients": 80,
        "architecture": build.SMALL,
        "units": 64,
        "epochs": 4,
        "draws": 2500,
        "learning_rate": 0.004,
        "contrast": 1.3,
        "select": 8,
    }


@pytest.mark.parametrize(
    ("shortcut", "name"),
    [(False, "Phantom demonstration"), (True, "Phantom demonstration with a shortcut")],
)
def test_settings_of_a_demonstration(shortcut: bool, name: str) -> None:
    plan = DemoPlan(
        patients=11,
        architecture=build.SMALL,
        units=33,
        epochs=5,
        draws=77,
        learning_rate=0.25,
        contrast=1.5,
        select=6,
    )
    phantom = settings.settings_from_preset(settings.PHANTOM_PRESET).model_dump()
    chosen = build.demo_settings(plan, shortcut=shortcut).model_dump()
    changes = {
        "study": {"name": name},
        "images": {"input_side": INPUT_SIDES[build.SMALL]},
        "training": {
            "architecture": build.SMALL,
            "weights": str(plan.weights),
            "units": 33,
            "epochs": 5,
            "draws": 77,
            "learning_rate": 0.25,
        },
        "dissection": {"select": 6},
    }
    assert chosen == {part: phantom[part] | changes.get(part, {}) for part in phantom}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace every step by one that keeps its arguments."""
    made: list[tuple[Any, ...]] = []

    def record(module: Any, name: str) -> None:
        def step(*given: Any, **named: Any) -> SimpleNamespace:
            made.append((name, *given, *([named] if named else [])))
            return SimpleNamespace(run=f"{name}-1")

        monkeypatch.setattr(module, name, step)

    for module, name in (
        (build.ingest, "ingest"),
        (build.patches, "run_patch_extraction"),
        (build.train, "run_training"),
        (build.evaluate, "run_evaluation"),
        (build.dissect, "run_dissection"),
        (build.coverage, "run_coverage"),
        (build.descriptor_association, "run_descriptor_association"),
        (build.phantom_concepts, "run_phantom_concepts"),
        (build.explain, "run_explanation"),
        (build.ablate, "run_ablation"),
        (build.sufficiency, "run_sufficiency"),
        *(
            (simulated_answers, name)
            for name in (
                "simulate_annotations",
                "simulate_audit",
                "freeze_open_study",
                "simulate_reading",
            )
        ),
        (build.study_folder, "create_study"),
        (build.study_folder, "require_study"),
    ):
        record(module, name)
    return made


@pytest.mark.parametrize("experts", [False, True])
@pytest.mark.parametrize(("quick", "shortcut"), [(True, None), (False, True), (True, False)])
def test_steps_of_a_demonstration(
    calls: list[tuple[Any, ...]], tmp_path: Path, quick: bool, shortcut: bool | None, experts: bool
) -> None:
    titles: list[str] = []

    @contextmanager
    def progress(title: str) -> Any:
        titles.append(title)
        yield f"progress of {title}"

    folder = tmp_path / "study"
    options = {} if shortcut is None else {"shortcut": shortcut}
    result = build.build_demo(folder, quick=quick, experts=experts, progress=progress, **options)
    assert result == folder
    plan = QUICK_PLAN if quick else FULL_PLAN
    current = build.demo_settings(plan, shortcut=bool(shortcut))
    dissected = "run_dissection-1"
    people = [("simulate_annotations", folder, dissected), ("simulate_audit", folder)]
    reading = [("freeze_open_study", folder), ("simulate_reading", folder)]
    alone = [("run_sufficiency", folder, "progress of sufficiency", dissected)]
    in_dissect = (folder, "progress of dissect", dissected)
    assert calls == [
        ("create_study", folder, current),
        (
            *("ingest", folder, current, "phantom", None, "progress of mammograms"),
            {
                "workers": 1 if quick else 2,
                "patients": plan.patients,
                "seed": current.study.seed,
                "width": 4 * plan.input_side,
                "contrast": plan.contrast,
                "marker": 0.8 if shortcut else 0.0,
            },
        ),
        ("run_patch_extraction", folder, current, "progress of patches"),
        ("run_training", folder, current, "progress of train"),
        ("run_evaluation", folder, "progress of evaluate"),
        ("run_dissection", folder, current, "progress of dissect"),
        ("run_coverage", *in_dissect),
        ("run_descriptor_association", *in_dissect),
        ("run_phantom_concepts", *in_dissect),
        ("run_explanation", folder, current, "progress of explain"),
        *(people if experts else []),
        ("run_ablation", folder, "progress of ablate", dissected),
        *([] if quick else alone),
        *(reading if experts else []),
    ]
    steps = ["mammograms", "patches", "train", "evaluate", "dissect", "explain", "ablate"]
    assert titles == steps + ([] if quick else ["sufficiency"])


def test_an_interrupted_demonstration_continues_with_its_settings(
    calls: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / settings.SETTINGS_NAME).touch()
    own = build.demo_settings(QUICK_PLAN, shortcut=False).with_changes("training", epochs=9)
    monkeypatch.setattr(build.settings, "load_settings", lambda folder: own)
    # Without progress nothing is shown.
    build.build_demo(tmp_path, quick=True, experts=False)
    assert calls[0] == ("require_study", tmp_path) and calls[1][2] == own
    assert calls[1][5](1, 2, "images") is None
    calls.clear()
    with pytest.raises(UserError, match="contains another study"):
        build.build_demo(tmp_path, quick=True, experts=False, shortcut=True)
    assert calls == [("require_study", tmp_path)]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace the writing functions of the store; return what they are given."""
    written: list[tuple[Any, ...]] = []
    module = simulated_answers

    def record(owner: Any, name: str) -> None:
        monkeypatch.setattr(
            owner,
            name,
            lambda con, *given, **named: written.append(
                (name, *given, *([named] if named else []))
            ),
        )

    for access in ("read", "write"):
        connection = nullcontext(SimpleNamespace(access=access))
        monkeypatch.setattr(module.store, access, lambda study, con=connection: con)
    record(module.participant_table, "add_participant")
    record(module.annotation_table, "append_annotation")
    record(module.audit_table, "append_audit_answer")
    record(module.reading_table, "assign_reading_order")
    record(module.reading_table, "append_reading_answer")
    return written


def test_annotations_of_two_simulated_experts(
    stored: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first expert exists and has answered unit 5; every other answer is added."""
    module = simulated_answers
    answers = pd.DataFrame({"code": ["SIM-careful", "A1"], "unit": [5, 8]})
    people = pd.DataFrame({"code": ["SIM-careful"]})
    loaders = {
        (module.run_table, "latest_run"): lambda con, kind, parent: f"{kind} of {parent}",
        (module.unit_table, "load_concepts"): lambda con, run: f"rows of {run}",
        (module.phantom_concepts, "concept_shares_by_unit"): lambda rows: {8: [rows]},
        (module.unit_table, "selected_unit_ids"): lambda con, run: [8, 5],
        (module.annotation_table, "load_annotations"): lambda con, run: answers,
        (module.participant_table, "load_participants"): lambda con: people,
    }
    for (owner, name), load in loaders.items():
        monkeypatch.setattr(owner, name, load)
    monkeypatch.setattr(
        module.simulated_experts,
        "simulate_annotation",
        lambda shares, rng, careful: (shares, float(rng.random()), careful),
    )
    module.simulate_annotations(STUDY, "dissect-1")

    def answer(number: int, code: str, unit: int) -> tuple[Any, ...]:
        rng = np.random.default_rng([number, unit])
        shares = ["rows of concepts of dissect-1"] if unit == 8 else []
        given = (shares, rng.random(), number == 0)
        return (
            "append_annotation",
            {
                "run": "dissect-1",
                "unit": unit,
                "code": code,
                "answer": given,
                "seconds": round(float(rng.gamma(9, 2.6)), 1),
                "annotation_id": f"dissect-1-{code}-{unit}",
                "simulated": True,
            },
        )

    invited = {"simulated": True, "dissection": "dissect-1"}
    assert stored == [
        answer(0, "SIM-careful", 8),
        ("add_participant", "SIM-sloppy", "annotator", invited),
        answer(1, "SIM-sloppy", 8),
        answer(1, "SIM-sloppy", 5),
    ]
    monkeypatch.setattr(module.run_table, "latest_run", lambda *_: None)
    with pytest.raises(UserError, match="Simulated experts need a phantom study"):
        module.simulate_annotations(STUDY, "dissect-1")


def test_audit_of_two_simulated_experts(
    stored: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, calls = simulated_answers, []
    audit = SimpleNamespace(audit="audit-1", run="dissect-1")
    items = [
        SimpleNamespace(item=4, label="Mass", patch_id=30),
        SimpleNamespace(item=2, label="Skin", patch_id=10),
        SimpleNamespace(item=9, label="Skin", patch_id=30),
    ]
    rows = pd.DataFrame(
        {"patch_id": [10, 30], "file": ["f", "g"], "y": [2, 5], "x": [1, 3], "side": [2, 4]}
    )
    bits = {"f": np.arange(100).reshape(10, 10), "g": np.arange(200, 300).reshape(10, 10)}
    functions = {
        (module.audit_workflow, "start_audit"): lambda *given: calls.append(given) or audit,
        (module.audit_workflow, "end_audit"): lambda *given: calls.append(given),
        (module.audit_workflow, "latest_audit"): lambda study: None,
        (module.audit_table, "load_audit_items"): lambda con, name: items,
        (module.run_table, "ancestor"): lambda con, run, kind: f"{kind} of {run}",
        (module.dataset_table, "load_patches_by_id"): lambda con, run, ids: (
            calls.append((run, ids)) or rows
        ),
    }
    for (owner, name), function in functions.items():
        monkeypatch.setattr(owner, name, function)
    monkeypatch.setattr(
        module, "WorkingImages", lambda study: SimpleNamespace(concepts=bits.__getitem__)
    )
    monkeypatch.setattr(
        module.simulated_experts,
        "simulate_audit_judgement",
        lambda label, mask, rng: (label, mask.tolist(), float(rng.random())),
    )
    module.simulate_audit(STUDY)
    assert calls == [
        (STUDY, 6, 1, "SIM-reader"),
        ("patches of dissect-1", [10, 30]),
        (STUDY, "SIM-reader"),
    ]
    masks = {10: bits["f"][2:4, 1:3].tolist(), 30: bits["g"][5:9, 3:7].tolist()}
    expected: list[Any] = []
    for number, code in enumerate(("SIM-careful", "SIM-sloppy")):
        rng = np.random.default_rng([55, number])
        for item in items:
            judgement = (item.label, masks[item.patch_id], float(rng.random()))
            seconds = round(float(rng.gamma(5, 0.8)), 1)
            row = ("audit-1", code, item.item, 1, judgement, seconds, {"simulated": True})
            expected.append(("append_audit_answer", *row))
    assert stored == expected
    # An audit that exists is kept.
    monkeypatch.setattr(module.audit_workflow, "latest_audit", lambda study: audit)
    module.simulate_audit(STUDY)
    assert stored == expected and len(calls) == 3


def issue(severity: str, field: str) -> SimpleNamespace:
    return SimpleNamespace(severity=severity, field=field)


@pytest.fixture
def protocols(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace the workflow of reading studies; the third design of an open study is clean."""
    module = simulated_answers
    made = SimpleNamespace(calls=[], listed=[], clean=3)
    flow = module.workflow

    def check(*given: Any) -> tuple[None, list[SimpleNamespace]]:
        made.calls.append(("check", *given))
        tried = sum(call[0] == "create" for call in made.calls)
        found = [issue("warning", f"w{tried}"), issue("note", "n"), issue("warning", "v")]
        return None, found if tried >= made.clean else [*found, issue("error", "e")]

    def record(name: str, result: Any = None) -> Any:
        return lambda *given, **named: (
            made.calls.append((name, *given, *([named] if named else []))) or result
        )

    frozen = SimpleNamespace(protocol="P", version=7)
    monkeypatch.setattr(flow, "create_protocol", record("create"))
    monkeypatch.setattr(flow, "check_protocol", check)
    monkeypatch.setattr(flow, "freeze_protocol", record("freeze", frozen))
    monkeypatch.setattr(flow, "close_protocol", record("close"))
    monkeypatch.setattr(module, "has_errors", lambda found: found[-1].severity == "error")
    monkeypatch.setattr(module.protocol_table, "list_protocols", lambda con: made.listed)
    return made


def test_an_open_study_has_the_first_design_without_an_error(
    stored: list[tuple[Any, ...]], protocols: SimpleNamespace
) -> None:
    name = "Open demonstration"
    simulated_answers.freeze_open_study(STUDY)
    tried = [
        call
        for seed in (2, 3, 4)
        for call in (
            (
                *("create", STUDY, name),
                design_preset("Recommended", name=name, repeats=4, seed=seed),
                "demo",
            ),
            ("check", STUDY, name, "demo"),
        )
    ]
    reasons = {"w3": "demonstration", "v": "demonstration"}
    assert protocols.calls == [*tried, ("freeze", STUDY, name, "demo", reasons)]
    # A frozen one is kept, a draft and another study are not it.
    protocols.calls.clear()
    protocols.listed = [SimpleNamespace(protocol=name, state="frozen")]
    simulated_answers.freeze_open_study(STUDY)
    assert protocols.calls == []
    protocols.clean = 99
    for listed in (("Other", "frozen"), (name, "checked")):
        protocols.calls.clear()
        protocols.listed = [SimpleNamespace(protocol=listed[0], state=listed[1])]
        with pytest.raises(UserError, match="No design of 'Open demonstration' passes"):
            simulated_answers.freeze_open_study(STUDY)
        seeds = [call[3].seed for call in protocols.calls if call[0] == "create"]
        assert seeds == list(range(2, 12))


def test_reading_study_of_a_simulated_reader(
    stored: list[tuple[Any, ...]], protocols: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, reader = simulated_answers, "Simulated demonstration", "SIM-reader"
    design = design_preset("Recommended", name=name, readers=1, repeats=4, seed=1)
    cases = pd.DataFrame({"case_number": [1, 2], "texts": [("a",), ("b",)]})
    order = [(2, False), (1, False), (2, True)]
    protocols.clean = 1
    monkeypatch.setattr(
        module.reading_table, "load_reading_cases", lambda con, *given: (cases, given)[0]
    )
    asked: list[Any] = []
    monkeypatch.setattr(module, "reader_order", lambda *given: asked.append(given) or order)
    monkeypatch.setattr(
        module.simulated_experts,
        "simulate_reader_score",
        lambda texts, scale, rng: (texts, scale, float(rng.random())),
    )
    module.simulate_reading(STUDY)
    reasons = dict.fromkeys(("w1", "v"), "simulated demonstration")
    assert protocols.calls == [
        ("create", STUDY, name, design, reader, {"simulated": True}),
        ("check", STUDY, name, reader),
        ("freeze", STUDY, name, reader, reasons),
        ("close", STUDY, name, reader, {"confirm": name}),
    ]
    assert [given[1:] for given in asked] == [(design, reader)]
    items = [module.reading_table.ReadingItem(number, repeat=repeat) for number, repeat in order]
    expected: list[Any] = [
        ("add_participant", reader, "reader", {"simulated": True}),
        ("assign_reading_order", "P", 7, reader, items),
    ]
    for position, (number, _) in enumerate(order, start=1):
        rng = np.random.default_rng([99, position])
        score = (("a",) if number == 1 else ("b",), design.scale, float(rng.random()))
        expected.append(
            (
                "append_reading_answer",
                {
                    "protocol": SimpleNamespace(protocol="P", version=7),
                    "code": reader,
                    "position": position,
                    "revision": 1,
                    "answer": score,
                    "seconds": round(float(rng.gamma(6, 1.4)), 1),
                    "simulated": True,
                },
            )
        )
    assert stored == expected
    # A study of this name is kept, whatever its state.
    protocols.calls.clear()
    protocols.listed = [SimpleNamespace(protocol=name, state="designed")]
    module.simulate_reading(STUDY)
    assert protocols.calls == [] and stored == expected
    protocols.listed = [SimpleNamespace(protocol="Other", state="closed")]
    module.simulate_reading(STUDY)
    assert protocols.calls[0][0] == "create"
