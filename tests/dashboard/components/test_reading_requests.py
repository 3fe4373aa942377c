"""The requests of the reading page from consent to the end: every field of every reply."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core import store
from core.sessions import consent
from core.sessions.reading_instructions import design_shows_images, reading_instructions
from core.sessions.reading_session import NO_OPEN_STUDY, STUDY_CLOSED
from core.store import participant_table
from core.store.reading import protocol_table
from dashboard.components.reading import READING_ROUTES, pictures, routes, texts
from dashboard.server import context, image_routes
from support import synthetic_study
from support.route_requests import RouteClient

CODE = "R1"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RouteClient]:
    """A reader of a study of three cases, without a hidden repeat."""
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(con, 3, design={"repeats": 0})
        participant_table.add_participant(con, CODE, "reader")
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    client = RouteClient(READING_ROUTES)
    client.study = study
    yield client
    context.group_commit_writer(study).close()
    client.close()


def post(client: RouteClient, path: str, **body: Any) -> dict[str, Any]:
    status, reply = client.post(CODE, path, **body)
    assert status == 200, reply
    return reply


def begin(client: RouteClient) -> dict[str, Any]:
    """Consent and begin; return the first practice case."""
    hash_ = client.get_state(CODE)["consent_hash"]
    token = post(client, "consent", consent_hash=hash_, experience="x")["start_token"]
    return post(client, "begin", start_token=token)["case"]


def read_all(client: RouteClient, case: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer until no case is left, and return all replies."""
    replies = []
    while True:
        replies.append(post(client, "answer", token=case["token"], answer=4, seconds=2.0))
        if replies[-1]["stage"] != "case":
            return replies
        case = replies[-1]["case"]


def test_consent_and_instructions(client: RouteClient) -> None:
    text = consent.consent_text(client.study)
    assert client.get_state(CODE) == {
        "stage": "consent",
        "paragraphs": consent.consent_paragraphs(text),
        "consent_hash": consent.text_hash(text),
    }
    assert client.post(CODE, "begin", start_token="x")[0] == 409
    reply = post(client, "consent", consent_hash=consent.text_hash(text), experience="3 years")
    with store.read(client.study) as con:
        design = protocol_table.load_protocol(con, "ZQXSTUDY", 1).design
        [person] = participant_table.load_participants(con).to_dict("records")
    assert person["experience"] == "3 years" and reply == client.get_state(CODE)
    token = reply.pop("start_token")
    assert reply == {
        "stage": "instructions",
        "paragraphs": list(reading_instructions(design, False).paragraphs),
        "button": "Start with five practice texts",
    }
    # The order is given for the study that was introduced only.
    assert post(client, "begin", start_token="other")["stage"] == "instructions"
    assert post(client, "begin", start_token=token)["stage"] == "case"


def test_cases_from_practice_to_the_end(client: RouteClient) -> None:
    case = begin(client)
    with store.read(client.study) as con:
        design = protocol_table.load_protocol(con, "ZQXSTUDY", 1).design
    instructions = reading_instructions(design, design_shows_images(design))
    common = {
        "image": None,
        "pause": False,
        "answers": list(instructions.answers),
        "question": instructions.question,
        "practice_note": [],
    }
    fields = {name: value for name, value in case.items() if name not in ("token", "texts")}
    # Practice is explained; a counted case never is.
    assert any("right is not shown" in line for line in fields.pop("practice_note"))
    practice = {"number": 1, "total": 5, "practice": True, "answer": None, "can_reopen": False}
    assert fields | {"practice_note": []} == common | practice
    replies = read_all(client, case)
    cases = [reply["case"] for reply in replies[:-1]]
    assert [c["number"] for c in cases] == [2, 3, 4, 5, 1, 2, 3]
    assert [c["total"] for c in cases] == [5] * 4 + [3] * 3
    assert [c["practice"] for c in cases] == [True] * 4 + [False] * 3
    tokens = {c["token"] for c in cases}
    assert len(tokens) == 7 and case["token"] not in tokens
    for c in cases[4:]:
        rest = {name: value for name, value in c.items() if name not in ("token", "texts")}
        place = {"number": c["number"], "total": 3, "practice": False, "answer": None}
        assert rest == common | place | {"can_reopen": c["number"] > 1}
        assert len(c["texts"]) == 3 and set(c["texts"]) <= set(synthetic_study.LABELS)
    end = replies[-1]
    assert end.pop("saved").endswith("Z") and end == {"stage": "done"}
    assert client.get_state(CODE) == {"stage": "done"}
    again = post(client, "reopen")
    assert again["stage"] == "case" and "saved" not in again
    assert (again["case"]["number"], again["case"]["answer"]) == (3, 4)
    assert again["case"]["texts"] == cases[6]["texts"]
    corrected = {"token": again["case"]["token"], "answer": 2, "seconds": 1.5, "idle": True}
    assert post(client, "answer", **corrected)["stage"] == "done"
    with store.read(client.study) as con:
        rows = con.execute(
            "SELECT position, revision, answer, seconds FROM answers"
            " WHERE code = ? ORDER BY position DESC, revision DESC LIMIT 2",
            [CODE],
        ).fetchall()
    assert [(row[1], row[2]) for row in rows] == [(2, 2), (1, 4)] and rows[1][3] == 2.0


