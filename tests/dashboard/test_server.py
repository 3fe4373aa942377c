"""The real server in its own process: the team's link, its log, a busy port, a kill in the middle of answering."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import synthetic
from serving import Served, start_server, stop_server

from core import store
from core.errors import UserError
from core.store import people
from dashboard import server


class Client:
    """A browser without a window: keeps a cookie."""

    def __init__(self, base: str) -> None:
        self.line = http.client.HTTPConnection(base.removeprefix("http://"), timeout=20)
        self.headers: dict[str, str] = {}

    def ask(self, path: str, body: object = None, form: str | None = None) -> tuple[int, bytes]:
        """(status, body); a dict is posted as JSON, a form as it is."""
        headers = dict(self.headers)
        sent = form.encode() if form is not None else json.dumps(body).encode() if body is not None else None
        self.line.request("POST" if sent is not None else "GET", path, sent, headers)
        reply = self.line.getresponse()
        content = reply.read()
        self.line.close()
        if reply.getheader("set-cookie"):
            self.headers["Cookie"] = reply.getheader("set-cookie").split(";")[0]
        return reply.status, content

    def enter(self, token: str) -> Client:
        """Sign in."""
        assert self.ask("/enter", form=f"token={token}")[0] == 303
        return self

    def read(self, path: str, body: object = None) -> dict:
        """One request of the reader's desk that must succeed."""
        status, content = self.ask(f"/expert/read/{path}", body)
        assert status == 200, content
        return json.loads(content)


def token_of(link: str) -> str:
    return link.split("token=")[1]


def test_the_printed_link_opens_the_teams_pages_and_stays_the_same(served: Served) -> None:
    log = (served.study / "server.log").read_text()
    link = next(line.strip() for line in log.splitlines() if "/enter?token=" in line)
    assert link == server.link(served.base, server.team_token(served.study))
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
    for body, status, words in (("[1]", 409, "understood"), ("{", 409, "understood"), ("{}", 409, "consent")):
        got, content = client.ask("/expert/read/answer", form=body)
        assert got in (status, 422) and words in json.loads(content)["sentence"], content
    got, content = client.ask("/expert/read/consent", form=json.dumps({"experience": "x" * 100_000}))
    assert got == 422 and "shorten" in json.loads(content)["sentence"]
    got, content = client.ask("/expert/read/consent", {"experience": "x" * 300})
    assert got == 422 and "200 characters" in json.loads(content)["sentence"]


def test_markup_is_stored_and_shown_as_text(served: Served) -> None:
    client = Client(served.base).enter(token_of(served.invite("reader", "RX")))
    client.read("consent", {"experience": "<script>alert(1)</script>"})
    with store.read(served.study) as con:
        assert people.people(con).set_index("code").loc["RX", "experience"] == "<script>alert(1)</script>"


def test_a_page_forged_over_the_websocket_is_the_own_page(served: Served) -> None:
    """Asks as the browser would, but for the hash and the name of a team page."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.util import calc_hash
    from websockets.sync.client import connect

    client = Client(served.base).enter(token_of(served.invite("reader")))
    pages = Path(server.__file__).parent / "pages"
    got = b""
    for name in ("people", "annotations", "overview", "annotate"):
        for asked in (calc_hash(name), calc_hash(str(pages / f"{name}.py")), ""):
            ask = BackMsg()
            ask.rerun_script.page_script_hash = asked
            ask.rerun_script.page_name = "" if asked else name
            headers = {"Cookie": client.headers["Cookie"], "X-Auth-Role": "team", "X-Auth-Who": "team"}
            with connect(served.base.replace("http", "ws") + "/_stcore/stream", additional_headers=headers, subprotocols=["streamlit"], compression=None) as line:
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
            server.serve(synthetic.make(tmp_path / "study", protocol=False), port=port)


def test_kill_while_answering_loses_and_doubles_nothing(tmp_path: Path) -> None:
    study = synthetic.make(tmp_path / "study", protocol=False)
    with store.write(study) as con:
        synthetic.add_protocol(con, 120)
    acknowledged: dict[str, int] = {}
    served = start_server(study)
    tokens = {f"R{i}": token_of(served.invite("reader", f"R{i}")) for i in range(3)}

    def read(code: str) -> None:
        client = Client(served.base).enter(tokens[code])
        try:
            case = client.read("state")["stage"] == "case" and client.read("state")["case"]
            if not case:
                client.read("consent", {})
                case = client.read("begin", {})["case"]
            while True:
                reply = client.read("answer", {"token": case["token"], "answer": 1 + acknowledged.get(code, 0) % 6, "seconds": 0.1})
                acknowledged[code] = acknowledged.get(code, 0) + 1
                case = reply["case"]
        except (OSError, http.client.HTTPException):
            return
    for _ in range(2):
        threads = [threading.Thread(target=read, args=(code,)) for code in tokens]
        for thread in threads:
            thread.start()
        threads[0].join(1.5)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
        for thread in threads:
            thread.join()
        served = start_server(study)
    stop_server(served)
    with store.read(study) as con:
        rows = dict(con.execute("SELECT code, count(*) FROM answers GROUP BY code").fetchall())
        doubled = con.execute("SELECT count(*) FROM answers WHERE revision > 1").fetchone()[0]
        gaps = con.execute("SELECT count(*) FROM (SELECT code FROM answers GROUP BY code HAVING max(position) <> count(*))").fetchone()[0]
    assert sum(acknowledged.values()) > 20
    # At most one answer per reader and kill may be stored without having been acknowledged; none the other way round.
    assert all(acknowledged[c] <= rows[c] <= acknowledged[c] + 2 for c in tokens) and doubled == 0 and gaps == 0


def test_many_readers_at_once_are_acknowledged_soon(tmp_path: Path) -> None:
    study = synthetic.make(tmp_path / "study", protocol=False)
    with store.write(study) as con:
        synthetic.add_protocol(con, 100)
    served = start_server(study)
    waits: list[float] = []

    def read(token: str, late: float) -> None:
        client = Client(served.base).enter(token)
        client.read("consent", {})
        case = client.read("begin", {})["case"]
        time.sleep(late)
        for _ in range(4):
            start = time.perf_counter()
            case = client.read("answer", {"token": case["token"], "answer": 4, "seconds": 1.0})["case"]
            waits.append(time.perf_counter() - start)
            time.sleep(0.7)
    threads = [threading.Thread(target=read, args=(token_of(served.invite("reader")), i / 25)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop_server(served)
    with store.read(study) as con:
        assert con.execute("SELECT count(*), count(DISTINCT (code, position)) FROM answers").fetchone() == (80, 80)
    waits.sort()
    assert waits[int(0.95 * len(waits))] < 0.6, f"p95 {waits[int(0.95 * len(waits))]:.3f} s"
