"""The pages without scripts: what each says first, in both languages, and in its five states."""

import html
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from aegis.core.errors import Denied, ExternalError
from aegis.core.types import PromotionState, State
from aegis.web.portal.pages import causes, moment, remaining
from support.portal_server import Visitor
from support.portal_world import NOW, SORA, World

PAGES = (
    "/", "/runs", "/runs/run-now", "/runs/run-failed", "/runs/run-good", "/runs/run-failed/jobs/job-unit-test",
    "/approvals", "/promotions/pr-orders-prod", "/rollouts/ro1", "/releases", "/releases/orders@1.2.0",
    "/releases/orders@1.2.0/contents", "/releases/orders@1.2.0/compare?from=orders@1.1.0",
    "/merge-requests/shop/orders/12", "/at", "/inbox",
)  # fmt: skip


@pytest.fixture
def world():
    return World()


@pytest.fixture
def sora(world):
    return Visitor(world)


def text(response):
    """What a reader sees of the page, without markup."""
    body = response.text[response.text.index("<main") : response.text.index("</main>")]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_page_answers_in_both_languages_with_all_its_words(sora, page, language):
    answer = sora.get(page, params={"lang": language})
    assert answer.status_code == 200
    assert answer.headers["content-language"] == language
    assert f'<html lang="{language}"' in answer.text
    assert not re.search(r">\s*[a-z]+\.[a-z-]+\s*<", answer.text)
    assert "{" not in text(answer).replace("'[{", "").replace("}]'", "")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_one_heading_a_command_and_the_age_of_its_data(sora, page):
    answer = sora.get(page).text
    assert answer.count("<h1") == 1
    assert 'id="command"' in answer
    assert 'id="age"' in answer


@pytest.mark.parametrize("page", [*PAGES, "/login", "/status", "/promotions/unknown"])
def test_every_page_is_locked_down(sora, page):
    answer = sora.get(page)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|https?://", answer.text)


@pytest.mark.parametrize("page", PAGES)
def test_whoever_is_not_logged_in_is_sent_to_the_login_and_comes_back(world, page):
    answer = Visitor(world, cookie="").get(page)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=%2F")


def test_our_script_is_told_instead_of_sent_away(world):
    assert Visitor(world, cookie="").get("/", headers={"X-Requested-With": "portal"}).status_code == 401


