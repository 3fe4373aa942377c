"""The requests of the annotation page and of the audit, from consent to the end, without a server.

Every field of every reply is compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core import store
from core.errors import RequestRefused
from core.sessions import consent
from core.store import annotation_table, dataset_table, participant_table, unit_table
from core.store.labels import assignment_table
from dashboard.components.annotation import ANNOTATOR_ROUTES, audit_routes, routes
from dashboard.server import context, image_routes
from support import synthetic_study
from support.route_requests import RouteClient

CODE = "A1"


class Annotator:
    """One annotator's page."""

    def __init__(self, client: RouteClient) -> None:
        self._client = client

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return the reply to a GET request."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        status, body = self._client.send(CODE, "GET", f"/expert/annotate/{path}", query=text)
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        """Return the reply to a POST request."""
        sent = json.dumps(body).encode()
        got, content = self._client.send(CODE, "POST", f"/expert/annotate/{path}", sent)
        assert got == status, content
        return json.loads(content)


@pytest.fixture
def annotator(study: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Annotator]:
    """An annotator of two networks who has not consented yet."""
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    (study / "study.toml").write_text("[annotation]\nrepeats = 1\n")
    with store.write(study) as con:
        participant_table.add_participant(con, CODE, "annotator")
    client = RouteClient(ANNOTATOR_ROUTES, "annotator")
    yield Annotator(client)
    context.group_commit_writer(study).close()
    context.group_commit_writer.cache_clear()
    client.close()


def consented(annotator: Annotator) -> dict[str, Any]:
    """Consent, and return the first state."""
    shown = annotator.get("state")["consent_hash"]
    return annotator.post("consent", consent_hash=shown, experience="5 years")


def name_all_units(study: Path) -> None:
    """Answer every selected unit: the audit opens then."""
    (study / "study.toml").write_text("[annotation]\nrepeats = 0\n")
    with store.write(study) as con:
        for unit in unit_table.selected_unit_ids(con, synthetic_study.DISSECT):
            synthetic_study.annotate(con, CODE, unit, synthetic_study.mass_answer())


def is_time(text: str) -> bool:
    return datetime.fromisoformat(text.removesuffix("Z")) is not None and text.endswith("Z")


