"""What forms do: one verb each, from our own pages only, answered by a way back."""

import pytest

from aegis.core.errors import Conflict, Denied
from support.portal_server import Visitor
from support.portal_world import HASH, WHEEL, World

APPROVE = {"promotion": "pr-orders-prod", "plan_hash": HASH, "back": "/promotions/pr-orders-prod", "comment": "go"}


@pytest.fixture
def world():
    return World()


@pytest.fixture
def sora(world):
    return Visitor(world)


def test_an_approval_goes_to_the_commands_with_its_plan_and_comes_back(sora, world):
    answer = sora.post("/actions/approve", confirm="production", **APPROVE)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/promotions/pr-orders-prod?done=approve&min_seq=241"
    assert world.done == [("approve", {"promotion": "pr-orders-prod", "plan_hash": HASH, "comment": "go"}, "sora")]
    assert "Approved." in sora.get(answer.headers["location"]).text


@pytest.mark.parametrize("typed", ["", "staging", "Production"])
def test_production_is_not_approved_before_its_name_is_typed(sora, world, typed):
    answer = sora.post("/actions/approve", confirm=typed, **APPROVE)
    assert answer.status_code == 422
    assert world.done == []
    assert 'aria-invalid="true" aria-describedby="problem"' in answer.text
    assert ">go</textarea>" in answer.text


def test_a_rejection_needs_no_name(sora, world):
    assert sora.post("/actions/reject", **APPROVE).status_code == 303
    assert world.done[0][0] == "reject"


@pytest.mark.parametrize(
    ("verb", "fields", "passed"),
    [
        ("cancel", {"run": "run-now"}, {"run": "run-now"}),
        ("retry", {"run": "run-failed", "job": "unit-test"}, {"run": "run-failed", "job": "unit-test"}),
        ("play", {"run": "run-now", "job": "publish"}, {"run": "run-now", "job": "publish"}),
        (
            "yank-package", {"index": "shop", "filename": WHEEL, "reason": "loses orders"},
            {"index": "shop", "filename": WHEEL, "reason": "loses orders"},
        ),
        (
            "yank-package", {"index": "shop", "filename": WHEEL, "chosen": "1"},
            {"index": "shop", "filename": WHEEL, "back": True},
        ),
        ("merge", {"project": "shop/orders", "number": "12"}, {"project": "shop/orders", "number": 12}),
        ("rollback", {"service": "orders", "environment": "production", "reason": " slow "},
         {"service": "orders", "environment": "production", "reason": "slow"}),
        ("promote", {"service": "orders", "environment": "production", "release": "orders@1.2.0", "emergency": "on"},
         {"service": "orders", "environment": "production", "release": "orders@1.2.0", "emergency": True}),
    ],
)  # fmt: skip
def test_each_form_is_one_verb_with_its_own_fields_and_no_others(sora, world, verb, fields, passed):
    assert sora.post(f"/actions/{verb}", smuggled="x", **fields).status_code == 303
    assert world.done == [(verb, passed, "sora")]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/actions/destroy", {}, 404),
        ("/actions/observe-deployment", {}, 404),
        ("/actions/cancel", {}, 400),
        ("/actions/merge", {"project": "shop/orders", "number": "1e3"}, 400),
    ],
)
def test_forms_that_are_none_are_refused(sora, world, path, fields, status):
    assert sora.post(path, **fields).status_code == status
    assert world.done == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://aegis.test"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.parametrize("path", ["/actions/cancel", "/login", "/logout"])
def test_a_form_from_elsewhere_is_refused_whatever_cookie_it_brings(sora, world, headers, path):
    answer = sora.ask("POST", path, data={"run": "run-now", "credential": "one-time-code"}, headers=headers)
    assert answer.status_code == 403
    assert world.done == []
    assert "set-cookie" not in answer.headers
    assert "cookie-sora" in world.people


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Denied("four-eyes", "whoever pushed a change cannot approve it", hint="ask a release manager"), 403),
        (Conflict("plan-stale", "the plan has moved", hint="ask for a new one"), 409),
    ],
)
def test_a_refused_command_says_why_what_helps_and_leads_back(sora, world, error, status):
    world.refuse = error
    answer = sora.ask("POST", "/actions/approve", data={**APPROVE, "confirm": "production"},
                      headers={"Origin": "http://aegis.test", "Referer": "http://aegis.test/promotions/pr-orders-prod"})  # fmt: skip
    assert answer.status_code == status
    for part in (error.message, error.hint, error.code, 'href="/promotions/pr-orders-prod"'):
        assert part in answer.text


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "runs"]
)
def test_a_way_back_never_leads_elsewhere(sora, back):
    answer = sora.post("/actions/cancel", run="run-now", back=back)
    assert answer.headers["location"].startswith("/?done=cancel")


