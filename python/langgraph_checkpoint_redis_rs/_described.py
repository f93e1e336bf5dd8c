"""Descriptions of classes, made of those that they come from."""

from __future__ import annotations

from inspect import cleandoc

__all__ = ["described"]


def described(source: type, old: str, new: str) -> str:
    """The description of a class with another passage in it.

    Since Python 3.13 docstrings come without the indentation of the source, which other strings
    keep, so all are taken without.
    """
    return cleandoc(source.__doc__ or "").replace(cleandoc(old), cleandoc(new), 1)
