"""The demo, and the pictures of it in the documents, which ``--write-pictures`` makes again."""

from __future__ import annotations

import os
import pathlib
import tempfile

import pytest
from inspected import PICTURES, ROOT, Open, Pages, inspecting
from playwright.sync_api import expect

SHOWN = {
    "threads": "",
    "thread": "thread?id=trip-sofia",
    "subgraphs": "thread?id=research-ventilation",
    "checkpoint": "checkpoint?id=support-4711",
    "waiting": "waiting",
    "memory": "memory",
    "health": "health?examine=1",
}


def test_the_demo_shows_threads_of_every_kind_and_is_documented_with_pictures(
    visit: Open, request: pytest.FixtureRequest
) -> None:
    # Its path is short, as it is in a picture.
    with tempfile.TemporaryDirectory() as temporary:
        environment = {**os.environ, "TMPDIR": temporary, "REDIS_URL": "redis://127.0.0.1:1"}
        with inspecting(environment, "--demo") as pages:
            take_pictures(visit, pages, pathlib.Path(temporary), request)
        assert os.listdir(temporary) == []


def take_pictures(
    visit: Open, pages: Pages, temporary: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    page = visit(pages, viewport={"width": 1000, "height": 640})
    statuses = page.locator(".status").evaluate_all("all => all.map(e => e.dataset.status)")
    assert set(statuses) == {"idle", "interrupted", "error"}
    assert len(list(temporary.iterdir())) == 1
    for name, path in SHOWN.items():
        page.goto(f"{pages.root}/{path}")
        expect(page.locator("h1")).to_be_visible()
        if name == "subgraphs":
            page.locator("details.subgraph summary").last.click()
        picture = PICTURES / f"inspector-{name}.png"
        page.screenshot(path=picture)
        assert picture.stat().st_size < 150_000
        if request.config.getoption("--write-pictures"):
            target = ROOT / "docs" / "images" / picture.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(picture.read_bytes())
    # Nothing of the page lives on with its server.
    page.goto("about:blank")
