"""The leaderboards: what they take, whether they are open, and what is left to do by hand.

A status is what was read on a page on a day. Nothing here asks the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """One leaderboard."""

    title: str
    status: str
    checked: str  # the day on which the status was read, year-month-day; empty where nobody did
    page: str
    takes: str
    steps: tuple[str, ...]  # what is left to the user once the archive is there


BOARDS: Mapping[str, Board] = {
    "smiyc": Board(
        "SegmentMeIfYouCan",
        "open: an automated competition on Codabench (number 5402)",
        "2026-04-08",
        "https://segmentmeifyoucan.com/submit",
        "one zip of float16 maps in HDF5, AnomalyTrack-all (110) and ObstacleTrack-all (442)",
        (
            "read https://segmentmeifyoucan.com/submit: which folder stands at the root of the zip is said nowhere in"
            " words; --root tree (default) or --root sets chooses it",
            "create an account on https://www.codabench.org and join competition 5402",
            "upload the zip; keep what the server returns, and make leaderboard_entry.json of it:"
            " bench submit entry OUT --returned FILE",
            "questions go to submission at segmentmeifyoucan.com",
        ),
    ),
    "fishyscapes": Board(
        "Fishyscapes",
        "closed since February 2026: the form is shut and the runner is down; the maintainer offers tests by hand"
        " (hermannsblum/fishyscapes#83)",
        "2026-02-23",
        "https://fishyscapes.com/submission",
        "a container that turns /input/*.png into /output/*_anomaly.npy and /output/*_segmentation.npy",
        (
            "build the image where there is Docker or Apptainer: the commands stand in README.md of the package",
            "while the board is closed: ask in https://github.com/hermannsblum/fishyscapes/issues whether a test by"
            " hand is offered, or submit to SegmentMeIfYouCan",
            "should it open again: fork hermannsblum/fishyscapes, open a pull request that puts"
            " validation_performance.json in the place of the one there",
            "upload the image (below 10 GB, Apptainer 1.1.5) through the form, with the number of the pull request",
        ),
    ),
    "cityscapes": Board(
        "Cityscapes, pixel-level semantic labeling",
        "taken to be open: its page was not looked at",
        "",
        "https://www.cityscapes-dataset.com/submit",
        "one zip of PNG files of label ids, 1525 of test (500 of val are for a check of your own)",
        (
            "log in on https://www.cityscapes-dataset.com/submit and upload the zip of --split test",
            "the limit of its size is not published: try the upload before the day it is due",
            "test is for final figures: the server allows few submissions",
        ),
    ),
}


def listing() -> list[tuple[str, str]]:
    """Rows of ``bench list leaderboards``."""
    return [(name, f"{board.status} [{_when(board)}]; {board.takes}") for name, board in BOARDS.items()]


def left_to_do(name: str) -> list[str]:
    """The status of a board and the steps that nobody but the user can take, as lines."""
    board = BOARDS[name]
    lines = [f"{board.title}: {board.status} ({_when(board)}, {board.page})", "left to do by hand:"]
    return lines + [f"  {number}. {step}" for number, step in enumerate(board.steps, 1)]


def _when(board: Board) -> str:
    return f"checked {board.checked}" if board.checked else "not checked"
