"""The server in a process of its own: the team's link, its log, a used port, kills and restarts."""

from __future__ import annotations

import http.client
import json
import platform
import socket
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
import uvicorn
from typer.testing import CliRunner

from core import store
from core.errors import UserError
from core.sessions import tokens
from core.store import annotation_table, evidence, participant_table
from core.store.reading import protocol_table
from dashboard import application
from dashboard.cli import app
from dashboard.server import links
from dashboard.server.sessions import SESSION_S, SessionCookies
from support import synthetic_study
from support.expert_client import ExpertClient, begin_reading, token_of
from support.live_server import Served, start_server, stop_server
from support.paths import ROOT
from support.waiting import wait_until

pytestmark = pytest.mark.slow


def test_the_printed_link_signs_the_team_in(served: Served) -> None:
    log = (served.study / "server.log").read_text()
    link = next(line.strip() for line in log.splitlines() if "/enter?token=" in line)
    assert link == links.invitation_link(served.base, links.ensure_team_link(served.study))
    arguments = ["invite", "reader", "--study", str(served.study), "--json"]
    printed = CliRunner().invoke(app, arguments).stdout
    assert json.loads(printed)["result"]["link"].startswith(f"{served.base}/enter?token=")
    team = ExpertClient(served.base)
    assert team.request("/")[0] == 401
    team.sign_in(token_of(link))
    status, page = team.request("/")
    assert status == 200 and b"<title>" in page
    assert team.request("/app/static/inter.woff2")[1][:4] == b"wOF2"


def test_connections_do_not_wait_for_more_bytes() -> None:
    """Asyncio sets TCP_NODELAY only on connections of a listener that names its protocol."""
    for host in ("127.0.0.1", "::1"):
        with application._bind(host, 0) as listener:
            assert listener.proto == socket.IPPROTO_TCP


def test_no_log_contains_a_token(served: Served) -> None:
    link = served.invite("annotator")
    client = ExpertClient(served.base)
    assert client.request("/enter?token=" + token_of(link))[0] == 200
    client.sign_in(token_of(link))
    assert client.request("/expert/annotate/state")[0] == 200
    assert token_of(link) not in (served.study / "server.log").read_text()


def test_messages_for_invalid_requests(served: Served) -> None:
    client = ExpertClient(served.base).sign_in(token_of(served.invite("reader")))
    for body, status, text in (
        ("[1]", 400, "understood"),
        ("{", 400, "understood"),
        ("[" * 30_000 + "]" * 30_000, 400, "understood"),
        ('{"answer": ' * 5_000 + "1" + "}" * 5_000, 400, "understood"),
        ('{"answer": ' * 17 + "1" + "}" * 17, 400, "understood"),
        ("{}", 409, "consent"),
    ):
        got, content = client.request("/expert/read/answer", form=body)
        assert got == status and text in json.loads(content)["message"], content
    got, content = client.request(
        "/expert/read/consent", form=json.dumps({"experience": "x" * 100_000})
    )
    assert got == 413 and "shorten" in json.loads(content)["message"]
    got, content = client.request("/expert/read/consent", {"experience": "x" * 300})
    assert got == 422 and "200 characters" in json.loads(content)["message"]


def test_markup_is_stored_as_text(served: Served) -> None:
    client = ExpertClient(served.base).sign_in(token_of(served.invite("reader", "RX")))
    client.reading_request("consent", {"experience": "<script>alert(1)</script>"})
    with store.read(served.study) as con:
        assert (
            participant_table.load_participants(con).set_index("code").loc["RX", "experience"]
            == "<script>alert(1)</script>"
        )


