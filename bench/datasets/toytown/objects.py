"""The things in a toy street: vehicles, people, trees and street furniture, each drawn from a few shapes.

Metres everywhere: X to the right of the camera, Y up from the ground, Z ahead. Labels are Cityscapes train ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.contract.dataset import CITYSCAPES
from bench.datasets.toytown.rasteriser import Canvas, Colour, Dice, Point

(
    ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY, PERSON, RIDER,
    CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE,
) = range(len(CITYSCAPES))  # fmt: skip

PAINT: tuple[Colour, ...] = (
    (186, 40, 36), (38, 72, 150), (226, 226, 222), (36, 38, 42), (128, 132, 138), (70, 108, 84), (206, 164, 60),
    (150, 170, 190), (92, 60, 52), (180, 92, 40),
)  # fmt: skip
CLOTH: tuple[Colour, ...] = (
    (172, 46, 46), (44, 62, 118), (54, 54, 58), (206, 198, 186), (86, 118, 72), (196, 158, 74), (122, 84, 140),
    (84, 140, 158), (108, 86, 66),
)  # fmt: skip
SKIN: tuple[Colour, ...] = ((232, 190, 160), (198, 148, 112), (142, 98, 70), (96, 66, 50))
GLASS: Colour = (62, 78, 92)
RUBBER: Colour = (24, 24, 26)
STEEL: Colour = (112, 114, 116)
LAMP: Colour = (255, 236, 190)
TAIL: Colour = (214, 30, 26)


def scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def blend(colour: Colour, other: Colour, share: float) -> Colour:
    """Return ``share`` of the other colour plus the rest of the first."""
    red, green, blue = (start + (end - start) * share for start, end in zip(colour, other, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Camera:
    """A pinhole; lengths on the screen are fractions of the image height."""

    focal: float
    height: float  # metres above the ground
    horizon: float
    centre: float

    def project(self, x: float, y: float, z: float) -> Point:
        return self.centre + self.focal * x / z, self.horizon + self.focal * (self.height - y) / z


class Cutout:
    """A flat figure facing the camera; (u, v) are metres to the right of and above its foot."""

    def __init__(
        self, canvas: Canvas, camera: Camera, x: float, z: float, *, lift: float = 0.0, size: float = 1.0,
        mirror: bool = False, tilt: float = 0.0, pivot: float = 0.0,
    ) -> None:  # fmt: skip
        """``tilt`` is the tangent of half the angle by which it leans around the height ``pivot``."""
        self.canvas, self.depth = canvas, z
        self.scale = size * camera.focal / z
        self.side = -1.0 if mirror else 1.0
        self.cos, self.sin = (1 - tilt * tilt) / (1 + tilt * tilt), 2 * tilt / (1 + tilt * tilt)
        self.pivot = pivot
        self.foot = camera.project(x, lift, z)

    def at(self, u: float, v: float) -> Point:
        u, v = u * self.side, v - self.pivot
        turned = u * self.cos - v * self.sin, u * self.sin + v * self.cos + self.pivot
        return self.foot[0] + turned[0] * self.scale, self.foot[1] - turned[1] * self.scale

    def rect(self, u0: float, v0: float, u1: float, v1: float, colour: Colour, label: int, glow: float = 0.0) -> None:
        if self.sin:
            self.polygon(((u0, v0), (u1, v0), (u1, v1), (u0, v1)), colour, label, glow)
        else:
            (left, bottom), (right, top) = self.at(u0, v0), self.at(u1, v1)
            self.canvas.rect(min(left, right), top, max(left, right), bottom, colour, label, self.depth, glow)

    def ellipse(
        self, u: float, v: float, ru: float, rv: float, colour: Colour, label: int, glow: float = 0.0,
        hollow: float = 0.0,
    ) -> None:  # fmt: skip
        x, y = self.at(u, v)
        self.canvas.ellipse(x, y, ru * self.scale, rv * self.scale, colour, label, self.depth, glow, hollow)

    def polygon(self, points: Sequence[Point], colour: Colour, label: int, glow: float = 0.0) -> None:
        self.canvas.polygon([self.at(u, v) for u, v in points], colour, label, self.depth, glow)

    def line(self, u0: float, v0: float, u1: float, v1: float, thickness: float, colour: Colour, label: int) -> None:
        self.canvas.line(self.at(u0, v0), self.at(u1, v1), thickness * self.scale, colour, label, self.depth)

    def shadow(self, reach: float, factor: float = 0.6) -> None:
        x, y = self.foot
        self.canvas.shade(x, y, reach * self.scale, reach * self.scale * 0.18, factor)


class Box:
    """A vehicle along the street: its near face, and the side that the camera sees."""

    def __init__(self, canvas: Canvas, camera: Camera, x: float, z: float, width: float, length: float) -> None:
        self.canvas, self.camera, self.z, self.far = canvas, camera, z, z + length
        self.near = Cutout(canvas, camera, x, z)
        self.half, self.length = width / 2, length
        self.flank = x - self.half if x > self.half else x + self.half if x < -self.half else None
        shadow = [(x - self.half - 0.1, z - 0.3), (x + self.half + 0.1, z - 0.3)]
        shadow += [(x + self.half + 0.1, z + length), (x - self.half - 0.1, z + length)]
        points = [camera.project(u, 0.0, w) for u, w in shadow]
        area = canvas.box(
            min(p[0] for p in points), min(p[1] for p in points), max(p[0] for p in points), max(p[1] for p in points)
        )
        if area:
            canvas.image[area][canvas.inside(area, points)] *= canvas.image.dtype.type(0.45)

    def side(self, points: Sequence[Point], colour: Colour, label: int, inset: float = 0.0, glow: float = 0.0) -> None:
        """Fill a polygon on the visible flank; points are (fraction of the length from the near end, height)."""
        if self.flank is not None:
            x = self.flank - inset if self.flank < 0 else self.flank + inset
            corners = [self.camera.project(x, v, self.z + w * self.length) for w, v in points]
            self.canvas.polygon(corners, colour, label, self.z + self.length * 0.4, glow)

    def wheels(self, fractions: Sequence[float], radius: float, label: int) -> None:
        if self.flank is None:
            return
        for fraction in fractions:
            z = self.z + fraction * self.length
            x, y = self.camera.project(self.flank, radius, z)
            before, _ = self.camera.project(self.flank, radius, z - radius)
            behind, _ = self.camera.project(self.flank, radius, z + radius)
            wide, high = max(abs(behind - before) / 2, 0.1 / self.canvas.height), self.camera.focal * radius / z
            self.canvas.ellipse(x, y, wide, high, RUBBER, label, z)
            self.canvas.ellipse(x, y, wide * 0.5, high * 0.5, STEEL, label, z)


def car(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, towards: bool) -> None:
    """Draw a car along the street, seen from behind or, coming towards the camera, from the front."""
    paint = dice.tint(dice.pick(PAINT), 16)
    style = dice.pick((0, 0, 0, 1, 2))  # saloon, high car, van
    top, belt = ((1.46, 0.92), (1.72, 1.02), (2.05, 1.12))[style]
    length = dice.between(3.8, 4.9)
    box = Box(canvas, camera, x, z, dice.between(1.7, 1.86), length)
    flat, half, dim = box.near, box.half, scaled(paint, 0.72)
    rear = 0.04 if style == 2 else dice.between(0.05, 0.12)
    box.side(((0, 0.3), (1, 0.3), (1, belt - 0.1), (0.0, belt)), dim, CAR)
    box.side(((rear, belt), (0.8, belt), (0.62, top), (rear + 0.08, top)), dim, CAR, -0.1)
    box.side(
        ((rear + 0.05, belt + 0.04), (0.74, belt + 0.04), (0.6, top - 0.1), (rear + 0.11, top - 0.1)), GLASS, CAR, -0.08
    )
    box.wheels((0.2, 0.8), 0.33, CAR)
    for wheel in (-1, 1):
        flat.rect(wheel * half * 0.95, 0.0, wheel * half * 0.62, 0.4, RUBBER, CAR)
    flat.polygon(
        (
            (-half, 0.28),
            (half, 0.28),
            (half, belt * 0.9),
            (half * 0.92, belt),
            (-half * 0.92, belt),
            (-half, belt * 0.9),
        ),
        paint,
        CAR,
    )
    narrow = half * (0.92 if style == 2 else 0.78)
    flat.polygon(((-half * 0.92, belt), (half * 0.92, belt), (narrow, top), (-narrow, top)), scaled(paint, 0.9), CAR)
    flat.polygon(
        (
            (-half * 0.8, belt + 0.04),
            (half * 0.8, belt + 0.04),
            (narrow * 0.9, top - 0.12),
            (-narrow * 0.9, top - 0.12),
        ),
        GLASS,
        CAR,
    )
    if z > 45:
        return
    flat.rect(-half, 0.3, half, 0.44, scaled(paint, 0.6), CAR)
    flat.rect(-0.26, 0.5, 0.26, 0.62, (214, 214, 206), CAR)
    for wheel in (-1, 1):
        lamp, glow = (LAMP, 1.0) if towards else (TAIL, 0.9)
        flat.ellipse(wheel * half * 0.76, belt * 0.74, 0.17, 0.1, lamp, CAR, glow)


def truck(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, towards: bool) -> None:
    """Draw a lorry with a box body; the box of some is as plain as a wall."""
    paint, load = dice.tint(dice.pick(PAINT), 14), dice.tint(dice.pick(((220, 218, 210), *PAINT[:7])), 18)
    length, top = dice.between(6.0, 9.5), dice.between(2.9, 3.8)
    box = Box(canvas, camera, x, z, 2.4, length)
    flat, half = box.near, box.half
    cab = (0.0, 0.24) if towards else (0.76, 1.0)
    load_at = (0.27, 1.0) if towards else (0.0, 0.73)
    box.side(((0, 0.5), (1, 0.5), (1, 0.85), (0, 0.85)), (44, 44, 46), TRUCK)
    box.side(((load_at[0], 0.85), (load_at[1], 0.85), (load_at[1], top), (load_at[0], top)), scaled(load, 0.74), TRUCK)
    box.side(((cab[0], 0.5), (cab[1], 0.5), (cab[1], 2.5), (cab[0], 2.5)), scaled(paint, 0.74), TRUCK)
    box.side(((cab[0] + 0.04, 1.5), (cab[1] - 0.06, 1.5), (cab[1] - 0.06, 2.25), (cab[0] + 0.04, 2.25)), GLASS, TRUCK)
    box.wheels((0.14, 0.7, 0.84) if towards else (0.16, 0.3, 0.88), 0.48, TRUCK)
    for wheel in (-1, 1):
        flat.rect(wheel * half * 0.95, 0.0, wheel * half * 0.55, 0.6, RUBBER, TRUCK)
    if towards:
        flat.rect(-half, 0.85, half, top, scaled(load, 0.9), TRUCK)
        flat.rect(-half * 0.98, 0.4, half * 0.98, 2.5, paint, TRUCK)
        flat.rect(-half * 0.86, 1.45, half * 0.86, 2.3, GLASS, TRUCK)
        flat.rect(-half * 0.5, 0.75, half * 0.5, 1.25, scaled(paint, 0.5), TRUCK)
    else:
        flat.rect(-half, 0.5, half, 0.9, (50, 50, 52), TRUCK)
        flat.rect(-half, 0.9, half, top, load, TRUCK)
        flat.rect(-0.04, 0.9, 0.04, top, scaled(load, 0.6), TRUCK)
        for shelf in (0.3, 0.65):
            flat.rect(-half, 0.9 + (top - 0.9) * shelf, half, 0.98 + (top - 0.9) * shelf, scaled(load, 0.8), TRUCK)
    for wheel in (-1, 1):
        lamp, glow = (LAMP, 1.0) if towards else (TAIL, 0.9)
        flat.rect(wheel * half * 0.92, 0.62, wheel * half * 0.7, 0.8, lamp, TRUCK, glow)


def bus(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, towards: bool) -> None:
    paint = dice.tint(dice.pick(((196, 44, 40), (228, 186, 60), (222, 222, 216), (52, 96, 160), (60, 128, 84))), 12)
    length, top = dice.between(9.0, 12.0), 3.05
    box = Box(canvas, camera, x, z, 2.5, length)
    flat, half = box.near, box.half
    box.side(((0, 0.35), (1, 0.35), (1, top), (0, top)), scaled(paint, 0.74), BUS)
    for pane in range(6):
        left = 0.03 + pane * 0.16
        lit = 0.8 if canvas.dark else 0.0
        glass = (232, 206, 150) if canvas.dark else GLASS
        box.side(((left, 1.3), (left + 0.13, 1.3), (left + 0.13, 2.4), (left, 2.4)), glass, BUS, 0.0, lit)
    box.side(((0, 0.75), (1, 0.75), (1, 0.95), (0, 0.95)), scaled(paint, 0.45), BUS)
    box.wheels((0.2, 0.76), 0.48, BUS)
    for wheel in (-1, 1):
        flat.rect(wheel * half * 0.95, 0.0, wheel * half * 0.6, 0.5, RUBBER, BUS)
    flat.rect(-half, 0.3, half, top, paint, BUS)
    flat.rect(-half * 0.9, 1.2 if towards else 1.6, half * 0.9, 2.5, GLASS, BUS)
    flat.rect(-half * 0.7, 2.6, half * 0.7, 2.92, (28, 28, 24), BUS)
    if towards:
        flat.rect(-half * 0.5, 2.68, half * 0.4, 2.84, (244, 176, 50), BUS, 0.9)
    flat.rect(-half, 0.3, half, 0.55, scaled(paint, 0.5), BUS)
    for wheel in (-1, 1):
        lamp, glow = (LAMP, 1.0) if towards else (TAIL, 0.9)
        flat.ellipse(wheel * half * 0.8, 0.78, 0.16, 0.12, lamp, BUS, glow)


def tram(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, towards: bool) -> None:
    """Draw a train on the street: longer and taller than a bus, with a band and a rounded face."""
    paint = dice.tint(dice.pick(((206, 206, 200), (204, 60, 44), (220, 190, 84), (58, 92, 140))), 12)
    band = dice.pick(((180, 36, 36), (40, 70, 130), (36, 90, 70)))
    box = Box(canvas, camera, x, z, 2.5, dice.between(20.0, 32.0))
    flat, half, top = box.near, box.half, 3.5
    box.side(((0, 0.25), (1, 0.25), (1, top), (0, top)), scaled(paint, 0.76), TRAIN)
    lit, glass = (0.8, (226, 214, 170)) if canvas.dark else (0.0, (52, 62, 72))
    for pane in range(9):
        left = 0.02 + pane * 0.109
        box.side(((left, 1.5), (left + 0.09, 1.5), (left + 0.09, 2.7), (left, 2.7)), glass, TRAIN, 0.0, lit)
    box.side(((0, 0.5), (1, 0.5), (1, 1.0), (0, 1.0)), scaled(band, 0.8), TRAIN)
    flat.polygon(
        ((-half, 0.2), (half, 0.2), (half, 2.9), (half * 0.7, top), (-half * 0.7, top), (-half, 2.9)), paint, TRAIN
    )
    flat.polygon(
        ((-half * 0.85, 1.5), (half * 0.85, 1.5), (half * 0.72, 2.75), (-half * 0.72, 2.75)), (40, 48, 56), TRAIN
    )
    flat.rect(-half * 0.98, 0.5, half * 0.98, 1.0, band, TRAIN)
    flat.rect(-half * 0.4, 2.9, half * 0.4, 3.2, (240, 190, 70), TRAIN, 0.9)
    flat.ellipse(0.0, 1.25, 0.16, 0.16, LAMP if towards else TAIL, TRAIN, 1.0)
    for lamp in (-0.7, 0.7):
        flat.ellipse(lamp * half, 0.75, 0.14, 0.14, LAMP if towards else TAIL, TRAIN, 1.0)
    # The pantograph is too thin to be a class of its own.
    flat.line(-0.3, top, 0.0, top + 0.7, 0.06, (40, 40, 42), TRAIN)
    flat.line(0.3, top, 0.0, top + 0.7, 0.06, (40, 40, 42), TRAIN)


def passing(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, kind: int) -> None:
    """Draw a car, truck, bus or train seen from its side, as it crosses the street."""
    flat = Cutout(canvas, camera, x, z, mirror=dice.chance(0.5))
    paint = dice.tint(dice.pick(PAINT), 16)
    lit, glass = (0.8, (228, 208, 156)) if canvas.dark and kind in {BUS, TRAIN} else (0.0, GLASS)
    if kind == CAR:
        flat.shadow(2.3)
        flat.polygon(((-2.1, 0.3), (2.1, 0.3), (2.15, 0.7), (1.3, 0.95), (-2.0, 0.98), (-2.15, 0.7)), paint, CAR)
        flat.polygon(((-1.7, 0.93), (1.2, 0.93), (0.5, 1.46), (-1.2, 1.46)), scaled(paint, 0.9), CAR)
        flat.polygon(((-1.5, 0.97), (-0.25, 0.97), (-0.25, 1.36), (-1.12, 1.36)), GLASS, CAR)
        flat.polygon(((-0.15, 0.97), (1.0, 0.97), (0.42, 1.36), (-0.15, 1.36)), GLASS, CAR)
        flat.rect(-0.22, 0.35, -0.18, 0.95, scaled(paint, 0.6), CAR)
        flat.ellipse(2.05, 0.72, 0.12, 0.1, LAMP, CAR, 1.0)
        flat.ellipse(-2.05, 0.74, 0.1, 0.1, TAIL, CAR, 0.9)
        axles, radius = [-1.35, 1.35], 0.34
    elif kind == TRUCK:
        flat.shadow(4.2)
        top = dice.between(2.9, 3.7)
        flat.rect(-4.0, 0.5, 4.0, 0.85, (46, 46, 48), TRUCK)
        flat.rect(-4.0, 0.85, 1.9, top, dice.tint((206, 204, 196), 26), TRUCK)
        flat.polygon(((2.1, 0.5), (4.0, 0.5), (4.0, 1.5), (3.7, 2.5), (2.1, 2.5)), paint, TRUCK)
        flat.polygon(((2.9, 1.5), (3.85, 1.5), (3.6, 2.3), (2.9, 2.3)), GLASS, TRUCK)
        axles, radius = [-3.0, -2.0, 3.0], 0.48
    else:
        half, top = (5.5, 3.05) if kind == BUS else (14.0, 3.5)
        flat.shadow(half)
        flat.rect(-half, 0.3, half, top, paint, kind)
        pane = -half + 0.3
        while pane < half - 1.2:
            flat.rect(pane, 1.35, pane + 1.2, 2.5 if kind == BUS else 2.75, glass, kind, lit)
            pane += 1.55
        flat.rect(-half, 0.75, half, 1.0, scaled(paint, 0.5), kind)
        axles, radius = ([-3.4, 3.6], 0.48) if kind == BUS else ([-11.5, -9.5, -1.0, 1.0, 9.5, 11.5], 0.35)
    for wheel in axles:
        flat.ellipse(wheel, radius, radius, radius, RUBBER, kind)
        flat.ellipse(wheel, radius, radius * 0.5, radius * 0.5, STEEL, kind)


def person(
    canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, label: int = PERSON, lift: float = 0.0
) -> None:
    """Draw someone standing or walking; with ``lift``, someone who sits on a bicycle."""
    size = dice.between(0.62, 0.8) if lift == 0.0 and dice.chance(0.15) else dice.between(0.9, 1.06)
    flat = Cutout(canvas, camera, x, z, lift=lift, size=size, mirror=dice.chance(0.5))
    top, trousers, skin = dice.tint(dice.pick(CLOTH), 16), dice.tint(dice.pick(CLOTH), 14), dice.pick(SKIN)
    stride = dice.between(0.02, 0.3)
    dress, hat = dice.chance(0.2), dice.chance(0.2)
    if lift == 0.0:
        flat.shadow(0.4)
        flat.line(-0.06, 0.85, -0.08 - stride, 0.0, 0.17, trousers, label)
        flat.line(0.06, 0.85, 0.08 + stride, 0.0, 0.17, scaled(trousers, 0.85), label)
    else:
        flat.line(0.0, 0.85, 0.28, 0.5, 0.18, trousers, label)
        flat.line(0.28, 0.5, 0.12, 0.1, 0.15, trousers, label)
    lean = 0.14 if lift else 0.0
    flat.polygon(((-0.19, 0.8), (0.19, 0.8), (0.23 + lean, 1.42), (-0.23 + lean, 1.42)), top, label)
    if dress and lift == 0.0:
        flat.polygon(((-0.34, 0.5), (0.34, 0.5), (0.18, 1.0), (-0.18, 1.0)), top, label)
    flat.line(-0.22 + lean, 1.38, -0.3 + (0.55 if lift else 0.0), 0.85, 0.11, scaled(top, 0.85), label)
    flat.line(0.22 + lean, 1.38, 0.3 + (0.2 if lift else stride), 0.88, 0.11, scaled(top, 0.85), label)
    flat.ellipse(lean * 1.2, 1.6, 0.125, 0.155, skin, label)
    hair = dice.pick(((40, 28, 22), (90, 62, 36), (186, 150, 88), (160, 160, 158)))
    flat.polygon(
        ((-0.13 + lean, 1.64), (0.13 + lean * 1.2, 1.64), (0.1 + lean, 1.76), (-0.1 + lean, 1.76)),
        dice.pick(CLOTH) if hat else hair,
        label,
    )


def bicycle(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, ridden: bool) -> None:
    flat = Cutout(canvas, camera, x, z, mirror=dice.chance(0.5))
    frame = dice.tint(dice.pick(PAINT), 16)
    flat.shadow(0.8, 0.75)
    for wheel in (-0.52, 0.52):
        flat.ellipse(wheel, 0.34, 0.34, 0.34, RUBBER, BICYCLE, hollow=0.72)
        flat.ellipse(wheel, 0.34, 0.07, 0.07, STEEL, BICYCLE)
    for u0, v0, u1, v1 in (
        (-0.52, 0.34, -0.1, 0.34), (-0.1, 0.34, 0.36, 0.78), (-0.2, 0.8, 0.38, 0.8), (-0.1, 0.34, -0.22, 0.9),
        (-0.52, 0.34, -0.2, 0.8), (0.52, 0.34, 0.36, 0.98),
    ):  # fmt: skip
        flat.line(u0, v0, u1, v1, 0.06, frame, BICYCLE)
    flat.rect(-0.34, 0.9, -0.1, 0.98, RUBBER, BICYCLE)
    flat.rect(0.26, 0.98, 0.44, 1.04, RUBBER, BICYCLE)
    if ridden:
        person(canvas, camera, dice, x, z - 0.05, RIDER, lift=0.32)


def motorcycle(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, ridden: bool) -> None:
    flat = Cutout(canvas, camera, x, z, mirror=dice.chance(0.5))
    paint = dice.tint(dice.pick(PAINT[:7]), 16)
    flat.shadow(1.0, 0.6)
    for wheel in (-0.7, 0.7):
        flat.ellipse(wheel, 0.32, 0.32, 0.32, RUBBER, MOTORCYCLE)
        flat.ellipse(wheel, 0.32, 0.14, 0.14, STEEL, MOTORCYCLE)
    flat.polygon(((-0.5, 0.35), (0.45, 0.35), (0.5, 0.7), (-0.45, 0.7)), (70, 70, 74), MOTORCYCLE)
    flat.polygon(((-0.95, 0.66), (-0.1, 0.62), (-0.1, 0.84), (-0.9, 0.82)), (34, 32, 34), MOTORCYCLE)
    flat.ellipse(0.15, 0.8, 0.34, 0.18, paint, MOTORCYCLE)
    flat.line(0.7, 0.32, 0.45, 1.05, 0.1, STEEL, MOTORCYCLE)
    flat.line(0.3, 1.08, 0.52, 1.04, 0.08, RUBBER, MOTORCYCLE)
    flat.ellipse(0.62, 0.85, 0.12, 0.12, LAMP, MOTORCYCLE, 1.0)
    if ridden:
        person(canvas, camera, dice, x, z - 0.05, RIDER, lift=0.22)


def tree(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, leaf: Colour) -> None:
    size = dice.between(0.75, 1.5)
    flat = Cutout(canvas, camera, x, z, size=size)
    leaf, bark = dice.tint(leaf, 14), dice.tint((92, 74, 58), 12)
    flat.shadow(0.9, 0.7)
    flat.polygon(((-0.2, 0.0), (0.2, 0.0), (0.12, 2.6), (-0.12, 2.6)), bark, VEGETATION)
    if dice.chance(0.18):  # a conifer
        for tier in range(3):
            low = 1.0 + tier * 1.3
            flat.polygon(
                ((-1.5 + tier * 0.35, low), (1.5 - tier * 0.35, low), (0.0, low + 2.2)),
                scaled(leaf, 0.62 + tier * 0.08),
                VEGETATION,
            )
        return
    flat.ellipse(0.0, 3.6, 1.6, 1.4, scaled(leaf, 0.7), VEGETATION)
    for _ in range(5):
        u, v, radius = dice.between(-1.2, 1.2), dice.between(3.0, 4.6), dice.between(0.6, 1.05)
        flat.ellipse(u, v, radius, radius * 0.85, scaled(leaf, dice.between(0.72, 1.12)), VEGETATION)


def bush(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float, leaf: Colour) -> None:
    flat = Cutout(canvas, camera, x, z)
    for _ in range(3):
        radius = dice.between(0.4, 0.9)
        flat.ellipse(
            dice.between(-0.9, 0.9), radius * 0.6, radius, radius * 0.75, dice.tint(scaled(leaf, 0.9), 12), VEGETATION
        )


def lamp_post(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float) -> None:
    flat = Cutout(canvas, camera, x, z, mirror=x > 0)
    metal, high = dice.tint((96, 100, 98), 14), dice.between(5.5, 7.5)
    flat.line(0.0, 0.0, 0.0, high, 0.16, metal, POLE)
    flat.line(0.0, high, 1.5, high + 0.25, 0.1, metal, POLE)
    flat.ellipse(
        1.6, high + 0.2, 0.36, 0.14, LAMP if canvas.dark else (206, 206, 200), POLE, 1.0 if canvas.dark else 0.0
    )


def bollard(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float) -> None:
    flat = Cutout(canvas, camera, x, z)
    flat.rect(-0.09, 0.0, 0.09, 1.0, dice.tint((88, 84, 82), 14), POLE)
    flat.rect(-0.09, 0.75, 0.09, 0.88, (226, 226, 222), POLE)


def traffic_light(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float) -> None:
    flat = Cutout(canvas, camera, x, z)
    high = dice.between(2.4, 3.4)
    flat.line(0.0, 0.0, 0.0, high, 0.14, dice.tint((92, 96, 94), 12), POLE)
    flat.rect(-0.24, high, 0.24, high + 1.15, (30, 32, 30), TRAFFIC_LIGHT)
    shining = dice.count(0, 2)
    for lamp, colour in enumerate(((60, 214, 110), (246, 190, 40), (238, 44, 36))):
        on = lamp == shining
        flat.ellipse(
            0.0,
            high + 0.22 + lamp * 0.36,
            0.15,
            0.15,
            colour if on else scaled(colour, 0.28),
            TRAFFIC_LIGHT,
            1.0 if on else 0.0,
        )


def traffic_sign(canvas: Canvas, camera: Camera, dice: Dice, x: float, z: float) -> None:
    flat = Cutout(canvas, camera, x, z)
    kind, high = dice.count(0, 4), dice.between(2.1, 2.7)
    flat.line(0.0, 0.0, 0.0, high, 0.09, dice.tint((140, 142, 142), 12), POLE)
    red, blue, white = (204, 34, 34), (34, 74, 168), (236, 236, 232)
    if kind == 0:
        flat.ellipse(0.0, high + 0.3, 0.42, 0.42, red, TRAFFIC_SIGN)
        flat.ellipse(0.0, high + 0.3, 0.29, 0.29, white, TRAFFIC_SIGN)
    elif kind == 1:
        flat.polygon(((-0.5, high), (0.5, high), (0.0, high + 0.88)), red, TRAFFIC_SIGN)
        flat.polygon(((-0.28, high + 0.12), (0.28, high + 0.12), (0.0, high + 0.6)), white, TRAFFIC_SIGN)
    elif kind == 2:
        flat.ellipse(0.0, high + 0.3, 0.42, 0.42, blue, TRAFFIC_SIGN)
        flat.polygon(((-0.2, high + 0.22), (0.2, high + 0.22), (0.0, high + 0.56)), white, TRAFFIC_SIGN)
    elif kind == 3:
        flat.rect(-0.4, high - 0.1, 0.4, high + 0.7, blue, TRAFFIC_SIGN)
        flat.rect(-0.12, high + 0.05, 0.12, high + 0.55, white, TRAFFIC_SIGN)
    else:
        flat.polygon(
            ((-0.45, high + 0.3), (0.0, high - 0.15), (0.45, high + 0.3), (0.0, high + 0.75)), white, TRAFFIC_SIGN
        )
        flat.polygon(
            ((-0.3, high + 0.3), (0.0, high), (0.3, high + 0.3), (0.0, high + 0.6)), (238, 190, 40), TRAFFIC_SIGN
        )
