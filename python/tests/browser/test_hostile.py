"""What threads hold is shown as text, whatever it is."""

from __future__ import annotations

import programs
import pytest
from inspected import Pages, Store, may_answer
from playwright.sync_api import Page

NUMBERS = range(len(programs.HOSTILE))


def is_harmless(page: Page) -> None:
    """No value has become a part of the page."""
    found = page.evaluate(
        """() => ({
            hacked: window.hacked ?? null,
            title: document.title,
            bodies: document.querySelectorAll("body").length,
            mains: document.querySelectorAll("main").length,
            scripts: [...document.scripts].map((one) => one.src),
            images: document.querySelectorAll("img, iframe, object, embed, base").length,
            handlers: [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes])
                .filter((one) => one.name.startsWith("on") || one.name === "style").length,
            links: [...document.links].map((one) => one.protocol),
            headings: [...document.querySelectorAll("h1")].map((one) => one.textContent),
        })"""
    )
    assert found["hacked"] is None
    assert found["title"] != "hacked"
    assert (found["bodies"], found["mains"], found["images"], found["handlers"]) == (1, 1, 0, 0)
    assert len(found["scripts"]) == 1 and found["scripts"][0].endswith(".js")
    assert set(found["links"]) <= {"http:"}
    assert len(found["headings"]) == 1 and found["headings"][0] != "hacked"
    shown = page.locator("body").inner_text()
    # Neither the terminal of who copies it nor the order of the text is changed.
    unseen = [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0]
    assert not unseen
    reorders = [c for c in shown if c in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f"]
    assert not reorders


def threads(store: Store) -> list[str]:
    with store.saver() as saver:
        return sorted(summary.thread_id for summary in saver.threads("hostile "))


@pytest.mark.parametrize("path", ["", "waiting", "memory", "health"])
def test_lists_show_hostile_ids_as_text(reader: Page, inspector: Pages, path: str) -> None:
    reader.goto(inspector.url(path, **({"prefix": "hostile "} if path != "health" else {})))
    is_harmless(reader)
    if path == "":
        assert reader.locator("tr[data-thread]").count() == len(programs.HOSTILE)
        assert programs.SCRIPT in reader.locator("table").inner_text()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_hostile_thread_is_shown_as_text_on_every_page(
    reader: Page, inspector: Pages, store: Store, number: int
) -> None:
    thread = threads(store)[number]
    reader.goto(inspector.url(prefix=thread))
    row = reader.locator("tr[data-thread] a.primary")
    assert row.count() == 1
    # The link names exactly the thread that it is of.
    assert row.evaluate("a => new URL(a.href).searchParams.get('id')") == thread
    row.click()
    reader.wait_for_selector("li.step")
    is_harmless(reader)
    for details in reader.locator("summary").all():
        details.click()
    is_harmless(reader)
    steps = reader.locator("li.step a.primary").evaluate_all("all => all.map(a => a.href)")
    for step in steps[:3]:
        reader.goto(step)
        reader.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        is_harmless(reader)
    reader.goto(inspector.url("memory", id=thread))
    is_harmless(reader)


def test_a_hostile_id_that_does_not_exist_is_shown_as_text(reader: Page, inspector: Pages) -> None:
    may_answer(reader, 400, 404, 422)
    for text in programs.HOSTILE:
        for page in ("thread", "checkpoint"):
            reader.goto(inspector.url(page, id=text[:500], checkpoint=text[:500]))
            is_harmless(reader)
    reader.goto(inspector.url(metadata=programs.SCRIPT, prefix=programs.HOSTILE[3]))
    is_harmless(reader)


def test_the_policy_would_stop_a_script_that_came_through(reader: Page) -> None:
    """The policy is a second wall: it holds where the first one is broken on purpose."""
    watch = reader.watch  # type: ignore[attr-defined]
    reader.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.body.append(script);
            const button = "<b id=b onclick='window.hacked = 2'>b</b>";
            document.body.insertAdjacentHTML("beforeend", button);
            document.getElementById("b").click();
        }"""
    )
    assert reader.evaluate("window.hacked ?? null") is None
    refused = [what for what in watch.found if "Content Security Policy" in what]
    assert len(refused) == 2
    watch.found.clear()
