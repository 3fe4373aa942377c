"""Sign-in and sign-out: the team's link, another person's browser, limits, full disk and busy."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from starlette.requests import Request

from core import store
from core.errors import DiskFullError
from core.store import StoreLockedError, participant_table, run_table
from dashboard.server import context, links
from dashboard.server.invitations import invitation_cache
from dashboard.server.sessions import SessionCookies
from dashboard.server.sign_in import FAILED_SIGN_IN, SignIn
from dashboard.server.sign_in_limits import MAX_ADDRESSES, MAX_FAILURES, WINDOW_S, SignInLimit
from support.guarded_study import HOST, GuardedStudy, http_scope, run


@pytest.fixture
def guarded(tmp_path: Path) -> GuardedStudy:
    return GuardedStudy(tmp_path)


def failed_sign_ins(study: Path) -> list[str]:
    with store.read(study) as con:
        return list(run_table.load_log(con, FAILED_SIGN_IN)["detail"])


def is_valid(study: Path, token: str) -> bool:
    with store.read(study) as con:
        return participant_table.hash_token(token) in participant_table.valid_invitations(con)


class TestTeamLink:
    """The link that the server prints."""

    def test_every_start_prints_the_same_link(self, tmp_path: Path) -> None:
        store.create(tmp_path)
        first = links.ensure_team_link(tmp_path)
        assert links.ensure_team_link(tmp_path) == first
        assert is_valid(tmp_path, first)

    def test_a_revoked_link_stays_revoked(self, tmp_path: Path) -> None:
        store.create(tmp_path)
        used = [links.ensure_team_link(tmp_path)]
        for _ in range(3):
            with store.write(tmp_path) as con:
                participant_table.revoke_invitations(con, links.TEAM_CODE)
            used.append(links.ensure_team_link(tmp_path))
            assert links.ensure_team_link(tmp_path) == used[-1]
        assert len(set(used)) == 4
        assert [is_valid(tmp_path, token) for token in used] == [False, False, False, True]

    def test_a_deleted_key_ends_the_earlier_link(self, tmp_path: Path) -> None:
        store.create(tmp_path)
        first = links.ensure_team_link(tmp_path)
        key = (tmp_path / ".key").read_text()
        (tmp_path / ".key").unlink()
        context.study_secret.cache_clear()  # as a new process
        second = links.ensure_team_link(tmp_path)
        assert (is_valid(tmp_path, first), is_valid(tmp_path, second)) == (False, True)
        (tmp_path / ".key").write_text(key)  # the old key put back
        context.study_secret.cache_clear()
        third = links.ensure_team_link(tmp_path)
        assert third not in (first, second)
        assert not is_valid(tmp_path, first)
        context.study_secret.cache_clear()

    def test_a_link_from_a_page_is_replaced(self, tmp_path: Path) -> None:
        store.create(tmp_path)
        printed = links.ensure_team_link(tmp_path)
        with store.write(tmp_path) as con:
            digest = participant_table.hash_token("from a page")
            participant_table.reissue_invitation(con, links.TEAM_CODE, digest)
        assert not is_valid(tmp_path, printed)
        now = links.ensure_team_link(tmp_path)
        assert now != printed
        assert [is_valid(tmp_path, t) for t in (printed, "from a page", now)] == [0, 0, 1]


@pytest.mark.parametrize("expert", ["R1", "A1"])
def test_an_experts_link_is_refused_where_the_team_is_signed_in(
    guarded: GuardedStudy, expert: str
) -> None:
    team = guarded.cookie("T1")
    status, headers, body = guarded.post_token(guarded.tokens[expert], [team])
    assert status == 409
    assert "Sign out first" in body
    assert 'href="/sign-out"' in body
    assert b"set-cookie" not in headers
    assert guarded.post_token(guarded.tokens["T1"], [team])[0] == 303
    guarded.ask("/sign-out", "POST", [team])
    assert guarded.post_token(guarded.tokens[expert], [team])[0] == 303
    assert guarded.post_token(guarded.tokens["T1"], [guarded.cookie(expert)])[0] == 303


def test_signing_out_ends_this_session_only(guarded: GuardedStudy) -> None:
    here, elsewhere = guarded.cookie("R1"), guarded.cookie("R1")
    status, _, body = guarded.ask("/sign-out", headers=[here])
    assert status == 200
    assert 'method="post" action="/sign-out"' in body
    assert guarded.ask("/", headers=[here])[0] == 200  # the page alone ends nothing
    status, headers, body = guarded.ask("/sign-out", "POST", [here])
    assert status == 200
    assert "You are signed out" in body
    assert b"Max-Age=0" in headers[b"set-cookie"]
    assert guarded.ask("/", headers=[here])[0] == 401  # also for a copy of the cookie
    assert guarded.ask("/", headers=[elsewhere])[0] == 200
    invitation_cache.cache_clear()
    guarded.build()  # as after a restart
    assert guarded.ask("/", headers=[here])[0] == 401
    assert guarded.ask("/", headers=[elsewhere])[0] == 200
    assert guarded.ask("/sign-out", "POST")[0] == 200  # without a session


def test_signing_out_needs_the_own_page(guarded: GuardedStudy) -> None:
    cookie = guarded.cookie("R1")
    foreign = (b"origin", b"http://evil.example")
    assert guarded.ask("/sign-out", "POST", [cookie, foreign])[0] == 403
    assert guarded.ask("/", headers=[cookie])[0] == 200


def test_an_open_websocket_ends_with_the_session(guarded: GuardedStudy) -> None:
    cookie = guarded.cookie("R1")

    def sign_out() -> None:
        with store.write(guarded.path) as con:
            session = SessionCookies(context.study_secret(guarded.path)).read(
                guarded.connection(cookie)
            )
            participant_table.end_session(con, session.name)
        invitation_cache(guarded.path).refresh()

    sent = guarded.websocket([cookie], sign_out)
    assert [m.get("bytes") for m in sent] == [None, b"1", None]
    assert sent[-1]["code"] == 4401


class TestFailedSignIns:
    """At most ten from one address in ten minutes."""

    def test_they_are_limited_by_address(self, guarded: GuardedStudy) -> None:
        clock = [1000.0]
        guarded.build_with_limit(SignInLimit(lambda: clock[0]))
        right = guarded.tokens["R1"]
        for _ in range(MAX_FAILURES):
            assert guarded.post_token("wrong", client="192.0.2.1")[0] == 403
        status, headers, body = guarded.post_token("wrong", client="192.0.2.1")
        assert status == 429
        assert "Wait ten minutes" in body
        assert headers[b"retry-after"] == b"600"
        assert guarded.post_token(right, client="192.0.2.1")[0] == 429
        assert guarded.post_token(right, client="192.0.2.2")[0] == 303
        clock[0] += WINDOW_S - 1
        assert guarded.post_token(right, client="192.0.2.1")[0] == 429
        clock[0] += 2
        assert guarded.post_token(right, client="192.0.2.1")[0] == 303

    def test_they_are_recorded_without_address_and_token(self, guarded: GuardedStudy) -> None:
        for client in ["192.0.2.1"] * (MAX_FAILURES + 5) + ["192.0.2.2"]:
            guarded.post_token("wrong-token", client=client)
        details = failed_sign_ins(guarded.path)
        # Refusals at the limit are not recorded: the log must not be filled from outside.
        assert len(details) == MAX_FAILURES + 1
        assert len(set(details)) == 2
        assert not any("192.0.2" in text or "wrong-token" in text for text in details)

    def test_the_window_moves(self) -> None:
        clock = [0.0]
        limit = SignInLimit(lambda: clock[0])
        for number in range(MAX_FAILURES):
            clock[0] = number * 30.0
            assert not limit.is_exceeded("a")
            limit.record_failure("a")
        assert limit.is_exceeded("a")
        assert not limit.is_exceeded("b")
        clock[0] = WINDOW_S  # the first failure is exactly a window ago
        assert not limit.is_exceeded("a")
        limit.record_failure("a")
        assert limit.is_exceeded("a")

    def test_an_ipv6_network_counts_as_one_address(self) -> None:
        limit = SignInLimit(lambda: 0.0)
        for number in range(MAX_FAILURES):
            limit.record_failure(f"2001:db8:1:2::{number:x}")
        assert limit.is_exceeded("2001:db8:1:2:ffff::1")
        assert not limit.is_exceeded("2001:db8:1:3::1")

    def test_memory_is_bounded(self) -> None:
        limit = SignInLimit(lambda: 0.0)
        for number in range(MAX_ADDRESSES + 50):
            limit.record_failure(f"host{number}")
        assert len(limit._failures) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DiskFullError(Path("/srv/secret-study")), "cannot store anything"),
        (StoreLockedError("The study /srv/secret-study is busy"), "server is busy"),
    ],
)
def test_a_sign_in_that_cannot_be_stored_is_a_page(
    guarded: GuardedStudy, error: Exception, text: str
) -> None:
    class FailingWriter:
        def submit(self, append: object) -> Future:
            future: Future = Future()
            future.set_exception(error)
            return future

    cookie = guarded.cookie("A1")
    guarded.build_with_writer(FailingWriter())
    status, headers, body = guarded.post_token(guarded.tokens["R1"])
    assert status == 503
    assert text in body
    assert "secret-study" not in body
    assert b"set-cookie" not in headers
    assert guarded.post_token("wrong")[0] == 403  # refused although it cannot be recorded
    status, headers, _ = guarded.ask("/sign-out", "POST", [cookie])
    assert status == 200
    assert b"Max-Age=0" in headers[b"set-cookie"]


def test_failures_at_the_institution_are_recorded_up_to_the_limit(guarded: GuardedStudy) -> None:
    sign_in, recorded = SignIn(guarded.path), SignInLimit()
    request = Request(http_scope("/oidc/back", [HOST]))

    async def fail() -> None:
        for _ in range(MAX_FAILURES + 3):
            await sign_in.record_failure(request, "institution", recorded)

    run(fail())
    assert len(failed_sign_ins(guarded.path)) == MAX_FAILURES
    assert not sign_in.limit.is_exceeded("127.0.0.1")  # links stay usable