def test_addresses_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is asked for with its own file, place and region."""

    def address(kind: str, code: str, **parameters: Any) -> str:
        return f"{kind} {code} {parameters}"

    monkeypatch.setattr(image_routes, "image_url", address)
    tile = unit_table.Tile(
        **{
            field: {"file": "f", "label": 1}.get(field, number)
            for number, field in enumerate(unit_table.Tile.__dataclass_fields__, start=3)
        }
    )
    square = {"file": "f", "y": tile.y, "x": tile.x, "side": tile.side}
    region = {"run": "d", "unit": 7, "rank": tile.rank, "level": 0.5}
    place = {
        "ratio": tile.width / tile.height,
        "box": [
            tile.x / tile.width,
            tile.y / tile.height,
            tile.side / tile.width,
            tile.side / tile.height,
        ],
    }
    assert routes._patch("A1", "d", 7, tile, 0.5) == {
        "highlighted": f"unit A1 {square | region}",
        "patch": f"patch A1 {square}",
        "mammogram": "mammogram A1 {'file': 'f'}",
        **place,
    }
    assert audit_routes._images("A1", tile) == {
        "patch": f"patch A1 {square | {'size': 384}}",
        "mammogram": "mammogram A1 {'file': 'f'}",
    }


def test_consent_comes_first(annotator: Annotator, study: Path) -> None:
    state = annotator.get("state")
    text = consent.consent_text(study)
    with store.read(study) as con:
        example = routes.worked_example(dataset_table.load_lexicon(con))
    assert state == {
        "stage": "consent",
        "paragraphs": [*consent.consent_paragraphs(text), routes.TASK_NOTE, example],
        "consent_hash": consent.text_hash(text),
    }
    # A text that was not the one shown is not consented to.
    assert annotator.post("consent", 409, consent_hash="other")["code"] == "stale"
    assert annotator.post("answer", 409, token="x")["code"] == "consent"
    after = consented(annotator)
    assert after["stage"] == "unit" and after == annotator.get("state")
    with store.read(study) as con:
        [row] = participant_table.load_participants(con).to_dict("records")
    assert (row["consented"], row["experience"]) == (True, "5 years")


def test_units_are_answered_skipped_and_found_again(annotator: Annotator, study: Path) -> None:
    state = consented(annotator)
    with store.read(study) as con:
        selected = unit_table.selected_unit_ids(con, synthetic_study.DISSECT)
    total = len(selected) + 1  # one is repeated
    progress = {"total": total, "done": 0, "skipped": 0}
    assert set(state) == {"stage", "progress", "dissections", "audit", "unit", "prefetch"}
    assert (state["progress"], state["dissections"], state["audit"]) == (progress, [], None)
    # Nothing is loaded ahead of practice.
    assert state["prefetch"] == []
    unit = state["unit"]
    patches, token = unit.pop("patches"), unit.pop("token")
    name = unit.pop("name")
    assert unit == {
        "practice": True,
        "number": 1,
        "total": 2,
        "status": "todo",
        "group": 1,
        "answer": None,
        "previous": None,
    }
    assert len(patches) == 32 and len(set(map(str, patches))) == 32
    for patch in patches:
        assert set(patch) == {"highlighted", "patch", "mammogram", "ratio", "box"}
        # A mammogram of 256 x 320 with patches of 64 at multiples of 32.
        assert patch["ratio"] == 0.8
        x, y, width, height = patch["box"]
        assert (width, height) == (0.25, 0.2) and x * 8 % 1 == 0 and y * 10 % 1 == 0
        addresses = {patch[kind] for kind in ("highlighted", "patch", "mammogram")}
        assert len(addresses) == 3 and all(a.startswith("/image/") for a in addresses)
    # Practice cannot be skipped.
    refused = annotator.post("skip", 422, token=token)
    assert refused["code"] == "answer"
    answer = synthetic_study.mass_answer()
    second = annotator.post("answer", token=token, answer=answer, seconds=4.5)
    assert is_time(second["saved"]) and second["unit"]["number"] == 2
    assert second["unit"]["previous"] == name and second["unit"]["practice"]
    first = annotator.post("answer", token=second["unit"]["token"], answer=answer, seconds=3)
    unit = first["unit"]
    assert (unit["practice"], unit["number"], unit["total"]) == (False, 1, total)
    assert unit["previous"] is None and first["progress"] == progress
    skipped = annotator.post("skip", token=unit["token"])
    assert skipped["progress"] == {"total": total, "done": 0, "skipped": 1}
    assert skipped["unit"]["number"] == 2 and "saved" not in skipped
    assert skipped["unit"]["previous"] == unit["name"]
    # Images of the next unit are loaded ahead.
    assert len(skipped["prefetch"]) == 64
    third = annotator.post("answer", token=skipped["unit"]["token"], answer=answer, seconds=7.25)
    assert third["progress"] == {"total": total, "done": 1, "skipped": 1}
    ahead = [p[kind] for p in third["unit"]["patches"] for kind in ("highlighted", "mammogram")]
    assert skipped["prefetch"] == ahead
    with store.read(study) as con:
        rows = annotation_table.load_expert_annotations(con, synthetic_study.DISSECT, CODE)
    assert rows["seconds"].tolist()[-1] == 7.25
    found = annotator.get("state", name=skipped["unit"]["name"])["unit"]
    assert found["status"] == "done" and found["number"] == 2
    assert found["answer"]["phenomena"] == answer["phenomena"]
    queue = annotator.get("queue")
    assert set(queue) == {"units", "next", "progress", "dissections"}
    assert queue["progress"] == third["progress"] and queue["dissections"] == []
    assert [row["number"] for row in queue["units"]] == list(range(1, total + 1))
    rows = queue["units"][:3]
    labels = [(row["status"], row["label"], len(row["patches"])) for row in rows]
    label = found["answer"]["label"]
    assert labels == [("skipped", "", 8), ("done", label, 8), ("todo", "", 8)]
    assert [row["name"] for row in rows] == [u["name"] for u in (unit, found, third["unit"])]
    assert rows[1]["patches"] == [p["highlighted"] for p in found["patches"][:8]]
    assert queue["next"] == queue["units"][2]
    nothing = {"recognisable": "nothing", "phenomena": [], "confidence": 2}
    nothing |= {"words": "", "label": ""}
    annotator.post("answer", token=third["unit"]["token"], answer=nothing, seconds=1)
    assert annotator.get("queue")["units"][2]["label"] == "Nothing"


def test_queue_of_each_network(annotator: Annotator, study: Path) -> None:
    with store.write(study) as con:
        other = synthetic_study.add_dissection(con, "dissect-000000000009", "vgg16", "last", 1)
        runs = [synthetic_study.DISSECT, other]
        assignment_table.assign_dissections(con, CODE, runs, "team")
    state = consented(annotator)
    menu = state["dissections"]
    with store.read(study) as con:
        titles = {one.title for one in unit_table.list_dissections(con)}
    assert {one["title"] for one in menu} == titles and len(menu) == 2
    assert [set(one) for one in menu] == [
        {"name", "title", "shown", "total", "done", "skipped"}
    ] * 2
    assert [one["shown"] for one in menu].count(True) == 1
    hidden = next(one for one in menu if not one["shown"])
    queue = annotator.get("queue", dissection=hidden["name"])
    shown = {one["title"]: one["shown"] for one in queue["dissections"]}
    assert shown[hidden["title"]] and list(shown.values()).count(True) == 1
    # The queue of a unit is that of its network, whichever is shown.
    name = queue["units"][4]["name"]
    assert annotator.get("queue", name=name)["units"] == queue["units"]
    assert annotator.get("state", name=name)["unit"]["number"] == 5
    first = next(one for one in menu if one["shown"])
    assert (
        annotator.get("queue")["units"]
        == (annotator.get("queue", dissection=first["name"])["units"])
    )


def test_separation_from_a_group(
    annotator: Annotator, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consented(annotator)
    queue = annotator.get("queue")
    asked: list[Any] = []

    class Session:
        """A session that separates units."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def separate_slot(self, con: Any, token: str) -> Any:
            asked.append(token)
            return self._session.find_slot(con, queue["units"][3]["name"])

    original = routes.annotation_session_of
    monkeypatch.setattr(routes, "annotation_session_of", lambda code: Session(original(code)))
    shown = annotator.post("separate", token="t")
    # The unit stays on the page.
    assert asked == ["t"] and shown["unit"]["name"] == queue["units"][3]["name"]