def test_a_link_from_a_mail_takes_one_hop_because_the_cookie_is_strict(world):
    answer = Visitor(world, cookie="").get("/inbox", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0">' in answer.text


# -- the first screens --------------------------------------------------------------------------------------


def test_home_says_what_waits_for_me_before_what_runs_where(sora):
    said = text(sora.get("/"))
    assert said.startswith("Shop Waits for you 1 orders@1.2.0 to production")
    assert said.index("Waits for you") < said.index("What runs where") < said.index("Running now")
    for part in ("1.1.4 ✓ healthy", "push to develop by Mina Kim", "25 % new", "degraded", "5 of 9 jobs"):
        assert part in said


def test_home_says_that_nothing_waits_for_me_when_it_waits_for_others(world):
    said = text(Visitor(world, cookie="cookie-mina").get("/", params={"lang": "en"}))
    assert "Nothing waits for you. · 1 approval waits for others" in said


def test_the_first_day_says_what_to_do_next(world):
    world.empty()
    said = text(Visitor(world).get("/"))
    assert "No service is declared. Add one to aegis.yaml" in said
    assert "No pipeline is running. A push to any branch starts one." in said


def test_what_a_person_should_know_of_the_server_stands_on_top(world):
    world.warnings = ("jobs run without isolation",)
    assert text(Visitor(world).get("/")).startswith("Shop ! jobs run without isolation")


def test_a_running_run_says_how_long_still_and_what_holds_it_up(sora):
    said = text(sora.get("/runs/run-now"))
    assert re.search(r"running for 1 min 3\d s · about 2\d s to go · now: image", said)
    assert "publish · after scan-dependencies, scan-secrets ‖ held: start by hand" in said
    assert "on the critical path" in said
    assert "Critical path: lint → integration-test 1/2 → image" in said


def test_the_end_of_a_run_is_unknown_while_a_job_has_no_usual_time(world):
    view = world.run(SORA, "run-now")
    assert remaining(view, NOW) is not None
    unknown = replace(view, jobs=(*view.jobs[:-1], replace(view.jobs[-1], usual_seconds=None)))
    assert remaining(unknown, NOW) is None


def test_a_failed_run_says_cause_and_mend_before_its_jobs_and_links_to_the_line(sora):
    answer = sora.get("/runs/run-failed")
    said = text(answer)
    assert said.index("Why it failed") < said.index("What helps") < said.index("Jobs lint")
    assert "39.90 EUR instead of 39.95 EUR" in said
    assert 'href="/runs/run-failed/jobs/job-unit-test#cause"' in answer.text
    assert "⊘ blocked coverage 74.1 % of 80 %" in said


def test_a_log_marks_the_line_that_matters_and_can_be_linked_to(sora):
    answer = sora.get("/runs/run-failed/jobs/unit-test")
    assert '<li id="L46" class="cause">' in answer.text
    assert 'href="#L46" id="to-cause"' in answer.text
    assert "<script>alert" not in answer.text


def test_a_log_of_many_lines_shows_the_last_ones_with_their_true_numbers(world):
    world.log = b"".join(b"line %d\n" % one for one in range(1, 300_001))
    answer = Visitor(world).get("/runs/run-failed/jobs/job-unit-test")
    assert '<li id="L300000">' in answer.text
    assert "297000 earlier lines are not shown" in text(answer)


def test_an_empty_log_says_why(world):
    world.log = b""
    assert "This job has written nothing." in text(Visitor(world).get("/runs/run-failed/jobs/job-unit-test"))


def test_a_promotion_shows_the_exact_change_the_evidence_and_who_asks_before_the_buttons(sora):
    answer = sora.get("/promotions/pr-orders-prod")
    said = text(answer)
    assert said.index("Asked by Mina Kim") < said.index("What will change") < said.index("Approve for production")
    assert '<span class="del">-    digest: sha256:1f0b7c2d' in answer.text
    assert "dependencies idna 3.6 has a medium advisory" in said
    assert "Pushed or merged by mina; they cannot approve it." in said


def test_who_may_not_approve_is_told_why_and_has_no_button(world):
    answer = Visitor(world, cookie="cookie-mina").get("/promotions/pr-orders-prod")
    assert "you pushed a change that is in this release" in text(answer)
    assert 'action="/actions/approve"' not in answer.text


def test_a_stale_plan_has_no_button_either(world):
    world.waiting = (replace(world.waiting[0], stale=True),)
    answer = Visitor(world).get("/promotions/pr-orders-prod")
    assert "⊘ stale" in text(answer)
    assert 'action="/actions/approve"' not in answer.text


def test_a_promotion_without_a_verdict_says_so_loudly(world):
    world.waiting = (replace(world.waiting[0], verdict=None),)
    assert "No verdict: nothing has proven this release." in text(Visitor(world).get("/promotions/pr-orders-prod"))


def test_a_rollout_says_rates_decision_and_forecast_and_has_its_table(sora):
    said = text(sora.get("/rollouts/ro1"))
    assert "Failed requests: 0.33 % of 920 on the new version, 0.40 % of 11500 on the previous one." in said
    assert "a decision in about 50 s at 240 requests a second" in said
    assert "69 25 % -2.40 3 / 920 46 / 11500" in said


def test_a_rollout_that_was_not_measured_says_so(world):
    world.points = ()
    assert "Nothing has been measured yet." in text(Visitor(world).get("/rollouts/ro1"))


def test_a_release_leads_back_to_its_commit_and_says_where_it_runs(sora):
    said = text(sora.get("/releases/orders@1.2.0"))
    assert "Where it runs staging ✓ healthy deployed 14 min ago · merge of !12 by Joon Park" in said
    assert "Pushed or merged by mina" in said


def test_a_merge_request_shows_its_note_and_why_it_cannot_be_merged(sora):
    answer = sora.get("/merge-requests/shop/orders/12")
    assert "coverage 74.1 % of 80 %" in text(answer)
    assert "‖ the gates block it" in text(answer)
    assert "<script>alert(1)" not in answer.text


def test_the_inbox_says_each_trouble_once_with_how_often(sora):
    said = text(sora.get("/inbox"))
    assert said.count("the gates block feature/discounts (coverage)") == 1
    assert "3 times · 4 min ago" in said


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"time": "2026-05-04T14:05"}, "2026-05-04T14:05:00"),
        ({"time": "2026-05-04T14:05:30Z"}, "2026-05-04T14:05:30"),
        ({"time": "2026-05-04T23:05+09:00"}, "2026-05-04T14:05:00"),
        ({"minutes": "5"}, (NOW - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S")),
    ],
    ids=["no zone", "UTC", "Seoul", "minutes ago"],  # names that are the same in every process
)
def test_what_ran_at_a_time_can_be_asked_in_any_zone(sora, query, expected):
    assert f'value="{expected}"' in sora.get("/at", params=query).text


def test_a_time_that_is_none_is_told_what_one_looks_like(sora):
    assert "That is not a time. Write it as" in text(sora.get("/at", params={"time": "five"}))
    assert moment("", "x", NOW) == (None, True)
    assert moment("", "", NOW) == (None, False)


