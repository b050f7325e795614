"""A run that is killed at any moment leaves a consistent catalogue; the next one ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from catalogue_writers import at_once, sync, sync_until_killed
from sqlalchemy import Engine, event

from velatura.db.connect import open_database

KILLS = 3
FILES = 120


@contextmanager
def counting() -> Iterator[list[str]]:
    """Collect the statements that are run meanwhile."""
    seen: list[str] = []

    def note(*told: object) -> None:
        seen.append(str(told[2]))

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def is_consistent(target: str | Path) -> bool:
    with closing(open_database(target, read_only=True)) as database, database.reading() as connection:
        run = connection.exec_driver_sql
        if isinstance(target, Path):  # a server looks after these itself
            sound = run("PRAGMA integrity_check").all() == [("ok",)] and not run("PRAGMA foreign_key_check").all()
        else:
            sound = True
        (adapters, records, words) = run(
            "SELECT (SELECT count(*) FROM adapter), (SELECT count(*) FROM record), (SELECT count(*) FROM words_title)"
        ).one()
    return sound and adapters == records == words


def test_killed_at_random_moments_it_ends_with_the_same_rows(target: str | Path, another, rows):
    undisturbed = another()
    for place in (undisturbed, target):
        sync(place, "/adapters", 0, FILES)
    with counting() as statements:
        sync(undisturbed, "/adapters", 1, FILES)
    chance = random.Random(3)
    for _ in range(KILLS):
        # A run goes on where the last one was killed, so that each has that much less to do.
        moment = chance.randrange(1, len(statements) // KILLS)
        assert at_once(sync_until_killed, (moment, target, "/adapters", 1, FILES)) == [-signal.SIGKILL]
        assert is_consistent(target)
    sync(target, "/adapters", 1, FILES)
    assert is_consistent(target)
    assert rows(target) == rows(undisturbed)
