"""An open thread follows what its graph does."""

from __future__ import annotations

import programs
from inspected import Open, Pages, Store
from langgraph.types import Command
from playwright.sync_api import Page, expect


def test_an_open_thread_shows_the_steps_of_a_running_graph(
    reader: Page, inspector: Pages, store: Store
) -> None:
    with store.saver() as saver:
        steps = programs.step_by_step(saver, "live")
        next(steps)
        reader.goto(inspector.url("thread", id="live"))
        expect(reader.locator("[data-live-mark]")).to_be_visible()
        expect(reader.locator("li.step")).to_have_count(3)
        first = reader.locator("li.step").last.get_attribute("data-checkpoint")
        reader.evaluate("window.notLoadedAgain = true")
        next(steps)
        expect(reader.locator("li.step")).to_have_count(6, timeout=20_000)
        next(steps)
        expect(reader.locator("li.step")).to_have_count(9, timeout=20_000)
        assert reader.evaluate("window.notLoadedAgain")
        assert reader.locator("li.step").last.get_attribute("data-checkpoint") == first


def test_what_was_unfolded_and_focused_stays_so(
    reader: Page, inspector: Pages, store: Store
) -> None:
    with store.saver() as saver:
        programs.researched(saver, "live-subgraph")
        reader.goto(inspector.url("thread", id="live-subgraph"))
        expect(reader.locator("[data-live-mark]")).to_be_visible()
        before = reader.locator("li.step").count()
        folded = reader.locator("details.subgraph").first
        folded.locator("summary").click()
        key = folded.get_attribute("data-key")
        link = reader.locator("li.step a.primary").last
        link.focus()
        href = link.get_attribute("href")
        programs.researched(saver, "live-subgraph")
        expect(reader.locator(".history > li.step")).not_to_have_count(before, timeout=20_000)
        reader.wait_for_function(
            f"document.querySelectorAll('li.step').length > {before}", timeout=20_000
        )
        expect(reader.locator(f"details[data-key='{key}']")).to_have_attribute("open", "")
        assert reader.evaluate("document.activeElement.getAttribute('href')") == href


def test_a_question_appears_and_goes_when_it_is_answered(
    visit: Open, inspector: Pages, store: Store
) -> None:
    page = visit(inspector)
    with store.saver() as saver:
        programs.waiting(saver, "live-question")
        page.goto(inspector.url("thread", id="live-question"))
        expect(page.locator("[data-live-mark]")).to_be_visible()
        expect(page.locator("section.notice.waiting")).to_have_count(1)
        config = {"configurable": {"thread_id": "live-question"}}
        programs.refunding(saver).invoke(Command(resume="yes"), config)
        expect(page.locator("section.notice.waiting")).to_have_count(0, timeout=20_000)
        expect(page.locator(".strip .status")).to_have_attribute("data-status", "idle")
