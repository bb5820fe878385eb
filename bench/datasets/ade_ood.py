"""ADE-OoD: unknown objects in pictures of everything, for networks that know the 150 classes of ADE20K.

Layout and label values: lmb-freiburg/ade-ood, datasets/ade_ood.py and evaluation.py, which counts 1 as anomaly, leaves
255 out and takes all else for normal. A mask of this reader holds 0, 1 and 255, and another value is an error: say
``values`` if your copy has one. Number of images: ade-ood.github.io.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.listing import Location
from bench.datasets.paired import Paired
from bench.datasets.sides import Ready

ADE20K = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand",
    "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table",
    "pillow", "screen door", "stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower",
    "book", "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar",
    "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight",
    "booth", "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator",
    "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer",
    "plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven",
    "ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
    "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier",
    "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip
"""The 150 classes of the scene parsing challenge, in their order (CSAILVision/sceneparsing, objectInfo150.csv)."""

LOCATION = Location("ade_ood", ("ADE-OoD",))


@dataclass(frozen=True)
class AdeOod(Paired):
    """111 photographs of ADE20K and OpenImages, indoors and outdoors, with objects of none of ADE20K's 150 classes.

    Masks hold 0 normal, 1 anomaly, 255 ignored. A network of street scenes knows next to nothing of what is normal
    here: take one that was trained on ADE20K.
    """

    name = "ade_ood"
    source = "Galesso et al., Diffusion for Out-of-Distribution Detection on Road Scenes and Beyond, arXiv:2407.15739"
    location = LOCATION

    @property
    def class_names(self) -> tuple[str, ...]:
        return ADE20K

    @property
    def published(self) -> int:
        return 111

    @property
    def ready(self) -> Ready:
        return Ready(("images",), ("annotations",), mask_after=("_mask", ""), depth=0)
