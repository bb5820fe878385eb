"""Runs in this process, and their figures: what tests of several rooms share."""

import json
import time
from pathlib import Path

from bench.run import engine
from bench.run.engine import Options
from bench.suite import expansion


class Silent:
    """A Reporter that counts."""

    def __init__(self):
        self.images = 0
        self.told = []

    def begin(self, images):
        self.total = images

    def stage(self, label): ...

    def advance(self, images):
        self.images += images

    def tell(self, line):
        self.told.append(line)


def run(path, folder, *, only=None, **options):
    """The new results. Images are read in this process unless ``workers`` says otherwise: each one imports again."""
    suite = expansion.load(path)
    suite = suite.only(only) if only else suite
    return list(engine.run(suite, folder, Options(**{"workers": 0} | options), Silent()))


def metrics(folder):
    """The text of every cell's figures, as it stands in its file."""
    figures = {}
    for path in sorted((folder / "cells").glob("*.json")):
        figures[path.stem] = json.dumps(json.loads(path.read_text())["metrics"])
    return figures


def clone():
    return Path(__file__).parents[1]


PATIENCE = 300  # seconds, for what must happen: a bound of a test that hangs, however busy the machine is


def until(condition):
    """Wait for what a condition returns, and return it."""
    end = time.monotonic() + PATIENCE
    while not (met := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.03)
    return met
