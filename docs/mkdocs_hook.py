"""What the site shows otherwise than the repository's own pages."""

from __future__ import annotations

import posixpath
import re
from typing import Any

FENCE = re.compile(r"^```rust\S*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HIDDEN = re.compile(r"^ *#( .*)?\n", re.MULTILINE)
OUTWARD = re.compile(r"\[([^\]\n]+)\]\((\.\./[^)\s]*)\)")
MARK = re.compile(r"^ *<!-- not run: .* -->\n", re.MULTILINE)
LINK = re.compile(r'(<a [^>]*href="(?!\w+:)[^"#]*)\.(?:md|ipynb)([#"])')
ROLE = re.compile(r":(?:class|meth|func|mod|attr):<code>~?(?:[\w.]+\.)?(\w+)</code>")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leave out what is for tests alone, and links to the rest of the repository.

    For tests are marks, and lines of Rust that only `rustdoc` needs.
    """
    folder = posixpath.dirname(page.file.src_uri)

    def without_link(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        return link[1] if target.startswith("..") else link[0]

    markdown = OUTWARD.sub(without_link, MARK.sub("", markdown))
    return FENCE.sub(lambda block: f"```rust\n{HIDDEN.sub('', block[1])}```", markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Show Sphinx' roles in docstrings as the names that they hold, and mend notebooks' links."""
    if page.file.src_uri.endswith(".ipynb"):
        html = LINK.sub(r"\1.html\2", html)
    return ROLE.sub(r"<code>\1</code>", html)
