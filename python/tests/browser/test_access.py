"""Who gets in, and what a key with a prefix reaches."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
from inspected import Open, Pages, Service, Store, may_answer
from playwright.sync_api import Page, expect

OF_A_THREAD = ["thread", "checkpoint", "raw", "memory", "bundle", "compare"]
ACTIONS = ["copy", "pin", "unpin", "prune", "delete"]


def newest(store: Store, thread: str) -> str:
    with store.saver() as saver:
        found = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
        assert found is not None
        return str(found.config["configurable"]["checkpoint_id"])


def test_the_address_of_inspect_lets_in_once_opened_and_nobody_without(
    visit: Open, inspector: Pages
) -> None:
    page = visit(inspector)
    assert "token" not in page.url
    cookies = page.context.cookies()
    assert len(cookies) == 1
    assert cookies[0]["httpOnly"] and cookies[0]["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == ""
    stranger = page.context.browser
    assert stranger is not None
    with stranger.new_context() as context:
        for path in ("", "thread?id=forked", "waiting", "memory", "health", "events?id=forked"):
            answer = context.request.get(f"{inspector.root}/{path}", max_redirects=0)
            assert answer.status == 401, path
            assert "forked" not in answer.text()


def test_a_key_opens_a_session_and_leaving_ends_it(visit: Open, service: Service) -> None:
    page = visit(service, service.keys["all"])
    expect(page.locator("tr[data-thread=forked]")).to_be_visible()
    cookies = page.context.cookies()
    assert len(cookies) == 1 and cookies[0]["path"] == "/inspector"
    assert cookies[0]["httpOnly"] and cookies[0]["sameSite"] == "Strict"
    assert service.keys["all"] not in cookies[0]["value"]
    page.locator("form[action$=logout] button").click()
    expect(page.locator("input[name=key]")).to_be_visible()
    # The session has ended at the service, too.
    page.context.add_cookies(cookies)
    page.goto(service.url())
    expect(page.locator("input[name=key]")).to_be_visible()


def test_a_wrong_key_is_refused(visit: Open, service: Service) -> None:
    page = visit(service)
    may_answer(page, 401)
    for key in ("wrong", "<script>alert(1)</script>", "x" * 3_000):
        page.fill("input[name=key]", key)
        page.keyboard.press("Enter")
        expect(page.locator("[role=alert]")).to_be_visible()
    assert not page.context.cookies()


def test_who_comes_in_goes_on_to_the_page_that_was_asked_for(visit: Open, service: Service) -> None:
    page = visit(service)
    page.goto(service.url("thread", id="forked"))
    page.fill("input[name=key]", service.keys["all"])
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("forked")


@pytest.mark.parametrize("to", ["//example.com/", "https://example.com/", "/\\example.com"])
def test_nobody_is_led_to_another_host_by_logging_in(
    visit: Open, service: Service, to: str
) -> None:
    page = visit(service)
    page.goto(service.url("login", then=to))
    page.fill("input[name=key]", service.keys["all"])
    may_answer(page, 404)
    page.keyboard.press("Enter")
    page.wait_for_selector("header nav")
    assert page.url.startswith(f"{service.origin}/inspector/")


def test_a_key_with_a_prefix_sees_its_threads_alone(visit: Open, service: Service) -> None:
    page = visit(service, service.keys["team-a"])
    for path in ("", "waiting", "memory"):
        page.goto(service.url(path))
        main = page.locator("main")
        expect(main).to_contain_text("team-a/one")
        for other in ("team-b", "forked", "supported", "large", "asked-twice"):
            expect(main).not_to_contain_text(other)
        # Nor by asking for the prefix of others.
        for prefix in ("team-b", "t", "team-a/../team-b", "forked"):
            page.goto(service.url(path, prefix=prefix))
            expect(page.locator("main")).not_to_contain_text("team-b/one")
            expect(page.locator("main [data-thread=forked]")).to_have_count(0)


def test_a_key_with_a_prefix_reaches_no_page_of_another_thread(
    visit: Open, service: Service, store: Store
) -> None:
    page = visit(service, service.keys["team-a"])
    may_answer(page, 403, 404)
    ids = {thread: newest(store, thread) for thread in ("team-b/one", "forked")}
    for thread, checkpoint in ids.items():
        for path in [*OF_A_THREAD, *ACTIONS, "events"]:
            url = service.url(path, id=thread, ns="", checkpoint=checkpoint)
            url += f"&with={checkpoint}"
            answer = page.context.request.get(url)
            assert answer.status in (403, 404), path
            text = answer.text()
            assert "Refund 89.50" not in text and "Lisbon" not in text, path
    page.goto(service.url("thread", id="team-b/one"))
    expect(page.locator("[role=alert]")).to_be_visible()
    page.goto(service.url("health"))
    expect(page.locator("main")).not_to_contain_text("team-b")


def test_a_session_of_one_browser_is_not_sent_from_another_site(
    visit: Open, service: Service
) -> None:
    """A page of another origin can neither read nor act with the session of who visits it."""
    page = visit(service, service.keys["all"])
    may_answer(page, 400, 401, 403)
    for action in ACTIONS:
        answer = page.context.request.post(
            service.url(action), form={"id": "forked", "keep": "1", "target": "stolen"}
        )
        assert answer.status in (400, 403), action
    csrf = page.goto(service.url("delete", id="forked")) and page.get_attribute(
        "input[name=csrf]", "value"
    )
    assert csrf
    other = visit(service, service.keys["all"])
    may_answer(other, 403)
    # The token of one session is worth nothing in another.
    answer = other.context.request.post(service.url("delete"), form={"id": "forked", "csrf": csrf})
    assert answer.status == 403
    # Nor is it from a page of another site.
    answer = page.context.request.post(
        service.url("delete"),
        form={"id": "forked", "csrf": csrf},
        headers={"Origin": "https://example.com", "Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status == 403
    page.goto(service.url("thread", id="forked"))
    expect(page.locator("h1")).to_have_text("forked")


def test_inspect_answers_its_own_host_name_alone(inspector: Pages) -> None:
    """So that no name of a stranger, which leads to this machine, reaches it."""
    parts = urlsplit(inspector.root)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.request("GET", "/", headers={"Host": f"rebound.example:{parts.port}"})
    answer = connection.getresponse()
    assert answer.status in (400, 403, 421)
    assert b"Threads" not in answer.read()
    connection.close()


def test_inspect_changes_nothing(reader: Page, inspector: Pages) -> None:
    expect(reader.locator("header")).to_contain_text("read only")
    may_answer(reader, 404, 405, 403)
    for action in ACTIONS:
        got = reader.context.request.get(inspector.url(action, id="forked"))
        posted = reader.context.request.post(inspector.url(action), form={"id": "forked"})
        assert got.status == 404 and posted.status in (403, 404, 405)
    reader.goto(inspector.url("thread", id="forked"))
    expect(reader.get_by_role("link", name="Delete")).to_have_count(0)


def test_every_answer_is_protected(reader: Page, inspector: Pages, store: Store) -> None:
    may_answer(reader, 404)
    reader.goto(inspector.url("thread", id="nobody"))
    for page in ("waiting", "memory", "health"):
        reader.goto(inspector.url(page))
    checkpoint = newest(store, "forked")
    reader.goto(inspector.url("checkpoint", id="forked", checkpoint=checkpoint))
    answers = reader.watch.answers  # type: ignore[attr-defined]
    assert len(answers) >= 5
    for answer in answers:
        headers = answer.all_headers()
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, answer.url
        assert headers["x-content-type-options"] == "nosniff", answer.url
        assert headers["referrer-policy"] == "same-origin", answer.url
        assert headers["x-frame-options"] == "DENY", answer.url
        cached = headers["cache-control"]
        assert ("immutable" in cached) == ("/assets/" in answer.url), answer.url