def test_the_websocket_serves_only_the_own_page(served: Served) -> None:
    """Request a team page by its hash and by its name, as a modified browser could."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.util import calc_hash
    from websockets.sync.client import connect

    client = ExpertClient(served.base).sign_in(token_of(served.invite("reader")))
    pages = Path(application.__file__).parent / "pages"
    got = b""
    for name in ("participants", "annotations", "overview", "annotate"):
        for page_hash in (calc_hash(name), calc_hash(str(pages / f"{name}.py")), ""):
            request = BackMsg()
            request.rerun_script.page_script_hash = page_hash
            request.rerun_script.page_name = "" if page_hash else name
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
                line.send(request.SerializeToString())
                part = b""
                while b"expert_read" not in part and b"not part of your invitation" not in part:
                    part += line.recv(timeout=60)
                got += part
    assert got.count(b"expert_read") >= 12
    for description in (str(ROOT), str(served.study), platform.python_version()):
        assert description.encode() not in got, description
    words = (b"Invite", b"Participants", b"Adjudication", b"expert_annotate")
    for word in (*words, *synthetic_study.WITHHELD):
        assert word not in got, word


def test_study_mistakes_reach_no_expert(served: Served) -> None:
    """A message for the team can contain paths of the server."""
    client = ExpertClient(served.base).sign_in(token_of(served.invite("annotator", "A8")))
    settings = served.study / "study.toml"
    content = settings.read_text()
    settings.write_text("[annotation]\nrepeats = -1\n")
    try:
        status, reply = client.request("/expert/annotate/state")
    finally:
        settings.write_text(content)
    assert status == 500 and "could not process this" in json.loads(reply)["message"]
    assert str(served.study).encode() not in reply and b"study.toml" not in reply


def test_a_used_port_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port}"):
            application.serve_study(
                synthetic_study.create_study(tmp_path / "study", protocol=False), port=port
            )


@pytest.mark.parametrize(
    ("host", "name"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_address_is_known_while_the_server_runs(
    host: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    announced: list[str] = []
    addresses: list[str] = []

    def serve(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        port = sockets[0].getsockname()[1]
        assert links.server_address(study) == f"http://{name}:{port}"
        addresses.append(f"http://{name}:{port}")

    bind = application._bind
    # A machine without IPv6 runs this test as well.
    monkeypatch.setattr(application, "_bind", lambda _, port: bind("127.0.0.1", port))
    monkeypatch.setattr(application, "_import_pages", lambda: None)
    monkeypatch.setattr(uvicorn.Server, "run", serve)
    application.serve_study(study, host, 0, announced.append)
    assert len(addresses) == 1 and links.server_address(study) == "http://127.0.0.1:8501"
    assert str(study) in announced[0] and "do not pass it on" in announced[0]
    with store.read(study) as con:
        [valid] = participant_table.valid_token_hashes(con, "team")
    link, token = announced[-1].strip().split("?token=")
    assert link == f"{addresses[0]}/enter" and participant_table.hash_token(token) == valid


@pytest.fixture(scope="module")
def reading_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with enough reading cases for the tests below, which share it."""
    study = synthetic_study.create_study(
        tmp_path_factory.mktemp("reading") / "study", protocol=False
    )
    with store.write(study) as con:
        synthetic_study.add_protocol(con, 120)
    return study


@pytest.fixture
def closing_study(tmp_path: Path) -> Path:
    """A study that its test may close."""
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(con, 12)
    return study


