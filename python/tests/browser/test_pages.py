"""Each page says what the programs left."""

from __future__ import annotations

import json
import re

import programs
import pytest
from inspected import Pages, Store, may_answer
from langgraph.types import Command
from playwright.sync_api import Locator, Page, expect


def row(page: Page, thread: str) -> Locator:
    return page.locator(f"tr[data-thread='{thread}']")


def newest(store: Store, thread: str, namespace: str = "") -> str:
    config = {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
    with store.saver() as saver:
        found = saver.get_tuple(config)
        assert found is not None
        return str(found.config["configurable"]["checkpoint_id"])


def test_threads_are_listed_newest_first_with_their_status(reader: Page) -> None:
    expect(reader.locator("h1")).to_have_text("Threads")
    listed = reader.locator("tr[data-thread]").evaluate_all("r => r.map(e => e.dataset.thread)")
    # Other tests leave threads, too.
    ours = [thread for thread in listed if thread.partition("-")[0] not in ("live", "many")]
    assert ours[:4] == ["team-b/one", "team-a/one", "waiting", "asked-twice"]
    for thread, status in {
        "supported": "idle",
        "forked": "idle",
        "waiting": "interrupted",
        "asked-twice": "interrupted",
        "failed": "error",
    }.items():
        expect(row(reader, thread).locator(".status")).to_have_attribute("data-status", status)


def test_threads_are_found_by_prefix_and_metadata(reader: Page, inspector: Pages) -> None:
    reader.fill("#filter", "asks-")
    reader.keyboard.press("Enter")
    expect(reader.locator("tr[data-thread]")).to_have_count(1)
    expect(row(reader, "asks-in-subgraph")).to_be_visible()
    reader.goto(inspector.url(metadata="user=sofia"))
    expect(reader.locator("tr[data-thread]")).to_have_count(1)
    expect(row(reader, "forked")).to_be_visible()
    reader.goto(inspector.url(prefix="nobody-has-this"))
    expect(reader.locator("p.empty")).to_be_visible()


def test_a_thread_is_a_tree_with_forks_and_runs(reader: Page, inspector: Pages) -> None:
    reader.goto(inspector.url("thread", id="forked"))
    expect(reader.locator("h1")).to_have_text("forked")
    steps = reader.locator("li.step")
    sources = reader.locator("li.step .source").all_inner_texts()
    assert sources.count("update") == 2 and sources.count("input") == 1
    # Two changes of one checkpoint and a replay of it: it has three children beside its own.
    expect(reader.locator("li.joint")).to_have_count(1)
    runs = steps.evaluate_all("all => [...new Set(all.map(e => e.dataset.run).filter(Boolean))]")
    assert len(runs) == 4
    classes = steps.evaluate_all("all => [...new Set(all.map(e => e.className))]")
    assert len(classes) >= 4


def test_subgraphs_are_folded_under_the_step_that_called_them(
    reader: Page, inspector: Pages
) -> None:
    reader.goto(inspector.url("thread", id="researched"))
    folded = reader.locator("li.step details.subgraph")
    expect(folded).to_have_count(2)
    assert all(
        re.fullmatch(r"reader:[0-9a-f-]{36}", name or "")
        for name in folded.evaluate_all("all => all.map(e => e.dataset.namespace)")
    )
    inside = folded.first.locator("li.step").first
    expect(inside).to_be_hidden()
    folded.first.locator("summary").click()
    expect(inside).to_be_visible()
    inside.locator("a.primary").click()
    expect(reader.locator("h1")).to_contain_text("Checkpoint")
    expect(reader.locator("dl.facts").first).to_contain_text("reader:")


def test_a_failure_says_where_and_what(reader: Page, inspector: Pages) -> None:
    reader.goto(inspector.url("thread", id="failed"))
    notice = reader.locator("section.notice.failed")
    expect(notice).to_contain_text("check_customers")
    expect(notice).to_contain_text("connection refused after 3 attempts")


def test_a_checkpoint_says_first_what_changed_as_messages(
    reader: Page, inspector: Pages, store: Store
) -> None:
    reader.goto(inspector.url("thread", id="supported"))
    # The step that has the model's first call of a tool.
    reader.locator("li.step[data-checkpoint]").nth(-3).locator("a.primary").click()
    expect(reader.locator("h2").first).to_have_text("What changed")
    changed = reader.locator("main")
    expect(changed).to_contain_text("find_order")
    expect(changed).to_contain_text("4711")
    reader.goto(inspector.url("checkpoint", id="supported", checkpoint=newest(store, "supported")))
    reader.locator("details[data-channel=messages] > summary").click()
    messages = reader.locator("details[data-channel=messages]")
    expect(messages).to_contain_text("Where is my order 4711?")
    expect(messages).to_contain_text("days_late")
    expect(messages).to_contain_text("claim C-")


def test_two_checkpoints_are_compared(reader: Page, inspector: Pages) -> None:
    reader.goto(inspector.url("thread", id="forked"))
    ids = reader.locator("li.step").evaluate_all("all => all.map(e => e.dataset.checkpoint)")
    reader.goto(inspector.url("checkpoint", id="forked", checkpoint=ids[0]))
    reader.fill("input[name=with]", ids[-1])
    reader.get_by_role("button", name="Compare").click()
    expect(reader.locator("h1")).to_have_text("Compare")
    expect(reader.locator("main")).to_contain_text("hotel")


def test_raw_json_is_what_is_stored(reader: Page, inspector: Pages, store: Store) -> None:
    checkpoint = newest(store, "forked")
    url = inspector.url("raw", id="forked", ns="", checkpoint=checkpoint)
    raw = json.loads(reader.context.request.get(url).text())
    assert raw["checkpoint"]["id"] == checkpoint
    assert raw["checkpoint"]["channel_values"]["city"] == "Lisbon"
    assert raw["metadata"]["user"] == "sofia"


def test_each_open_question_has_what_to_paste(reader: Page, inspector: Pages) -> None:
    reader.goto(inspector.url("waiting"))
    threads = reader.locator("article.thread").evaluate_all("all => all.map(e => e.dataset.thread)")
    ours = {thread for thread in threads if "hostile" not in thread}
    assert ours == {"waiting", "asked-twice", "asks-in-subgraph", "team-a/one", "team-b/one"}
    one = reader.locator("article.thread[data-thread=waiting]")
    expect(one).to_contain_text("Refund 89.50 EUR to the customer?")
    expect(one).to_contain_text("approve")
    expect(one.locator("code")).to_contain_text('{"configurable": {"thread_id": "waiting"}}')
    expect(one.locator("code")).to_contain_text("Command(resume=")
    both = reader.locator("article.thread[data-thread=asked-twice] section")
    expect(both).to_have_count(2)
    expect(both.first).to_contain_text("May this be published?")
    expect(both.last).to_contain_text("Is the tone right?")
    inner = reader.locator("article.thread[data-thread=asks-in-subgraph]")
    expect(inner).to_contain_text("Buy it for 30 EUR?")
    expect(inner).to_contain_text("reader:")


@pytest.mark.parametrize("thread", ["waiting", "asked-twice", "asks-in-subgraph"])
def test_the_code_to_paste_answers_the_question(
    reader: Page, inspector: Pages, thread: str
) -> None:
    reader.goto(inspector.url("thread", id=thread))
    sections = reader.locator("section.notice.waiting")
    for number in range(sections.count()):
        section = sections.nth(number)
        pasted: dict[str, object] = {}

        class Graph:
            def invoke(self, command: object, config: object) -> None:
                pasted.update(command=command, config=config)  # noqa: B023

        code = section.locator("pre.copy code").inner_text()
        exec(code, {"Command": Command, "graph": Graph(), "answer": "yes"})
        assert pasted["config"] == {"configurable": {"thread_id": thread}}
        command = pasted["command"]
        assert isinstance(command, Command)
        if sections.count() == 1:
            assert command.resume == "yes"
        else:
            assert command.resume == {section.get_attribute("data-interrupt"): "yes"}


def test_memory_names_the_largest_thread_and_what_fills_it(reader: Page, inspector: Pages) -> None:
    reader.goto(inspector.url("memory"))
    expect(reader.locator("h1")).to_have_text("Memory")
    expect(reader.locator("main")).to_contain_text("large")
    reader.goto(inspector.url("memory", id="large"))
    expect(reader.locator("main")).to_contain_text("messages")
    expect(reader.locator("main")).to_contain_text("prune", ignore_case=True)


def test_health_shows_the_server_and_what_the_doctor_finds(reader: Page, inspector: Pages) -> None:
    reader.goto(inspector.url("health"))
    expect(reader.locator("h1")).to_have_text("Health")
    expect(reader.locator("main")).to_contain_text("127.0.0.1")
    reader.goto(inspector.url("health", examine="1"))
    expect(reader.locator("h1")).to_have_text("Health")


def test_a_bundle_has_the_structure_and_no_value(reader: Page, inspector: Pages) -> None:
    answer = reader.context.request.get(inspector.url("bundle", id="supported"))
    assert "attachment" in answer.headers["content-disposition"]
    text = answer.text()
    json.loads(text)
    for secret in ("supported", "maria", "order 4711", "find_order", "days_late"):
        assert secret not in text, secret


def test_what_is_not_there_is_said(reader: Page, inspector: Pages) -> None:
    may_answer(reader, 404)
    for page, what in {"thread": "thread", "memory": "thread", "checkpoint": "checkpoint"}.items():
        reader.goto(inspector.url(page, id="nobody"))
        expect(reader.locator("p.problem")).to_contain_text(f"no such {what}")


def test_a_large_thread_is_shown_in_bounded_pages(
    reader: Page, inspector: Pages, store: Store
) -> None:
    reader.goto(inspector.url("thread", id="large"))
    expect(reader.locator("li.step").first).to_be_visible()
    reader.goto(inspector.url("checkpoint", id="large", checkpoint=newest(store, "large")))
    reader.locator("details[data-channel=messages] > summary").click()
    messages = reader.locator("details[data-channel=messages]")
    expect(messages).to_contain_text("Answer in turn 3")
    expect(messages).to_contain_text("earlier message")
    assert reader.locator("*").count() < 20_000
    assert len(reader.content()) < 4 << 20


def test_a_long_history_has_pages(reader: Page, inspector: Pages, store: Store) -> None:
    with store.saver() as saver:
        programs.conversation(saver, "many-steps", 40)
    reader.goto(inspector.url("thread", id="many-steps"))
    seen = reader.locator("li.step").count()
    reader.locator("nav.pager a[rel=next]").click()
    expect(reader.locator("nav.pager a[rel=prev]")).to_be_visible()
    seen += reader.locator("li.step").count()
    assert seen == 120