def test_an_action_without_a_login_asks_for_one(world):
    answer = Visitor(world, cookie="").post("/actions/cancel", run="run-now")
    assert answer.headers["location"].startswith("/login")
    assert world.done == []


# -- sessions -----------------------------------------------------------------------------------------------


def test_a_token_opens_a_session_whose_cookie_is_out_of_reach(world):
    answer = Visitor(world, cookie="").post("/login", credential="token-" + "sora", next="/inbox")
    assert (answer.status_code, answer.headers["location"]) == (303, "/inbox")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("aegis_session=cookie-sora; HttpOnly")
    assert "SameSite=strict" in cookie


def test_over_tls_the_cookie_is_secure(world):
    answer = Visitor(world, cookie="").ask(
        "POST",
        "https://aegis.test/login",
        data={"credential": "one-time-code"},
        headers={"Origin": "https://aegis.test"},
    )
    assert "Secure" in answer.headers["set-cookie"]


def test_a_one_time_link_opens_a_session(world):
    answer = Visitor(world, cookie="").get("/login?code=one-time-code")
    assert answer.status_code == 303
    assert "cookie-mina" in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/login?code=used", "/login?code=x&next=//evil.example"])
def test_a_link_that_is_none_is_refused_kindly_and_leads_nowhere_else(world, path):
    answer = Visitor(world, cookie="").get(path)
    assert answer.status_code == 403
    assert "not valid" in answer.text
    assert 'name="next" value="/"' in answer.text
    assert "code=" not in answer.text


def test_logging_out_closes_the_session_and_forgets_the_cookie(sora):
    answer = sora.post("/logout")
    assert answer.headers["location"] == "/login"
    assert 'aegis_session=""' in answer.headers["set-cookie"]
    assert sora.get("/").status_code == 303


# -- logs ---------------------------------------------------------------------------------------------------


def test_a_trace_is_read_from_an_offset_and_nothing_executes_it(sora):
    answer = sora.get("/jobs/run-failed/job-unit-test/trace?offset=10")
    assert answer.headers["x-next-offset"]
    assert answer.headers["x-complete"] == "true"
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_lines_of_a_growing_log_go_on_with_their_numbers(sora, world):
    world.log, world.log_complete = b"one\ntwo\nthr", False
    answer = sora.get("/jobs/run-now/job-image/trace?as=lines&offset=4&line=2")
    assert answer.text.strip() == '<li id="L2"><a href="#L2">2</a><span>two</span></li>'
    assert (answer.headers["x-next-offset"], answer.headers["x-complete"]) == ("8", "false")


def test_the_whole_log_is_an_attachment(sora, world):
    world.log = b"x" * 3_000_000
    answer = sora.get("/jobs/run-failed/job-unit-test/trace?as=file")
    assert len(answer.content) == 3_000_000
    assert answer.headers["content-disposition"].startswith("attachment")


def test_a_log_is_not_for_strangers(world):
    assert Visitor(world, cookie="").get("/jobs/run-failed/job-unit-test/trace").status_code == 401


def test_files_are_kept_for_ever_under_their_content(sora):
    page = sora.get("/").text
    address = page.split('<link rel="stylesheet" href="')[1].split('"')[0]
    answer = sora.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert sora.get("/static/x/../../doors.py").status_code == 404
    assert sora.get("/static/x/secret.txt").status_code == 404
    assert sora.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_our_script_is_small():
    from aegis.web.portal.rendering import static

    assert len(static("portal.js")) < 20 * 1024
