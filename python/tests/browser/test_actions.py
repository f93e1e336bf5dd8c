"""What the service's pages do to threads, each after a confirmation that says what goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import programs
import pytest
from inspected import Open, Service, Store
from playwright.sync_api import Page, expect


@pytest.fixture
def thread(store: Store) -> Iterator[str]:
    """A thread of this test alone."""
    name = f"acts {uuid.uuid4().hex[:8]} <b>&amp;"
    with store.saver() as saver:
        programs.forked(saver, name)
    yield name
    with store.saver() as saver:
        for summary in list(saver.threads(name)):
            saver.delete_thread(summary.thread_id)


@pytest.fixture
def owner(visit: Open, service: Service) -> Page:
    return visit(service, service.keys["all"])


def count(store: Store, thread: str) -> int:
    with store.saver() as saver:
        return sum(1 for _ in saver.list({"configurable": {"thread_id": thread}}))


def ttl(store: Store, thread: str) -> object:
    with store.saver() as saver:
        return next(iter(saver.threads(thread))).ttl


def test_delete_says_what_goes_and_deletes_that_alone(
    owner: Page, service: Service, store: Store, thread: str
) -> None:
    others = count(store, "supported")
    owner.goto(service.url("thread", id=thread))
    owner.get_by_role("link", name="Delete").click()
    form = owner.locator("form[data-action=delete]")
    expect(form).to_contain_text(thread)
    expect(form).to_contain_text(f"{count(store, thread)} checkpoints")
    form.get_by_role("link", name="Cancel").click()
    expect(owner.locator("h1")).to_have_text(thread)
    assert count(store, thread) > 0
    owner.get_by_role("link", name="Delete").click()
    owner.locator("form[data-action=delete] button").click()
    expect(owner.locator("p.done")).to_have_text("The thread is deleted.")
    assert count(store, thread) == 0
    assert count(store, "supported") == others


def test_prune_keeps_the_newest(owner: Page, service: Service, store: Store, thread: str) -> None:
    owner.goto(service.url("thread", id=thread))
    owner.get_by_role("link", name="Prune").click()
    form = owner.locator("form[data-action=prune]")
    expect(form).to_contain_text("cannot be undone")
    owner.fill("#keep", "2")
    form.locator("button").click()
    expect(owner.locator("p.done")).to_have_text("The thread is pruned.")
    assert count(store, thread) == 2


def test_a_thread_is_pinned_and_unpinned(
    owner: Page, service: Service, store: Store, thread: str
) -> None:
    expiring = f"{thread} expires"
    with store.saver(ttl={"default_ttl": 60}) as saver:
        programs.waiting(saver, expiring)
    assert ttl(store, expiring) is not None
    owner.goto(service.url("thread", id=expiring))
    owner.get_by_role("link", name="Pin").click()
    expect(owner.locator("form[data-action=pin]")).to_contain_text("expires in")
    owner.locator("form[data-action=pin] button").click()
    expect(owner.locator("p.done")).to_have_text("The thread is pinned.")
    assert ttl(store, expiring) is None
    owner.goto(service.url("unpin", id=expiring))
    owner.locator("form[data-action=unpin] button").click()
    expect(owner.locator("p.done")).to_have_text("The thread is unpinned.")


def test_a_copy_goes_on_from_a_checkpoint(
    owner: Page, service: Service, store: Store, thread: str
) -> None:
    owner.goto(service.url("thread", id=thread))
    owner.locator("li.step a.primary").last.click()
    owner.get_by_role("link", name="Copy from here").click()
    target = f"{thread} copied"
    owner.fill("#target", target)
    owner.locator("form[data-action=copy] button").click()
    expect(owner.locator("p.done")).to_have_text("The copy is made.")
    assert count(store, target) == 1
    # It is not made twice: what is there is not touched.
    owner.watch.allowed.add(409)  # type: ignore[attr-defined]
    owner.go_back()
    owner.fill("#target", target)
    owner.locator("form[data-action=copy] button").click()
    expect(owner.locator("[role=alert]")).to_be_visible()
    assert count(store, target) == 1


def test_a_confined_key_copies_into_its_own_prefix_alone(
    visit: Open, service: Service, store: Store
) -> None:
    page = visit(service, service.keys["team-a"])
    page.watch.allowed.update({403, 404, 422})  # type: ignore[attr-defined]
    page.goto(service.url("thread", id="team-a/one"))
    page.locator("li.step a.primary").first.click()
    page.get_by_role("link", name="Copy from here").click()
    form = page.locator("form[data-action=copy]")
    expect(form).to_contain_text("team-a/")
    page.fill("#target", "team-b/stolen")
    form.locator("button").click()
    expect(page.locator("[role=alert]")).to_be_visible()
    assert count(store, "team-b/stolen") == 0