def test_closed_study(client: RouteClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so before it offers another one; addresses of images end."""
    case = begin(client)
    with store.write(client.study) as con:
        now = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
        values = {"protocol": "ZQXSTUDY", "version": 1, "design": now.design, "hash": now.hash}
        protocol_table.append_protocol_state(con, state="closed", **values)
    revoked: list[Any] = []
    monkeypatch.setattr(image_routes, "revoke_image_urls", lambda *a: revoked.append(a))
    closed = {"stage": "closed", "paragraphs": [STUDY_CLOSED, NO_OPEN_STUDY], "button": ""}
    assert client.get_state(CODE) == closed and revoked == [(CODE, ())]
    assert client.post(CODE, "answer", token=case["token"], answer=4, seconds=1)[0] == 409
    with store.write(client.study) as con:
        synthetic_study.add_protocol(con, 3, version=2, design={"repeats": 0})
    assert client.get_state(CODE) == {
        "stage": "closed",
        "paragraphs": [STUDY_CLOSED],
        "button": "Continue with the next study",
    }
    assert post(client, "next")["stage"] == "instructions"


def session_of(**values: Any) -> Any:
    """A session whose study has come to its end."""
    given = {"washout_end": None, "questionnaire_token": None, "has_next_study": False} | values
    functions = {name: lambda *_, value=value: value for name, value in given.items()}
    return SimpleNamespace(code=CODE, **functions)


def test_ends_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    revoked: list[Any] = []
    monkeypatch.setattr(image_routes, "revoke_image_urls", lambda *a: revoked.append(a))
    monkeypatch.setattr(routes, "iso_timestamp", lambda time: f"iso {time}")
    monkeypatch.setattr(routes, "locks_answers", lambda design: design.get("locks", False))
    protocol: Any = SimpleNamespace(design={"questionnaire": [{"text": "Why?"}]})

    def end(shown: Any = protocol, **values: Any) -> dict[str, Any]:
        return routes._case_or_end(None, session_of(**values), shown, None)  # type: ignore[arg-type]

    assert end(washout_end="later") == {
        "stage": "washout",
        "paragraphs": [texts.WASHOUT],
        "until": "iso later",
    }
    assert revoked == [(CODE, ())]
    assert end(questionnaire_token="t") == {
        "stage": "questionnaire",
        "token": "t",
        "questions": [{"text": "Why?"}],
    }
    locked: Any = SimpleNamespace(design={"locks": True})
    assert end() == {"stage": "done"}
    assert end(has_next_study=True) == {"stage": "done", "button": texts.NEXT_STUDY}
    assert end(locked) == {"stage": "done", "can_reopen": False}


def test_addresses_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(image_routes, "revoke_image_urls", lambda *a: calls.append(a))
    monkeypatch.setattr(
        image_routes, "image_url", lambda kind, code, **o: f"{kind} {code} {sorted(o.items())}"
    )

    def address(content: str, source: str) -> str:
        items = [("content", content), ("position", 7), ("source", source)]
        return f"blinded R1 {items}"

    single = [(0, "image", "s1"), (1, "map", "s2")]
    assert pictures.picture_fields(CODE, 7, single, is_exam=False) == {
        "image": {"kind": "image", "url": address("image", "s1")}
    }
    # The case before and the one after stay available.
    assert calls == [(CODE, (6, 7, 8))]
    assert pictures.picture_fields(CODE, 7, [], is_exam=False) == {"image": None}
    assert len(calls) == 1
    places = pictures.FILM_PLACES
    slots = [(1, "image", "a"), (0, "image", "b"), (len(places) + 2, "map", "c")]
    films = pictures.picture_fields(CODE, 7, slots, is_exam=True)
    assert films == {
        "image": None,
        "films": [
            {
                "kind": kind,
                "url": address(kind, source),
                "side": place.laterality[0],
                "view": place.view,
                "name": place.name,
            }
            for (kind, source), place in zip(
                (("image", "a"), ("image", "b"), ("map", "c")), (places[1], places[0], places[2])
            )
        ],
    }
