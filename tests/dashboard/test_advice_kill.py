"""A server that dies between the lock of a first answer and the reply with the advice."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

from core import store
from core.store import evidence, participant_table
from support import synthetic_study
from support.advice_study import add_advice_study
from support.expert_client import ExpertClient, token_of
from support.live_server import start_server, stop_server
from support.waiting import wait_until

# Every reply to a reader waits, so that the process is killed after the commit and before the
# reply. A reply without a lock leaves at once.
SLOW_REPLIES = (
    "import dashboard.components.http as http;"
    " from pathlib import Path;"
    " wait = http.seconds_until_reply;"
    " http.seconds_until_reply = lambda s: 60 if Path({flag!r}).exists() else wait(s);"
)


def test_a_kill_after_the_lock_loses_nothing_and_reveals_nothing(tmp_path: Path) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    add_advice_study(study, readers=())
    flag = tmp_path / "slow"
    served = start_server(study, before=SLOW_REPLIES.format(flag=str(flag)))
    client = ExpertClient(served.base).sign_in(token_of(served.invite("reader", "R1")))
    client.reading_request("consent", {})
    case = client.reading_request("begin", {})["case"]
    sent = {"token": case["token"], "answer": 5, "seconds": 1.0}
    received: list[object] = []
    flag.touch()

    def answer() -> None:
        try:
            received.append(client.request("/expert/read/answer", sent))
        except (OSError, http.client.HTTPException) as error:
            received.append(type(error))

    thread = threading.Thread(target=answer)
    thread.start()

    def locked() -> list[tuple]:
        with store.read(study) as con:
            return con.execute("SELECT code, position, stage, value FROM reading_stages").fetchall()

    wait_until(lambda: locked() != [])
    assert received == []
    served.process.kill()
    served.process.join()
    thread.join()
    # The connection ended without a byte of a reply.
    assert len(received) == 1 and isinstance(received[0], type), received
    flag.unlink()
    served = start_server(study)
    try:
        again = ExpertClient(served.base)
        again.headers = client.headers
        # The page sends the answer again, as it does until it is acknowledged.
        reply = again.reading_request("answer", sent)
        assert reply["case"]["step"] == "final" and reply["case"]["first_answer"] == 5
        assert again.reading_request("state")["case"] == reply["case"]
        assert again.request("/expert/read/answer", sent | {"answer": 2})[0] == 409
    finally:
        stop_server(served)
    assert locked() == [("R1", 1, "first answer", "5")]
    with store.read(study) as con:
        assert participant_table.has_consented(con, "R1")
        assert evidence.verify_chain(con).valid
