"""Endings that data sets and tools give to the files of a frame, which are no part of its id."""

TAILS = (  # of images and of labels
    "_leftImg8bit", "_gtFine_labelIds", "_gtFine_labelTrainIds", "_gtCoarse_labelIds", "_gtCoarse_labelTrainIds",
    "_rgb_anon",
)  # fmt: skip


def bare(stem: str, tails: tuple[str, ...] = TAILS) -> str:
    """The stem of a file without those endings; what is nothing but an ending stays."""
    while shorter := next((stem.removesuffix(tail) for tail in tails if stem.endswith(tail) and stem != tail), ""):
        stem = shorter
    return stem
