"""The real server in its own process: the team's link, its log, a busy port, a kill in the middle
of answering.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.sessions import tokens
from core.store import annotation_table, participant_table, reading_table
from dashboard import application
from dashboard.server.access_control import Cookies
from support import synthetic_study
from support.expert_client import Client, seat, token_of
from support.live_server import Served, start_server, stop_server
from support.paths import ROOT


def test_the_printed_link_opens_the_teams_pages_and_stays_the_same(served: Served) -> None:
    log = (served.study / "server.log").read_text()
    link = next(line.strip() for line in log.splitlines() if "/enter?token=" in line)
    assert link == application.link(served.base, application.team_token(served.study))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dashboard.cli",
            "invite",
            "reader",
            "--study",
            str(served.study),
            "--json",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout)["result"]["link"].startswith(f"{served.base}/enter?token=")
    team = Client(served.base)
    assert team.ask("/")[0] == 401
    team.enter(token_of(link))
    status, page = team.ask("/")
    assert status == 200 and b"<title>" in page
    assert team.ask("/app/static/inter.woff2")[1][:4] == b"wOF2"


def test_no_log_and_no_page_holds_a_token(served: Served) -> None:
    link = served.invite("annotator")
    client = Client(served.base)
    assert client.ask("/enter?token=" + token_of(link))[0] == 200
    client.enter(token_of(link))
    assert client.ask("/expert/annotate/state")[0] == 200
    assert token_of(link) not in (served.study / "server.log").read_text()


def test_sentences_for_bad_requests(served: Served) -> None:
    client = Client(served.base).enter(token_of(served.invite("reader")))
    for body, status, words in (
        ("[1]", 422, "understood"),
        ("{", 422, "understood"),
        ("{}", 409, "consent"),
    ):
        got, content = client.ask("/expert/read/answer", form=body)
        assert got in (status, 422) and words in json.loads(content)["sentence"], content
    got, content = client.ask(
        "/expert/read/consent", form=json.dumps({"experience": "x" * 100_000})
    )
    assert got == 422 and "shorten" in json.loads(content)["sentence"]
    got, content = client.ask("/expert/read/consent", {"experience": "x" * 300})
    assert got == 422 and "200 characters" in json.loads(content)["sentence"]


def test_markup_is_stored_and_shown_as_text(served: Served) -> None:
    client = Client(served.base).enter(token_of(served.invite("reader", "RX")))
    client.read("consent", {"experience": "<script>alert(1)</script>"})
    with store.read(served.study) as con:
        assert (
            participant_table.people(con).set_index("code").loc["RX", "experience"]
            == "<script>alert(1)</script>"
        )


def test_a_page_forged_over_the_websocket_is_the_own_page(served: Served) -> None:
    """Asks as the browser would, but for the hash and the name of a team page."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.util import calc_hash
    from websockets.sync.client import connect

    client = Client(served.base).enter(token_of(served.invite("reader")))
    pages = Path(application.__file__).parent / "pages"
    got = b""
    for name in ("participants", "annotations", "overview", "annotate"):
        for asked in (calc_hash(name), calc_hash(str(pages / f"{name}.py")), ""):
            ask = BackMsg()
            ask.rerun_script.page_script_hash = asked
            ask.rerun_script.page_name = "" if asked else name
            headers = {
                "Cookie": client.headers["Cookie"],
                "X-Auth-Role": "team",
                "X-Auth-Who": "team",
            }
            with connect(
                served.base.replace("http", "ws") + "/_stcore/stream",
                additional_headers=headers,
                subprotocols=["streamlit"],
                compression=None,
            ) as line:
                line.send(ask.SerializeToString())
                part = b""
                while b"expert_read" not in part and b"not part of your invitation" not in part:
                    part += line.recv(timeout=20)
                got += part
    assert got.count(b"expert_read") >= 12
    for word in (b"Invite", b"People", b"Adjudication", b"expert_annotate", b"ZQX"):
        assert word not in got, word


