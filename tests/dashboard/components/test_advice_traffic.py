"""Recorded traffic of a study with advice: no byte of it before the first answer is stored."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import store
from core.store.reading import reading_table
from dashboard.components.reading import READING_ROUTES
from dashboard.server import context
from dashboard.server.image_routes import IMAGE_ROUTES
from support import synthetic_study
from support.advice_study import NAME, QUESTIONS, add_advice_study
from support.route_requests import RouteClient

CASES = 6
# What differs between any two replies: one-time tokens, addresses, the place and the time.
RANDOM_PARTS = re.compile(rb'"token":"[0-9a-f]{32}"|/image/[\w-]{22}|"number":\d+|"saved":"[^"]*"')


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RouteClient]:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    add_advice_study(study, CASES, predict_network=True, questions=QUESTIONS)
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    routes = RouteClient([*READING_ROUTES, *IMAGE_ROUTES])
    routes.study = study
    yield routes
    context.group_commit_writer(study).close()
    routes.close()


def send(client: RouteClient, path: str, **body: object) -> bytes:
    status, content = client.send("R1", "POST", f"/expert/read/{path}", json.dumps(body).encode())
    assert status == 200, content
    return content


def shade(client: RouteClient, url: str) -> int:
    """Return the shade of a picture of one shade; url: as in a reply."""
    status, image = client.send("R1", "GET", url[url.index("/image/") :])
    assert status == 200
    return round(float(np.asarray(Image.open(io.BytesIO(image)).convert("L")).mean()))


def test_no_byte_of_advice_before_the_lock(client: RouteClient) -> None:
    with store.read(client.study) as con:
        arms = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")["arm"]
    reply = send(client, "begin")
    locked: dict[str, set[bytes]] = {"first": set(), "prediction": set()}
    revealed = []
    for _ in range(1 + CASES):
        case = json.loads(reply)["case"]
        film = shade(client, case["image"]["url"])
        for step, value in (("first", 5), ("prediction", 2)):
            assert case["step"] == step and b"ZQX" not in reply and b"class_map" not in reply
            # What a practice case showed comes with its advice, and with no case of the study.
            assert case["practice_note"] == []
            assert shade(client, case["image"]["url"]) == film < 200
            if not case["practice"]:
                locked[step].add(RANDOM_PARTS.sub(b"", reply))
            reply = send(client, "answer", token=case["token"], answer=value, seconds=1)
            case = json.loads(reply)["case"]
        assert bool(case["practice_note"]) == case["practice"]
        if not case["practice"]:
            revealed.append((film - 100, case["advice"]))
        reply = send(client, "answer", token=case["token"], answer=3, seconds=1, questions=[2])
    assert json.loads(reply)["stage"] == "done"
    # Apart from tokens, addresses and times, what precedes the lock is the same in every arm.
    assert {step: len(replies) for step, replies in locked.items()} == {"first": 1, "prediction": 1}
    assert sorted(number for number, _ in revealed) == list(range(1, CASES + 1))
    for number, advice in revealed:
        assert (advice is None) == (arms[number] == "no_advice")
        if advice is not None:
            assert "ZQXCLASS" in advice["statement"] and f"ZQXUNIT {number} " in advice["texts"][0]
            assert (advice["image"] is not None) == (arms[number] == "advice_units_map")


def test_the_map_of_a_case_opens_with_its_reveal(client: RouteClient) -> None:
    case = json.loads(send(client, "begin"))["case"]
    for _ in range(1 + CASES):
        for value in (5, 2):
            case = json.loads(send(client, "answer", token=case["token"], answer=value))["case"]
        if case["advice"] and case["advice"]["image"]:
            break
        reply = send(client, "answer", token=case["token"], answer=3, questions=[2])
        case = json.loads(reply)["case"]
    url = case["advice"]["image"]["url"]
    assert case["advice"]["image"]["kind"] == "class_map" and shade(client, url) > 200
    assert client.send("R2", "GET", url[url.index("/image/") :])[0] != 200
    # Reloading the page returns to the reveal.
    assert client.get_state("R1")["case"] == case


def test_forged_requests_are_refused(client: RouteClient) -> None:
    case = json.loads(send(client, "begin"))["case"]
    token = case["token"]
    sent = {"token": token, "answer": 5, "seconds": 1.0, "questions": [1]}
    for path, body, status, code in (
        ("answer", sent | {"token": "0" * 32}, 409, "stale"),
        ("answer", sent | {"step": "final", "token": token[::-1]}, 409, "stale"),
        ("answer", sent | {"answer": 7}, 422, "answer"),
        ("answer", sent | {"answer": None}, 422, "answer"),
        ("reopen", {}, 409, "stale"),
        ("questionnaire", {"token": token, "answers": []}, 409, "stale"),
    ):
        got, reply = client.post("R1", path, **body)
        assert (got, reply["code"]) == (status, code), path
        assert "ZQX" not in str(reply)
    # Whatever is added to the first request, it locks the first answer alone.
    reply = json.loads(send(client, "answer", **sent | {"step": "final", "advice": True}))
    assert reply["case"]["step"] == "prediction" and "advice" not in reply["case"]
    assert client.post("R1", "answer", **sent | {"answer": 2})[0] == 409
    with store.read(client.study) as con:
        assert con.execute("SELECT stage, value FROM reading_stages").fetchall() == [
            ("first answer", "5")
        ]
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] == 0
