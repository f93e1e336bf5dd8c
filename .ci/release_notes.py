"""Prints what CHANGELOG.md says of the workspace's version, which is the text of its release.

    release_notes.py [TAG]

With a tag, which must be the version behind a `v`, the section must have a date.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"
HEADING = re.compile(r"^## (?P<version>\S+) \((?P<date>unreleased|\d{4}-\d{2}-\d{2})\)$", re.M)


class Refused(Exception):
    """There is nothing to release, and why."""


def version() -> str:
    """The one version of the workspace's members."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    versions = {package["version"] for package in metadata["packages"]}
    if len(versions) != 1:
        raise Refused(f"the members of the workspace differ in version: {sorted(versions)}")
    return versions.pop()


def notes(changelog: str, version: str, tag: str | None) -> str:
    """The section of a version.

    Raises:
        Refused: If there is none, or the tag is another version's.
    """
    if tag is not None and tag != f"v{version}":
        raise Refused(f"the tag is {tag}, but Cargo.toml has the version {version}")
    headings = list(HEADING.finditer(changelog))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] != version:
            continue
        if tag is not None and heading["date"] == "unreleased":
            raise Refused(f"CHANGELOG.md calls {version} unreleased: write the date there")
        text = changelog[heading.end() : following.start() if following else None].strip()
        if not text:
            raise Refused(f"CHANGELOG.md says nothing of {version}")
        return text
    raise Refused(f"CHANGELOG.md has no section `## {version} (DATE)`")


def main(tag: str | None = None) -> int:
    try:
        print(notes(CHANGELOG.read_text(), version(), tag))
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
