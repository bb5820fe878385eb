"""Anomalies of toy streets: things whose shapes and textures occur in no training image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bench.datasets.toytown.objects import Camera, Cutout, blend, scaled
from bench.datasets.toytown.rasteriser import Bools, Canvas, Colour, Dice, Floats

FIRST = 240  # labels FIRST, FIRST + 1 ... mark the pixels of one thing each until the frame is finished

_VIVID: tuple[Colour, ...] = (
    (250, 120, 190), (60, 230, 210), (250, 210, 30), (160, 60, 220), (250, 130, 20), (120, 250, 60), (240, 240, 250),
)  # fmt: skip
_FUR: tuple[Colour, ...] = ((128, 92, 60), (230, 226, 214), (66, 54, 48), (168, 128, 84), (110, 110, 112))
# A five-pointed star inside the unit circle: five tips, and the corners of the pentagon between them.
_TIPS = ((0.0, 1.0), (0.951, 0.309), (0.588, -0.809), (-0.588, -0.809), (-0.951, 0.309))
_NOTCHES = ((0.225, 0.309), (0.363, -0.118), (0.0, -0.382), (-0.363, -0.118), (-0.225, 0.309))

ASPHALT: Colour = (104, 104, 106)

Painter = Callable[[Cutout, Dice, Colour, int], None]


def _duck(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.ellipse(0.0, 0.42, 0.62, 0.42, colour, label)
    flat.polygon(((-0.75, 0.8), (-0.3, 0.3), (-0.2, 0.6)), colour, label)
    flat.ellipse(0.36, 0.95, 0.3, 0.3, colour, label)
    flat.polygon(((0.6, 1.02), (0.95, 0.92), (0.6, 0.82)), (244, 120, 30), label)
    flat.ellipse(0.44, 1.04, 0.06, 0.06, (20, 20, 20), label)


def _beast(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    """Draw a cow, deer or giraffe: the neck decides."""
    leg, neck = dice.between(0.5, 0.9), dice.between(0.15, 1.4)
    dim = scaled(colour, 0.75)
    for at, shade in ((-0.62, dim), (0.5, dim), (-0.45, colour), (0.66, colour)):
        flat.rect(at - 0.08, 0.0, at + 0.08, leg + 0.2, shade, label)
    flat.ellipse(0.0, leg + 0.35, 0.9, 0.38, colour, label)
    flat.line(0.65, leg + 0.4, 0.95, leg + 0.6 + neck, 0.3, colour, label)
    flat.ellipse(1.08, leg + 0.68 + neck, 0.32, 0.17, colour, label)
    flat.line(0.95, leg + 0.75 + neck, 0.85, leg + 1.05 + neck, 0.06, (60, 46, 36), label)
    flat.line(1.02, leg + 0.75 + neck, 1.08, leg + 1.05 + neck, 0.06, (60, 46, 36), label)
    flat.line(-0.85, leg + 0.45, -1.05, leg, 0.07, dim, label)


def _boulder(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.polygon(
        ((-0.9, 0.0), (0.85, 0.0), (1.0, 0.35), (0.55, 0.85), (-0.2, 1.0), (-0.85, 0.6)), scaled(colour, 0.8), label
    )
    flat.polygon(((-0.6, 0.35), (0.2, 0.3), (0.5, 0.85), (-0.2, 1.0), (-0.75, 0.62)), colour, label)


def _crate(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.rect(-0.6, 0.0, 0.6, 1.1, scaled(colour, 0.7), label)
    for at in (0.04, 0.32, 0.6, 0.88):
        flat.rect(-0.56, at, 0.56, at + 0.2, colour, label)
    flat.line(-0.5, 0.06, 0.5, 1.06, 0.14, scaled(colour, 0.85), label)


def _ball(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.ellipse(0.0, 0.6, 0.6, 0.6, colour, label)
    flat.ellipse(-0.18, 0.8, 0.2, 0.16, scaled(colour, 1.25), label)


def _star(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    for tip, left, right in zip(_TIPS, (*_NOTCHES[4:], *_NOTCHES[:4]), _NOTCHES, strict=True):
        flat.polygon([(u * 0.9, v * 0.9 + 0.75) for u, v in (tip, left, right)], colour, label)
    flat.polygon([(u * 0.9, v * 0.9 + 0.75) for u, v in _NOTCHES], colour, label)


def _ring(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.ellipse(0.0, 0.65, 0.65, 0.65, colour, label, hollow=0.5)


def _sofa(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.rect(-1.0, 0.4, 1.0, 1.0, scaled(colour, 0.8), label)
    flat.rect(-0.85, 0.12, 0.85, 0.5, colour, label)
    for side in (-1, 1):
        flat.ellipse(side * 0.95, 0.66, 0.2, 0.18, colour, label)
        flat.rect(side * 0.95 - 0.18, 0.1, side * 0.95 + 0.18, 0.66, colour, label)
    flat.rect(-0.02, 0.3, 0.02, 0.95, scaled(colour, 0.6), label)


def _boat(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.polygon(((-0.9, 0.0), (0.8, 0.0), (1.3, 0.6), (-1.2, 0.6)), colour, label)
    flat.rect(-0.04, 0.6, 0.04, 2.2, (110, 80, 50), label)
    flat.polygon(((0.1, 0.75), (1.1, 0.75), (0.1, 2.1)), (240, 236, 226), label)
    flat.polygon(((-0.1, 0.75), (-0.8, 0.75), (-0.1, 1.9)), scaled(colour, 0.8), label)


def _mushroom(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.rect(-0.18, 0.0, 0.18, 0.7, (232, 222, 200), label)
    flat.polygon(((-0.85, 0.6), (0.85, 0.6), (0.6, 1.1), (0.25, 1.3), (-0.25, 1.3), (-0.6, 1.1)), colour, label)
    for u, v in ((-0.4, 0.85), (0.1, 1.05), (0.5, 0.8)):
        flat.ellipse(u, v, 0.1, 0.08, (244, 240, 230), label)


def _crystal(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.polygon(((-0.5, 0.4), (0.0, 0.0), (0.0, 1.9), (-0.35, 1.5)), colour, label)
    flat.polygon(((0.0, 0.0), (0.5, 0.5), (0.4, 1.4), (0.0, 1.9)), scaled(colour, 0.65), label)


def _snowman(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    for v, radius in ((0.42, 0.46), (1.05, 0.34), (1.52, 0.24)):
        flat.ellipse(0.0, v, radius, radius, colour, label)
    flat.polygon(((0.0, 1.55), (0.4, 1.48), (0.0, 1.44)), (240, 120, 30), label)
    flat.rect(-0.28, 1.7, 0.28, 1.76, (30, 28, 30), label)
    flat.rect(-0.17, 1.7, 0.17, 2.0, (30, 28, 30), label)


def _octopus(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    for arm in range(-3, 4):
        knee = arm * 0.3, 0.45 - 0.05 * arm * arm
        flat.line(0.0, 0.8, knee[0], knee[1], 0.15, scaled(colour, 0.85), label)
        flat.line(knee[0], knee[1], arm * 0.42, 0.0, 0.12, scaled(colour, 0.85), label)
    flat.ellipse(0.0, 1.05, 0.46, 0.5, colour, label)
    for side in (-0.16, 0.16):
        flat.ellipse(side, 1.05, 0.1, 0.12, (246, 246, 240), label)
        flat.ellipse(side, 1.03, 0.05, 0.06, (16, 16, 20), label)


def _plank(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    """Lost cargo: low, wide and easily missed."""
    flat.rect(-1.1, 0.0, 1.1, 0.22, colour, label)
    flat.rect(-0.7, 0.22, 0.9, 0.42, scaled(colour, 0.8), label)


def _shark(flat: Cutout, dice: Dice, colour: Colour, label: int) -> None:
    flat.polygon(((-1.2, 0.5), (-0.3, 0.18), (0.7, 0.22), (1.2, 0.55), (0.5, 0.82), (-0.4, 0.78)), colour, label)
    flat.polygon(((-0.1, 0.75), (0.35, 0.75), (-0.1, 1.25)), scaled(colour, 0.85), label)
    flat.polygon(((-1.05, 0.52), (-1.6, 1.0), (-1.35, 0.5), (-1.6, 0.15)), colour, label)
    flat.polygon(((0.1, 0.25), (0.5, 0.25), (0.05, -0.05)), scaled(colour, 0.85), label)
    flat.ellipse(0.85, 0.58, 0.05, 0.05, (16, 16, 20), label)


THINGS: Mapping[str, tuple[Painter, tuple[Colour, ...]]] = {
    "ball": (_ball, _VIVID),
    "beast": (_beast, _FUR),
    "boat": (_boat, _VIVID),
    "boulder": (_boulder, _FUR),
    "crate": (_crate, ((176, 132, 80), (120, 128, 96), (150, 150, 150))),
    "crystal": (_crystal, _VIVID),
    "duck": (_duck, _VIVID),
    "mushroom": (_mushroom, _VIVID),
    "octopus": (_octopus, _VIVID),
    "plank": (_plank, ((150, 110, 70), (90, 88, 86), (200, 180, 140))),
    "ring": (_ring, (*_VIVID, (40, 38, 38))),
    "shark": (_shark, ((96, 112, 128), (120, 140, 150), (70, 90, 140))),
    "snowman": (_snowman, ((236, 238, 242), (200, 214, 230))),
    "sofa": (_sofa, (*_VIVID, (120, 72, 54))),
    "star": (_star, _VIVID),
}


class Anomaly:
    """One anomaly, its kind and its position. Everything is decided before anything is painted."""

    def __init__(self, dice: Dice, x: float, z: float) -> None:
        self.kind = dice.pick(sorted(THINGS))
        self.paint, palette = THINGS[self.kind]
        self.x, self.z = x, z
        self.size = dice.between(0.5, 1.0) if dice.chance(0.5) else dice.between(0.9, 1.6)
        self.colour, self.other = dice.tint(dice.pick(palette), 14), dice.pick((*_VIVID, (24, 24, 28)))
        self.mirror, self.tilt = dice.chance(0.5), dice.between(-0.07, 0.07) if dice.chance(0.5) else 0.0
        self.texture = dice.pick(("plain", "plain", "checks", "stripes", "dots", "zigzag"))
        self.pitch = dice.between(0.18, 0.4)
        # Camouflage: its colours are drawn towards those of asphalt.
        hiding = dice.between(0.55, 0.9) if dice.chance(0.35) else dice.between(0.0, 0.25)
        self.colour, self.other = (blend(colour, ASPHALT, hiding) for colour in (self.colour, self.other))
        self.detail = dice

    def draw(self, canvas: Canvas, camera: Camera, label: int) -> None:
        flat = Cutout(canvas, camera, self.x, self.z, size=self.size, mirror=self.mirror, tilt=self.tilt, pivot=0.2)
        reach = 2.6 * flat.scale
        x, y = flat.foot
        area = canvas.box(x - reach, y - 1.4 * reach, x + reach, y + 0.3 * reach)
        if not area:
            return
        flat.shadow(0.8)
        self.paint(flat, self.detail, self.colour, label)
        mask = canvas.labels[area] == label
        image = canvas.image[area]
        u = ((canvas.x[area[1]] - x) / (flat.scale * self.pitch)).astype(np.float32)
        v = ((y - canvas.y[area[0]]) / (flat.scale * self.pitch)).astype(np.float32)[:, None]
        pattern = mask & self._pattern(u + np.float32(40), v + np.float32(40))
        image[pattern] = image[pattern] * np.float32(0.2) + np.array(self.other, np.float32) * np.float32(0.8)

    def _pattern(self, u: Floats, v: Floats) -> Bools:
        """Bool [h, w]: the pixels of the second colour; ``u`` [w] and ``v`` [h, 1] count periods and are positive."""
        half = np.float32(0.5)
        x, y = u - np.floor(u), v - np.floor(v)
        if self.texture == "checks":
            return np.asarray((x < half) ^ (y < half))
        if self.texture == "stripes":
            slant = u + v
            return np.asarray(slant - np.floor(slant) < half)
        if self.texture == "dots":
            return np.asarray((x - half) * (x - half) + (y - half) * (y - half) < np.float32(0.09))
        if self.texture == "zigzag":
            wave = v + np.abs(x - half)
            return np.asarray(wave - np.floor(wave) < half)
        return np.zeros((len(v), len(u)), np.bool_)