def test_a_busy_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port}"):
            application.serve(synthetic_study.make(tmp_path / "study", protocol=False), port=port)


@pytest.fixture(scope="module")
def reading_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose reading study has enough cases for the tests below, which share it and are
    meant to run in this order.
    """
    study = synthetic_study.make(tmp_path_factory.mktemp("reading") / "study", protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(con, 120)
    return study


@pytest.fixture(scope="module")
def port() -> int:
    """A port that a killed server's successor takes over."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_many_readers_at_once_are_acknowledged_soon(reading_study: Path, port: int) -> None:
    served = start_server(reading_study, port)
    waits: list[float] = []
    seats = [seat(served, f"M{i}") for i in range(20)]

    def read(client: Client, case: dict, late: float) -> None:
        time.sleep(late)
        for _ in range(4):
            start = time.perf_counter()
            case = client.read("answer", {"token": case["token"], "answer": 4, "seconds": 1.0})[
                "case"
            ]
            waits.append(time.perf_counter() - start)
            time.sleep(0.7)

    threads = [
        threading.Thread(target=read, args=(*place, i / 25)) for i, place in enumerate(seats)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop_server(served)
    with store.read(reading_study) as con:
        assert con.execute(
            "SELECT count(*), count(DISTINCT (code, position)) FROM answers"
        ).fetchone() == (80, 80)
    waits.sort()
    # On an idle machine; where others keep it busy, as much longer as they do. The goal of 250 ms
    # is measured by benchmarks/expert_sessions.py.
    limit = 0.6 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert waits[int(0.95 * len(waits))] < limit, (
        f"p95 {waits[int(0.95 * len(waits))]:.3f} s, limit {limit:.1f} s"
    )


def test_kill_while_answering_loses_and_doubles_nothing(reading_study: Path, port: int) -> None:
    """Readers send an answer again with the same token until it is acknowledged, as the page does,
    while the server is killed and started.
    """
    served = start_server(reading_study, port)
    acknowledged: dict[str, list[int]] = {f"R{i}": [] for i in range(3)}
    over = threading.Event()

    def read(code: str, client: Client, case: dict) -> None:
        while not over.is_set():
            value = 1 + (len(acknowledged[code]) + ord(code[1])) % 6
            try:
                reply = client.read(
                    "answer", {"token": case["token"], "answer": value, "seconds": 0.1}
                )
            except (OSError, http.client.HTTPException):
                client.line.close()
                time.sleep(0.05)
                continue
            acknowledged[code].append(value)
            case = reply["case"]
            time.sleep(0.03)

    threads = [
        threading.Thread(target=read, args=(code, *seat(served, code))) for code in acknowledged
    ]
    for thread in threads:
        thread.start()
    for least in (5, 25):
        deadline = time.monotonic() + 30
        while sum(map(len, acknowledged.values())) < least and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
        served = start_server(reading_study, port)
    over.set()
    for thread in threads:
        thread.join()
    stop_server(served)
    assert sum(map(len, acknowledged.values())) >= 25
    for code, values in acknowledged.items():
        with store.read(reading_study) as con:
            rows = con.execute(
                "SELECT position, revision, answer FROM answers WHERE code = ? ORDER BY position",
                [code],
            ).fetchall()
        assert [(p, r) for p, r, _ in rows] == [(i, 1) for i in range(1, len(rows) + 1)]
        assert [answer for *_, answer in rows] == values


def test_bad_answers_are_said_and_change_nothing(served: Served) -> None:
    client, case = seat(served, "B1")
    sent = {"token": case["token"], "answer": 3, "seconds": 1.0, "idle": False}
    first = client.read("answer", sent)
    assert (
        client.read("answer", sent)["case"] == first["case"]
    )  # sent again: the same answer, no second row
    for body, words in (
        (sent | {"answer": 4}, "another window"),
        (sent | {"token": "x"}, "another window"),
        ({}, "another window"),
        (sent | {"token": first["case"]["token"], "answer": 7}, "1 to 6"),
        (sent | {"token": first["case"]["token"], "answer": "3"}, "1 to 6"),
    ):
        status, content = client.ask("/expert/read/answer", body)
        assert status in (409, 422) and words in json.loads(content)["sentence"], content
    status, content = client.ask("/expert/read/answer", sent | {"words": "x" * 10_000_000})
    assert status == 422 and "too long to be saved" in json.loads(content)["sentence"]
    cookies = Cookies(tokens.key(served.study))
    with store.read(served.study) as con:
        digest = next(
            h for h, person in participant_table.valid(con).items() if person.code == "B1"
        )
        assert con.execute(
            "SELECT position, revision, answer FROM answers WHERE code = 'B1'"
        ).fetchall() == [(1, 1, 3)]
    client.headers["Cookie"] = f"{cookies.name}={cookies.make('B1', digest, -1)}"
    status, content = client.ask("/expert/read/answer", sent)
    assert status == 401 and b"open the link again" in content


def test_ten_megabytes_of_own_words_are_refused_and_markup_is_text(served: Served) -> None:
    client = Client(served.base).enter(token_of(served.invite("annotator", "A9")))
    client.ask("/expert/annotate/consent", {})
    unit = json.loads(client.ask("/expert/annotate/state")[1])["unit"]
    answer = synthetic_study.mass() | {
        "words": "<img src=x onerror=alert(1)>",
        "label": "<b>Mass</b>",
    }
    for change, words in (
        ({"words": "x" * 10_000_000}, "too long"),
        ({"words": "x" * 20_000}, "shorten it to 2000"),
        ({"label": "x" * 3000}, "shorten it to 2000"),
        ({"words": "half \ud800"}, "broken character"),
    ):
        status, content = client.ask(
            "/expert/annotate/answer",
            {"token": unit["token"], "answer": answer | change, "seconds": 1},
        )
        assert status == 422 and words in json.loads(content)["sentence"], content
    with store.read(served.study) as con:
        assert not len(annotation_table.of_person(con, synthetic_study.DISSECT, "A9"))
    assert (
        client.ask(
            "/expert/annotate/answer", {"token": unit["token"], "answer": answer, "seconds": 1}
        )[0]
        == 200
    )
    with store.read(served.study) as con:
        assert (
            annotation_table.of_person(con, synthetic_study.DISSECT, "A9").iloc[0]["answer"][
                "words"
            ]
            == "<img src=x onerror=alert(1)>"
        )
    status, content = client.ask(
        "/expert/annotate/answer",
        {"token": unit["token"], "answer": answer | {"words": "other"}, "seconds": 1},
    )
    assert status == 409 and "another window" in json.loads(content)["sentence"]


def test_an_answer_after_the_lock(reading_study: Path, port: int) -> None:
    served = start_server(reading_study, port)
    try:
        client, case = seat(served, "Z1")
        case = client.read("answer", {"token": case["token"], "answer": 2, "seconds": 1.0})["case"]
        with store.write(reading_study) as con:
            now = reading_table.get(con, "ZQXSTUDY", 1)
            reading_table.append_state(
                con,
                protocol="ZQXSTUDY",
                version=1,
                state="closed",
                design=now.design,
                hash=now.hash,
            )
        status, content = client.ask(
            "/expert/read/answer", {"token": case["token"], "answer": 2, "seconds": 1.0}
        )
        assert status == 409 and "has been closed" in json.loads(content)["sentence"]
        state = client.read("state")
        assert (
            state["stage"] == "closed"
            and "has been closed" in state["paragraphs"][0]
            and "case" not in state
        )
        with store.read(reading_study) as con:
            assert con.execute("SELECT count(*) FROM answers WHERE code = 'Z1'").fetchone() == (1,)
    finally:
        stop_server(served)
