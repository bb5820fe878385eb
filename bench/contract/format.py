"""Formats: how a document of results is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.contract.plugin import PlugIn


@dataclass(frozen=True)
class Format(PlugIn, ABC):
    """One way to write a document; ``name`` is what ``bench report --format`` calls it."""

    # Of the file, such as ``.md``; empty for what is printed and makes no file; ``/`` for a folder of files.
    suffix: ClassVar[str] = ""
    tables: ClassVar[frozenset[str]] = frozenset({"all"})  # of all, paper and means: what ``--table`` may ask for

    @abstractmethod
    def write(self, document: Any) -> str | bytes | Mapping[str, bytes]:
        """Return the content of the file; with the suffix ``/`` that of each file of the folder by its name.

        ``document`` is a ``bench.report.document.Document``: it holds every table with its figures, marks and notes, so
        that a format computes nothing. ``document.table`` is what was asked for, one of ``tables``. Words in it come
        from suites and from runs of others: a format escapes them all.
        """
