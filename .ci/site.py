"""Builds the documentation site into target/site, with what docs/requirements.txt installs.

Fails on a warning, on a link that leads nowhere, and on a page that would ask another host.
"""

import os
import pathlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

ROOT = pathlib.Path(__file__).resolve().parents[1]
SITE = ROOT / "target" / "site"


class Page(HTMLParser):
    """What a page loads, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses of a tag."""
        named = dict(attrs)
        relations = (named.get("rel") or "").split()
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.loads.append(named.get("src") or "")
        elif tag == "link" and not {"canonical", "next", "prev"} & set(relations):
            self.loads.append(named.get("href") or "")
        elif tag == "a":
            self.links.append(named.get("href") or "")


IN_CSS = re.compile(r"(?:@import\s*|url\()[\"']?((?:https?:)?//[^\"')]+)")


def is_elsewhere(address: str) -> bool:
    """Whether an address is on another host."""
    return bool(urlsplit(address).netloc)


def findings() -> list[str]:
    """What is wrong with the pages that were built."""
    found = []
    for path in sorted(SITE.rglob("*.html")):
        page = Page()
        page.feed(path.read_text())
        name = path.relative_to(SITE)
        found += [f"{name} loads {address}" for address in page.loads if is_elsewhere(address)]
        if name.name == "404.html":
            continue  # Its links are from the root of the host.
        for address in page.links + page.loads:
            parts = urlsplit(address)
            if not parts.scheme and not parts.netloc and parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
                if not (target.is_file() or (target / "index.html").is_file()):
                    found.append(f"{name} leads to {address}, which is not there")
    for path in sorted(SITE.rglob("*.css")):
        for address in re.findall(
            r"(?:@import\s*|url\()[\"']?((?:https?:)?//[^\"')]+)", path.read_text()
        ):
            found.append(f"{path.relative_to(SITE)} loads {address}")
    return found


# The notice is about another program.
environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
# Not `--quiet`, under which `--strict` sees no warnings.
build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
if code := subprocess.run(build, cwd=ROOT, env=environment).returncode:
    sys.exit(code)
wrong = findings()
for line in wrong:
    print(line, file=sys.stderr)
if wrong:
    sys.exit(1)
print(f"{len(list(SITE.rglob('*.html')))} pages are in {SITE.relative_to(ROOT)}")
