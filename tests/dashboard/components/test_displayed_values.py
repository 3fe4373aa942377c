"""What the pages of annotators and readers are sent: levels of regions, and pauses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from core import store
from core.sessions.annotation_session import AnnotationSession
from core.sessions.reading_session import DisplayedCase
from core.settings import load_settings
from core.store import participant_table
from dashboard.components.annotation import routes as annotation_routes
from dashboard.components.reading import routes as reading_routes
from dashboard.server import context


@pytest.mark.parametrize("largest", [2.5, 0.4])
def test_region_is_relative_to_the_largest_activation_of_the_unit(
    study: Path, monkeypatch: pytest.MonkeyPatch, largest: float
) -> None:
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    sent: list[dict] = []
    monkeypatch.setattr(
        annotation_routes.image_routes,
        "image_url",
        lambda kind, code, **values: sent.append({"kind": kind, **values}) or kind,
    )
    session = AnnotationSession("A1", b"key", 2)
    threshold = load_settings(study).dissection.threshold
    with store.write(study) as con:
        participant_table.add_participant(con, "A1", "annotator")
        slot = session.queue(con).next()
        con.execute("UPDATE units SET largest = 7")
        con.execute("UPDATE units SET largest = ? WHERE unit = ?", [largest, slot.unit])
        patches = annotation_routes._patches(con, session, slot)
    levels = [values["level"] for values in sent if values["kind"] == "unit"]
    assert levels == [pytest.approx(threshold * largest)] * len(patches) and len(patches) == 32
    # Patch labels are sent only where the study shows them.
    assert not any("label" in patch for patch in patches)
    shown = AnnotationSession("A1", b"key", 2, patch_labels_shown=True)
    with store.read(study) as con:
        assert all(patch["label"] for patch in annotation_routes._patches(con, shown, slot))


@pytest.mark.parametrize(
    ("number", "practice", "answer", "pause"),
    [
        (1, False, None, False),
        (50, False, None, False),
        (51, False, None, True),  # after 50 answered cases
        (52, False, None, False),
        (100, False, None, False),
        (101, False, None, True),
        (51, True, None, False),
        (51, False, 3, False),  # reopened
    ],
)
def test_pause_is_offered_after_each_fifty_cases(
    number: int, practice: bool, answer: int | None, pause: bool
) -> None:
    case = DisplayedCase(
        token="t",
        texts=("Mass",),
        number=number,
        total=120,
        practice=practice,
        answer=answer,
        position=number + 5,
        can_reopen=False,
    )
    protocol = SimpleNamespace(design={"name": "x", "scale": 6, "arms": ["explanation"]})
    sent = reading_routes._case("R1", protocol, case)  # type: ignore[arg-type]
    assert sent["pause"] is pause and (sent["number"], sent["total"]) == (number, 120)


def test_images_of_the_next_unit_are_loaded_ahead(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a counted unit is shown; after practice the instructions decide what comes next."""
    session = AnnotationSession("A1", b"key", 2)
    monkeypatch.setattr(
        annotation_routes,
        "_patches",
        lambda con, session, slot: [
            {"highlighted": f"{slot.unit} h{k}", "mammogram": f"{slot.unit} m{k}"} for k in (1, 2)
        ],
    )
    with store.write(study) as con:
        participant_table.add_participant(con, "A1", "annotator")
        queue = session.queue(con)
        practice = [slot for slot in queue.slots if slot.practice]
        first = queue.real[0]
        assert annotation_routes._prefetched(con, session, queue, practice[0]) == []
        done = SimpleNamespace(next=lambda after: queue.real[1])
        unit = queue.real[1].unit
        assert annotation_routes._prefetched(con, session, done, first) == [  # type: ignore[arg-type]
            f"{unit} h1",
            f"{unit} m1",
            f"{unit} h2",
            f"{unit} m2",
        ]
        for following in (None, first):
            last = SimpleNamespace(next=lambda after, slot=following: slot)
            assert annotation_routes._prefetched(con, session, last, first) == []  # type: ignore[arg-type]


def test_next_study_is_introduced_after_a_closed_one(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who stays on the page of a study that is over is sent the next one on request."""
    asked: list[bool] = []

    async def read(work):
        return work(None)

    monkeypatch.setattr(reading_routes, "run_read", read)
    monkeypatch.setattr(reading_routes, "reading_session_of", lambda code: code)
    monkeypatch.setattr(
        reading_routes, "_state", lambda con, session, next_study=False: asked.append(next_study)
    )
    for request in (reading_routes._get_state, reading_routes._post_next):
        coroutine = request("R1", {})
        with pytest.raises(StopIteration):
            coroutine.send(None)
    assert asked == [False, True]