# -- forbidden, missing, broken -----------------------------------------------------------------------------


def test_what_does_not_exist_is_said_with_a_way_on(sora):
    answer = sora.get("/runs/unknown")
    assert answer.status_code == 404
    assert "There is no such thing there is no run unknown What helps aegis status shows those there are" in text(
        answer
    )


def test_a_job_that_does_not_exist_is_missing_too(sora):
    assert sora.get("/runs/run-now/jobs/nobody").status_code == 404


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (Denied("not-yours", "you may not see this project", hint="ask dana"), 403, "You may not do this"),
        (ExternalError("store", "the store does not answer"), 502, "That did not work"),
    ],
)
def test_every_page_has_its_forbidden_and_its_error_state(world, page, error, status, says):
    world.fail = error
    answer = Visitor(world).get(page)
    assert answer.status_code == status
    assert says in text(answer)
    assert error.message in text(answer)


# -- the public page ----------------------------------------------------------------------------------------


def test_the_public_page_needs_no_login_and_says_the_worst_first(world):
    said = text(Visitor(world, cookie="").get("/status"))
    assert said.startswith("Shop ● Everything works; a new version is on its way")
    assert "payments was slow for 4 min" in said


def test_the_public_page_of_an_empty_server_does_not_claim_that_all_is_well(world):
    world.empty()
    assert "We cannot tell at the moment" in text(Visitor(world, cookie="").get("/status"))


def test_the_public_page_says_when_it_cannot_tell(world):
    world.fail = ExternalError("store", "the store does not answer")
    assert Visitor(world, cookie="").get("/status").status_code == 502


def test_states_are_never_colour_alone(sora):
    for page in PAGES:
        for inner in re.findall(r'<span class="state [^"]*">(.*?)</span>', sora.get(page).text):
            assert re.search(r'<b aria-hidden="true"[^>]*>\S</b> \S', inner), inner


def test_a_decided_promotion_can_still_be_read(world):
    promotion = replace(world.waiting[0].promotion, state=PromotionState.DEPLOYED, commit="f" * 40)
    world.waiting = (replace(world.waiting[0], promotion=promotion),)
    said = text(Visitor(world).get("/promotions/pr-orders-prod"))
    assert "✓ deployed" in said
    assert "written as ffffffff" in said
    assert "Your decision" not in said


def test_a_finished_run_cannot_be_cancelled(world):
    assert 'action="/actions/cancel"' in Visitor(world).get("/runs/run-now").text
    assert 'action="/actions/cancel"' not in Visitor(world).get("/runs/run-good").text
    assert State.SUCCESS.finished


def test_what_happened_is_said_in_the_readers_language_by_its_type(sora):
    said = text(sora.get("/promotions/pr-orders-prod", params={"lang": "ko"}))
    assert "프로모션 요청 asked for orders@1.2.0" in said


def test_one_cause_that_several_jobs_met_is_told_once(world):
    view = world.run(SORA, "run-failed")
    twice = replace(view, causes=(*view.causes, replace(view.causes[0], job="lint")))
    ((cause, jobs),) = causes(twice)
    assert (cause.code, jobs) == ("test-failed", ("unit-test", "lint"))


def test_branches_are_named_as_people_name_them(sora):
    for page in ("/", "/runs", "/runs/run-now", "/merge-requests/shop/orders/12"):
        assert "refs/heads" not in sora.get(page).text


def test_a_release_can_be_asked_for_and_returned_from_its_own_page(world):
    world.cells_now = tuple(replace(one, previous="orders@1.1.4") for one in world.cells_now)
    page = Visitor(world).get("/releases/orders@1.2.0")
    assert 'action="/actions/promote"' in page.text
    assert "<option selected>production</option>" in page.text
    assert 'action="/actions/rollback"' in page.text
    assert "Return to orders@1.1.4" in text(page)


def test_home_does_not_say_in_the_inbox_again_what_waits_above(sora):
    said = text(sora.get("/"))
    assert "asks for production" not in said
    assert "did not become healthy in development" in said


def test_a_released_file_is_yanked_or_taken_back_whichever_it_is_not(sora):
    answer = sora.get("/releases/orders@1.2.0/contents")
    shown = text(answer)
    assert shown.index("shop") < shown.index("Yank: installers") < shown.index("staging") < shown.index("Yanked")
    assert "loses orders" in shown
    assert answer.text.count('name="chosen" value="1"') == 1
    assert answer.text.count('action="/actions/yank-package"') == 2
    done = sora.post(
        "/actions/yank-package", index="staging", filename="orders-1.2.0-py3-none-any.whl", chosen="1",
        back="/releases/orders@1.2.0/contents",
    )  # fmt: skip
    assert "Installers see it so from now on." in sora.get(done.headers["location"]).text