def test_audit_from_its_first_patch_to_its_end(annotator: Annotator, study: Path) -> None:
    consented(annotator)
    name_all_units(study)
    assert annotator.get("state")["audit"] is None
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=2, each=1)
    assert annotator.get("state")["audit"] == {"done": 0, "total": 6}
    state = annotator.get("audit")
    assert set(state) == {"stage", "patch", "prefetch"} and state["stage"] == "patch"
    patch = state["patch"]
    fields = ("token", "label", "patch", "mammogram", "box", "ratio")
    token, label, address, mammogram, box, ratio = (patch.pop(name) for name in fields)
    assert patch == {
        "number": 1,
        "total": 6,
        "answer": None,
        "is_new_label": True,
        "can_reopen": False,
        "question": "Does the patch show this?",
    }
    assert label in synthetic_study.LABELS[:2] and ratio == 0.8 and box[2:] == [0.25, 0.2]
    assert address != mammogram
    following = annotator.post("judge", token=token, answer="yes", seconds=2.5)
    assert is_time(following["saved"]) and following["patch"]["number"] == 2
    assert following["patch"]["can_reopen"]
    assert state["prefetch"] == [following["patch"]["patch"], following["patch"]["mammogram"]]
    again = annotator.post("rejudge")
    assert again["prefetch"] == [] and again["stage"] == "patch"
    assert (again["patch"]["number"], again["patch"]["answer"]) == (1, "yes")
    assert again["patch"]["label"] == label
    moved = annotator.post("judge", token=again["patch"]["token"], answer="no", seconds=1)
    last = moved["patch"]
    for answer in ("no", "unsure", "yes", "no"):
        last = annotator.post("judge", token=last["token"], answer=answer, seconds=1)["patch"]
    assert last["number"] == 6 and annotator.get("audit")["prefetch"] == []
    with store.write(study) as con:
        audit_routes_session = audit_routes.audit_session_of(CODE)
        assert audit_routes.audit_summary(con, CODE) == {"done": 5, "total": 6}
        assert audit_routes_session.current_audit(con).audit == audit.audit
    done = annotator.post("judge", token=last["token"], answer="unsure", seconds=1)
    assert (done["stage"], done["total"]) == ("done", 6) and is_time(done["saved"])
    assert annotator.get("audit") == {"stage": "done", "total": 6}


def test_audit_that_ends_with_an_answer(
    annotator: Annotator, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is kept, and the page says that the audit is over."""
    consented(annotator)
    name_all_units(study)
    with store.write(study) as con:
        synthetic_study.add_audit(con, units=1, each=1)
    token = annotator.get("audit")["patch"]["token"]

    def ended(*_: Any) -> None:
        raise RequestRefused("closed", "The audit was ended.")

    monkeypatch.setattr(audit_routes, "_state", ended)
    reply = annotator.post("judge", token=token, answer="yes", seconds=1)
    assert reply.pop("saved") and reply == {"stage": "ended"}