@pytest.fixture(scope="module")
def port() -> int:
    """A port that the successor of a killed server uses again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_answers_of_many_readers_are_stored_once(reading_study: Path, port: int) -> None:
    served = start_server(reading_study, port)
    readers = [begin_reading(served, f"M{i}") for i in range(8)]

    def read(client: ExpertClient, case: dict, late: float) -> None:
        time.sleep(late)
        for _ in range(4):
            case = client.reading_request(
                "answer", {"token": case["token"], "answer": 4, "seconds": 1.0}
            )["case"]
            time.sleep(0.1)

    threads = [
        threading.Thread(target=read, args=(*reader, i / 25)) for i, reader in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop_server(served)
    with store.read(reading_study) as con:
        assert con.execute(
            "SELECT count(*), count(DISTINCT (code, position)) FROM answers WHERE code LIKE 'M%'"
        ).fetchone() == (32, 32)


def test_kills_neither_lose_nor_repeat_answers(reading_study: Path, port: int) -> None:
    """As the page does, readers send an answer with the same token until it is acknowledged."""
    served = start_server(reading_study, port)
    acknowledged: dict[str, list[int]] = {f"R{i}": [] for i in range(3)}
    over = threading.Event()

    def read(code: str, client: ExpertClient, case: dict) -> None:
        while True:
            value = 1 + (len(acknowledged[code]) + ord(code[1])) % 6
            try:
                reply = client.reading_request(
                    "answer", {"token": case["token"], "answer": value, "seconds": 0.1}
                )
            except (OSError, http.client.HTTPException):
                client.line.close()
                time.sleep(0.05)
                continue
            acknowledged[code].append(value)
            case = reply["case"]
            # An answer that a killed server stored without a reply is sent again first.
            if over.is_set():
                return
            time.sleep(0.03)

    threads = [
        threading.Thread(target=read, args=(code, *begin_reading(served, code)))
        for code in acknowledged
    ]
    for thread in threads:
        thread.start()
    for least in (5, 25):
        wait_until(lambda least=least: sum(map(len, acknowledged.values())) >= least)
        served.process.kill()
        served.process.join()
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
    with store.read(reading_study) as con:
        assert evidence.verify_chain(con).reason == ""


def test_invalid_answers_change_nothing(served: Served) -> None:
    client, case = begin_reading(served, "B1")
    sent = {"token": case["token"], "answer": 3, "seconds": 1.0, "idle": False}
    first = client.reading_request("answer", sent)
    assert (
        client.reading_request("answer", sent)["case"] == first["case"]
    )  # sent again: the same answer, no second row
    for body, expected, text in (
        (sent | {"answer": 4}, 409, "another window"),
        (sent | {"token": "x"}, 409, "another window"),
        ({}, 409, "another window"),
        (sent | {"token": first["case"]["token"], "answer": 7}, 422, "1 to 6"),
        (sent | {"token": first["case"]["token"], "answer": "3"}, 422, "1 to 6"),
    ):
        status, content = client.request("/expert/read/answer", body)
        assert status == expected and text in json.loads(content)["message"], content
    status, content = client.request("/expert/read/answer", sent | {"words": "x" * 10_000_000})
    assert status == 413 and "too long to be saved" in json.loads(content)["message"]
    cookies = SessionCookies(tokens.load_secret_key(served.study))
    with store.read(served.study) as con:
        digest = next(
            h
            for h, person in participant_table.valid_invitations(con).items()
            if person.code == "B1"
        )
        assert con.execute(
            "SELECT position, revision, answer FROM answers WHERE code = 'B1'"
        ).fetchall() == [(1, 1, 3)]
    with mock.patch("itsdangerous.timed.time.time", return_value=time.time() - SESSION_S - 60):
        expired = cookies.sign("B1", digest)
    client.headers["Cookie"] = f"{cookies.name}={expired}"
    status, content = client.request("/expert/read/answer", sent)
    assert status == 401 and b"open the link again" in content


def test_long_texts_are_refused_and_markup_is_text(served: Served) -> None:
    client = ExpertClient(served.base).sign_in(token_of(served.invite("annotator", "A9")))
    client.request("/expert/annotate/consent", {})
    unit = json.loads(client.request("/expert/annotate/state")[1])["unit"]
    answer = synthetic_study.mass_answer() | {
        "words": "<img src=x onerror=alert(1)>",
        "label": "<b>Mass</b>",
    }
    for change, expected, text in (
        ({"words": "x" * 10_000_000}, 413, "too long"),
        ({"words": "x" * 20_000}, 422, "shorten it to 2000"),
        ({"label": "x" * 3000}, 422, "shorten it to 2000"),
        ({"words": "half \ud800"}, 400, "broken character"),
    ):
        status, content = client.request(
            "/expert/annotate/answer",
            {"token": unit["token"], "answer": answer | change, "seconds": 1},
        )
        assert status == expected and text in json.loads(content)["message"], content
    with store.read(served.study) as con:
        assert not len(annotation_table.load_expert_annotations(con, synthetic_study.DISSECT, "A9"))
    assert (
        client.request(
            "/expert/annotate/answer", {"token": unit["token"], "answer": answer, "seconds": 1}
        )[0]
        == 200
    )
    with store.read(served.study) as con:
        assert (
            annotation_table.load_expert_annotations(con, synthetic_study.DISSECT, "A9").iloc[0][
                "answer"
            ]["words"]
            == "<img src=x onerror=alert(1)>"
        )
    status, content = client.request(
        "/expert/annotate/answer",
        {"token": unit["token"], "answer": answer | {"words": "other"}, "seconds": 1},
    )
    assert status == 409 and "another window" in json.loads(content)["message"]


def test_answers_after_closing_are_refused(closing_study: Path, port: int) -> None:
    served = start_server(closing_study, port)
    try:
        client, case = begin_reading(served, "Z1")
        case = client.reading_request(
            "answer", {"token": case["token"], "answer": 2, "seconds": 1.0}
        )["case"]
        with store.write(closing_study) as con:
            now = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
            protocol_table.append_protocol_state(
                con,
                protocol="ZQXSTUDY",
                version=1,
                state="closed",
                design=now.design,
                hash=now.hash,
            )
        status, content = client.request(
            "/expert/read/answer", {"token": case["token"], "answer": 2, "seconds": 1.0}
        )
        assert status == 409 and "has been closed" in json.loads(content)["message"]
        state = client.reading_request("state")
        assert (
            state["stage"] == "closed"
            and "has been closed" in state["paragraphs"][0]
            and "case" not in state
        )
        with store.read(closing_study) as con:
            assert con.execute("SELECT count(*) FROM answers WHERE code = 'Z1'").fetchone() == (1,)
    finally:
        stop_server(served)
