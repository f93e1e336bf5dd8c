"""The pages for everybody: by keyboard, on a telephone, in the dark, without scripts."""

from __future__ import annotations

import os

import pytest
from inspected import PICTURES, ROOT, Open, Pages, Service, Store
from playwright.sync_api import Page, expect

AXE = ROOT / ".cache" / "axe" / "node_modules" / "axe-core" / "axe.min.js"


def newest(store: Store, thread: str) -> str:
    with store.saver() as saver:
        found = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
        assert found is not None
        return str(found.config["configurable"]["checkpoint_id"])


PAGES = {
    "threads": ("", {}),
    "filtered": ("", {"prefix": "nobody"}),
    "forked": ("thread", {"id": "forked"}),
    "subgraphs": ("thread", {"id": "researched"}),
    "failed": ("thread", {"id": "failed"}),
    "waiting-thread": ("thread", {"id": "waiting"}),
    "hostile": ("", {"prefix": "hostile"}),
    "checkpoint": ("checkpoint", {"id": "supported"}),
    "large": ("checkpoint", {"id": "large"}),
    "waiting": ("waiting", {}),
    "memory": ("memory", {}),
    "memory-thread": ("memory", {"id": "large"}),
    "health": ("health", {}),
    "missing": ("thread", {"id": "nobody"}),
}


def opened(page: Page, pages: Pages, name: str) -> None:
    page.watch.allowed.add(404)  # type: ignore[attr-defined]
    path, parameters = PAGES[name]
    page.goto(pages.url(path, **parameters))
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def test_everything_is_reached_by_keyboard(reader: Page, inspector: Pages) -> None:
    page = reader
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_class("skip")
    expect(focused).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("forked")
    page.keyboard.press("Enter")
    page.wait_for_url("**prefix=forked**")
    page.keyboard.press("j")
    expect(page.locator("tr[data-thread=forked] a.primary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("forked")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("li.step a.primary").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Checkpoint")
    # A part that is folded opens by keys.
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details").first).to_have_attribute("open", "")


def test_what_has_the_focus_can_be_seen(reader: Page, inspector: Pages) -> None:
    reader.goto(inspector.url("thread", id="forked"))
    for _ in range(25):
        reader.keyboard.press("Tab")
        style = reader.evaluate(
            """() => {
                const style = getComputedStyle(document.activeElement);
                // After the last one the focus leaves the page.
                if (document.activeElement === document.body) return ["solid", 1, ""];
                return [style.outlineStyle, parseFloat(style.outlineWidth), style.boxShadow];
            }"""
        )
        assert style[0] != "none" and style[1] >= 1 or style[2] != "none", style


def test_letters_that_are_typed_are_no_commands(reader: Page) -> None:
    reader.focus("#filter")
    reader.keyboard.type("jk/")
    expect(reader.locator("#filter")).to_have_value("jk/")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_scrolls_sideways_on_a_telephone(visit: Open, inspector: Pages, name: str) -> None:
    page = visit(inspector, viewport={"width": 360, "height": 740})
    opened(page, inspector, name)
    wide = page.evaluate(
        """() => {
            const root = document.documentElement;
            if (root.scrollWidth <= root.clientWidth) return [];
            return [...document.querySelectorAll("body *")]
                .filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1)
                .slice(0, 5).map((one) => `${one.tagName}.${one.className}`);
        }"""
    )
    assert wide == []
    page.screenshot(path=PICTURES / f"narrow-{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visit: Open, inspector: Pages, name: str, scheme: str) -> None:
    # Only here is the policy off, so that axe can run in the page.
    page = visit(inspector, bypass_csp=True, color_scheme=scheme)
    opened(page, inspector, name)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in background[4:-1].split(",")[:3])
    assert (lightness < 200) == (scheme == "dark"), background
    page.screenshot(path=PICTURES / f"{scheme}-{name}.png")
    page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_forms_and_login_pass_axe(visit: Open, service: Service) -> None:
    page = visit(service, bypass_csp=True)
    page.watch.allowed.add(401)  # type: ignore[attr-defined]
    paths = [service.url("login")]
    paths += [service.url(action, id="forked") for action in ("pin", "unpin", "prune", "delete")]
    for path in paths:
        page.goto(path)
        page.add_script_tag(path=AXE)
        found = page.evaluate("async () => (await axe.run()).violations")
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == [], path
        if "login" in path:
            page.fill("input[name=key]", service.keys["all"])
            page.keyboard.press("Enter")
            page.wait_for_selector("header nav")


def test_pages_work_without_scripts(visit: Open, inspector: Pages, store: Store) -> None:
    page = visit(inspector, java_script_enabled=False)
    page.fill("#filter", "forked")
    page.click("button[type=submit]")
    page.click("tr[data-thread=forked] a.primary")
    expect(page.locator("li.step").first).to_be_visible()
    page.click("li.step a.primary >> nth=0")
    expect(page.locator("h2").first).to_have_text("What changed")
    page.click("summary >> nth=0")
    for tab, heading in (("Waiting", "Waiting"), ("Memory", "Memory"), ("Health", "Health")):
        page.click(f"nav[aria-label=Pages] >> text={tab}")
        expect(page.locator("h1")).to_have_text(heading)
    page.goto(inspector.url("thread", id="researched"))
    page.click("details.subgraph summary >> nth=0")
    expect(page.locator("details.subgraph li.step").first).to_be_visible()


def test_acting_works_without_scripts(visit: Open, service: Service) -> None:
    page = visit(service, java_script_enabled=False)
    page.fill("input[name=key]", service.keys["all"])
    page.click("button[type=submit]")
    page.goto(service.url("pin", id="supported"))
    page.click("form[data-action=pin] button[type=submit]")
    expect(page.locator("p.done")).to_be_visible()


def test_nothing_moves_for_who_wants_no_motion(visit: Open, inspector: Pages) -> None:
    page = visit(inspector, reduced_motion="reduce")
    page.goto(inspector.url("thread", id="forked"))
    assert page.evaluate("document.getAnimations().length") == 0


def test_axe_is_there() -> None:
    assert os.path.isfile(AXE), "run `.ci/run browser`, which installs it"
