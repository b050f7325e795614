"""Runs: many pictures painted into one folder, with a manifest of what made each and a contact sheet."""

from __future__ import annotations

from .manifest import Entry, read_manifest
from .run import RunReport, run
from .sheet import write_sheets

__all__ = ["Entry", "RunReport", "read_manifest", "run", "write_sheets"]
