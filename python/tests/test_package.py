"""What comes with the installed package."""

from __future__ import annotations

from importlib import metadata


def test_the_licence_is_in_the_package():
    files = metadata.files("langgraph-checkpoint-redis-rs") or []
    (licence,) = [file for file in files if file.name == "LICENSE"]
    assert "MIT" in licence.read_text()
