"""A toy street: ground, house fronts and skyline in perspective, and who and what stands where.

Nothing is chosen by the size of the canvas or by the weather, so a scene is the same at every size and under every sky.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.datasets.toytown import objects as things
from bench.datasets.toytown.anomalies import FIRST, Anomaly
from bench.datasets.toytown.objects import (
    BUILDING,
    BUS,
    CAR,
    FENCE,
    ROAD,
    SIDEWALK,
    TERRAIN,
    TRAIN,
    TRUCK,
    VEGETATION,
    WALL,
    Camera,
    Cutout,
    scaled,
)
from bench.datasets.toytown.rasteriser import Canvas, Colour, Dice, Floats, enlarge

END = 110.0  # metres to where the street ends
OPEN = 255  # a lot on which nothing stands

PLASTER: tuple[Colour, ...] = (
    (196, 176, 148), (172, 120, 92), (206, 200, 188), (148, 138, 130), (186, 148, 120), (214, 186, 130), (140, 92, 78),
    (170, 178, 178), (188, 156, 152), (120, 116, 114),
)  # fmt: skip
ROOFS: tuple[Colour, ...] = ((138, 66, 50), (84, 74, 72), (110, 84, 70), (70, 76, 86))
STONE: tuple[Colour, ...] = ((146, 138, 126), (128, 124, 120), (168, 156, 140), (158, 118, 96))
RAILS: tuple[Colour, ...] = ((112, 84, 60), (70, 72, 70), (196, 192, 184), (88, 104, 84))
LEAVES: tuple[Colour, ...] = ((74, 112, 52), (98, 124, 50), (62, 98, 62), (146, 116, 48))


@dataclass(frozen=True)
class Drive:
    """The common properties of consecutive frames: a camera, a part of town, a season."""

    focal: float
    height: float
    horizon: float
    leaf: Colour
    built: float  # 0 garden suburb, 1 inner city
    busy: float
    bonnet: bool
    tram: bool

    @classmethod
    def roll(cls, dice: Dice) -> Drive:
        return cls(
            dice.between(1.35, 1.7), dice.between(1.35, 1.75), dice.between(0.4, 0.47), dice.pick(LEAVES),
            dice.between(0.1, 1.0), dice.between(0.35, 1.0), dice.chance(0.5), dice.chance(0.45),
        )  # fmt: skip


class Lots:
    """The lots along one side, from near to far; each entry spans Z from its start to the next one's."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.kinds: list[int] = []
        self.heights: list[float] = []
        self.colours: list[Colour] = []
        self.roofs: list[Colour] = []
        self.gables: list[float] = []
        self.pitches: list[float] = []

    def add(
        self, start: float, kind: int, height: float, colour: Colour, roof: Colour, gable: float, pitch: float
    ) -> None:
        self.starts.append(start)
        self.kinds.append(kind)
        self.heights.append(height)
        self.colours.append(colour)
        self.roofs.append(roof)
        self.gables.append(gable)
        self.pitches.append(pitch)


class Street:
    """One scene: decided in the constructor, painted by ``paint``."""

    def __init__(self, drive: Drive, dice: Dice, aspect: float) -> None:
        self.drive, self.dice = drive, dice
        self.camera = Camera(
            drive.focal, drive.height, drive.horizon + dice.between(-0.012, 0.012), aspect * dice.between(0.42, 0.58)
        )
        self.half = dice.between(3.6, 5.8)
        self.middle = -dice.between(1.4, 2.0)  # the camera keeps right
        self.left, self.right = self.middle - self.half, self.middle + self.half
        self.paved = (dice.between(1.6, 4.5), dice.between(1.6, 4.5))
        self.verge = tuple(TERRAIN if dice.chance(0.75 - 0.6 * drive.built) else SIDEWALK for _ in range(2))
        self.depths = (dice.between(0.3, 5.0), dice.between(0.3, 5.0))  # between pavement and house fronts
        start = dice.between(13.0, 42.0)
        self.crossing = (start, start + dice.between(8.0, 12.0)) if dice.chance(0.5) else (END * 2, END * 2)
        self.rails = drive.tram and dice.chance(0.75)

    def paint(self, canvas: Canvas, anomalies: list[Anomaly]) -> None:
        """Cover the lower part of a canvas that is all sky."""
        dice = self.dice
        tile = dice.field(64, 64)
        self._skyline(canvas)
        self._ground(canvas, tile)
        for side in (0, 1):
            edge = (self.right + self.paved[1]) if side else -(self.left - self.paved[0])
            front = edge + self.depths[side]
            self._fronts(canvas, side, front + dice.between(8.0, 13.0), self._lots(0.75, tall=True), tile)
            self._fronts(canvas, side, front, self._lots(0.25 + 0.6 * self.drive.built, tall=False), tile)
        self._populate(canvas, anomalies)
        if self.drive.bonnet:
            self._bonnet(canvas)

    def _lots(self, houses: float, *, tall: bool) -> Lots:
        dice, lots, z = self.dice, Lots(), 0.0
        while z < END:
            length = dice.between(7.0, 18.0)
            roll, kind, height, colour = dice.between(0.0, 1.0), OPEN, 0.0, (0.0, 0.0, 0.0)
            gable, pitch = 0.0, dice.between(2.2, 3.6)
            if roll < houses:
                kind, height, colour = BUILDING, dice.between(4.5, 10.0 + 9.0 * self.drive.built), dice.pick(PLASTER)
                gable = dice.between(1.5, 3.2) if dice.chance(0.5) else 0.0
            elif tall or roll > 0.88:
                kind, height, colour = (
                    VEGETATION,
                    dice.between(3.0, 8.0) if tall else dice.between(1.0, 2.2),
                    self.drive.leaf,
                )
            elif roll < houses + (0.86 - houses) * 0.42:
                kind, height, colour = WALL, dice.between(1.3, 2.6), dice.pick(STONE)
            elif roll < houses + (0.86 - houses) * 0.88:
                kind, height, colour = FENCE, dice.between(1.0, 1.9), dice.pick(RAILS)
            colour, roof = dice.tint(colour, 12), dice.tint(dice.pick(ROOFS), 10)
            begin, end = self.crossing
            if begin - 2.0 < z + length and z < end + 2.0:  # nothing stands in the side street
                if z < begin - 3.0:
                    lots.add(z, kind, height, colour, roof, gable, pitch)
                lots.add(max(z, begin - 1.5), OPEN, 0.0, colour, roof, 0.0, pitch)
                z = end + 2.0
                continue
            lots.add(z, kind, height, colour, roof, gable, pitch)
            z += length
        lots.add(END, OPEN, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 3.0)
        return lots

    def _skyline(self, canvas: Canvas) -> None:
        dice, camera, x = self.dice, self.camera, -0.1
        base = camera.horizon + 0.03
        while x < 2.6:  # as wide as the widest canvas, so that the choices do not depend on it
            wide, high, wood = dice.between(0.05, 0.2), dice.between(0.02, 0.12), dice.chance(0.5)
            if wood:
                leaf = dice.tint(scaled(self.drive.leaf, 0.8), 8)
                canvas.ellipse(x + wide / 2, base, wide * 0.75, high * 0.6 + 0.03, leaf, VEGETATION, 150.0)
            else:
                colour = dice.tint(dice.pick(PLASTER), 14)
                canvas.rect(x, base - high - 0.03, x + wide, base, colour, BUILDING, 160.0)
            x += wide * 0.8

    def _ground(self, canvas: Canvas, tile: Floats) -> None:
        dice, camera = self.dice, self.camera
        first = int(camera.horizon * canvas.height + 0.5)
        rows = slice(first, canvas.height)
        z = np.minimum(camera.focal * camera.height / np.maximum(canvas.y[rows] - camera.horizon, 1e-4), 400.0)
        z = z.astype(np.float32)
        x = (canvas.x - camera.centre).astype(np.float32) * (z / np.float32(camera.focal))[:, None]
        labels = np.where(x < self.middle, np.uint8(self.verge[0]), np.uint8(self.verge[1]))
        pavement = (x > self.left - self.paved[0]) & (x < self.right + self.paved[1])
        labels[pavement] = SIDEWALK
        begin, end = self.crossing
        across = ((z > begin) & (z < end))[:, None]
        road = ((x > self.left) & (x < self.right)) | across
        labels[road] = ROAD
        asphalt, slab = (
            dice.tint((104, 104, 106), 14),
            dice.tint(dice.pick(((164, 156, 148), (138, 134, 132), (176, 150, 136))), 10),
        )
        grass = dice.tint(dice.pick((self.drive.leaf, (128, 118, 74), (104, 124, 58))), 12)
        colours = np.zeros((256, 3), np.float32)
        colours[[ROAD, SIDEWALK, TERRAIN]] = asphalt, slab, grass
        image = colours[labels]

        depth = np.broadcast_to(z[:, None], x.shape)
        column, row = (x * np.float32(13)).astype(np.int32), (z * np.float32(5)).astype(np.int32)[:, None]
        rough = tile[row & 63, column & 63] - np.float32(0.5)
        worn = enlarge(dice.field(12, 15), *x.shape) - np.float32(0.5)
        image *= (np.float32(1) + rough * np.float32(0.1) + worn * np.float32(0.22))[:, :, None]
        # Repairs: rectangles of another age.
        for _ in range(dice.count(0, 3)):
            left, near = dice.between(-4.0, 3.0), dice.between(5.0, 25.0)
            wide, long = dice.between(0.6, 2.0), dice.between(1.0, 6.0)
            patch = ((z > near) & (z < near + long))[:, None] & (x > left) & (x < left + wide) & (labels == ROAD)
            image[patch] *= np.float32(dice.between(0.78, 1.12))

        slabs = dice.between(0.6, 1.3)
        u, v = x * np.float32(1 / slabs), z * np.float32(1 / slabs)
        joints = ((u - np.floor(u) < 0.1) | (v - np.floor(v) < 0.12)[:, None]) & (z < 17)[:, None]
        image[joints & (labels == SIDEWALK)] *= np.float32(0.84)
        kerb = (np.abs(x - np.float32(self.left - 0.1)) < 0.12) | (np.abs(x - np.float32(self.right + 0.1)) < 0.12)
        image[kerb & (labels == SIDEWALK)] = (190, 188, 184)

        paint = np.zeros(x.shape, np.bool_)
        dash, white = z * np.float32(1 / 9), dice.chance(0.8)
        paint |= (np.abs(x - np.float32(self.middle)) < 0.09) & (dash - np.floor(dash) < 0.45)[:, None]
        if dice.chance(0.5):
            paint |= np.abs(np.abs(x - np.float32(self.middle)) - np.float32(self.half - 2.2)) < 0.06
        paint &= ~across
        bars = x - np.floor(x) < 0.5
        paint |= bars & ((z > begin - 4.2) & (z < begin - 1.2))[:, None] & (x > self.left) & (x < self.right)
        image[paint & road] = (222, 222, 216) if white else (214, 190, 96)
        if self.rails:
            track = np.abs(np.abs(x - np.float32(self.middle - 1.7)) - np.float32(0.72)) < 0.06
            image[track & road] = (74, 72, 72)
        canvas.image[rows], canvas.labels[rows], canvas.depth[rows], canvas.glow[rows] = image, labels, depth, 0.0

    def _fronts(self, canvas: Canvas, side: int, distance: float, lots: Lots, tile: Floats) -> None:
        """Everything that stands on one plane beside the street, at X = ``distance`` on the side."""
        camera = self.camera
        self._gable_walls(canvas, side, distance, lots)
        away = canvas.x - camera.centre if side else camera.centre - canvas.x
        (cols,) = np.nonzero(away > camera.focal * distance / END)
        if not len(cols):
            return
        span = slice(int(cols[0]), int(cols[-1]) + 1)
        z = camera.focal * distance / away[span]
        lot = np.searchsorted(np.array(lots.starts), z, side="right") - 1
        kind, height = np.array(lots.kinds)[lot], np.array(lots.heights)[lot]
        starts = np.array([*lots.starts, END + 1.0])
        along = (z - starts[lot]) / (starts[lot + 1] - starts[lot])
        ridge = np.where(along < 0.5, along, 1 - along) * 2 * np.array(lots.gables)[lot]
        ragged = tile[(z * 1.7).astype(np.int64) & 63, lot & 63] * 0.35 + 0.8
        height = np.where(kind == VEGETATION, height * ragged, height)
        top = height + np.where(kind == BUILDING, ridge, 0.0)

        last = min(
            int((camera.horizon + camera.focal * camera.height / float(z.min())) * canvas.height) + 1, canvas.height
        )
        rows = slice(0, max(last, 1))
        up = camera.height - (canvas.y[rows] - camera.horizon)[:, None] * (z / camera.focal)
        mask = (up >= 0.0) & (up < top) & (kind != OPEN)
        colour = np.array(lots.colours, np.float32)[lot] * np.float32(1.0 if side else 0.84)
        image = np.broadcast_to(colour, (*up.shape, 3)).copy()
        glow = np.zeros(up.shape, np.float32)
        built = kind == BUILDING
        if built.any():
            self._windows(canvas, image, glow, up, z, lot, lots, height, built, tile)
        stone = (kind == WALL) & (((up * 3).astype(np.int64) + (z * 1.5).astype(np.int64)) % 2 == 0)
        image[stone] *= np.float32(0.86)
        image[(kind == WALL) & (up > height - 0.18)] *= np.float32(1.2)
        image[(kind == VEGETATION) & (up < height * 0.35)] *= np.float32(0.75)
        seen = mask
        if (kind == FENCE).any():
            slats, rails = z * 3.2, (up > height - 0.2) | ((up > 0.2) & (up < 0.4))
            seen = mask & ((kind != FENCE) | (slats - np.floor(slats) < 0.6) | rails)
        area = rows, span
        canvas.image[area][seen] = image[seen]
        canvas.glow[area][mask] = glow[mask]
        canvas.labels[area][mask] = np.broadcast_to(kind.astype(np.uint8), mask.shape)[mask]
        canvas.depth[area][mask] = np.broadcast_to(z.astype(np.float32), mask.shape)[mask]

    def _windows(
        self, canvas: Canvas, image: Floats, glow: Floats, up: NDArray[np.float64], z: NDArray[np.float64],
        lot: NDArray[np.int64], lots: Lots, eaves: NDArray[np.float64], built: NDArray[np.bool_], tile: Floats,
    ) -> None:  # fmt: skip
        """Panes, doors and roofs of the houses, in place."""
        along, floor = z / np.array(lots.pitches)[lot], up * (1 / 3.0)
        u, v = along - np.floor(along), floor - np.floor(floor)
        body = built & (up < eaves - 0.35)
        pane = body & (np.abs(u - 0.5) < 0.24) & (np.abs(v - 0.52) < 0.27)
        number = tile[(np.floor(along).astype(np.int64) * 5 + lot * 11) & 63, np.floor(floor).astype(np.int64) & 63]
        lit = pane & (number > 0.55) & canvas.dark
        image[body & (np.abs(u - 0.5) < 0.3) & (np.abs(v - 0.52) < 0.33)] *= np.float32(1.13)
        image[pane] = (74, 86, 98)
        bright = pane & (number < 0.3)
        image[bright] = (128, 146, 160)
        image[lit] = (250, 208, 128)
        glow[lit] = 0.85
        image[body & (up < 2.3) & (np.abs(u - 0.5) < 0.2) & (number > 0.72)] = (88, 62, 48)
        roof = built & (up >= eaves)
        image[roof] = np.broadcast_to(np.array(lots.roofs, np.float32)[lot], image.shape)[roof]
        image[built & (up < 0.5)] *= np.float32(0.8)

    def _gable_walls(self, canvas: Canvas, side: int, distance: float, lots: Lots) -> None:
        """Paint the walls of houses that face the camera, far ones first."""
        sign = 1.0 if side else -1.0
        for at in range(len(lots.starts) - 1, 0, -1):
            z, height = lots.starts[at], lots.heights[at]
            if lots.kinds[at] != BUILDING or z < 9.0 or z > 75.0 or lots.heights[at - 1] > height:
                continue
            colour, deep = scaled(lots.colours[at], 0.92), 9.0
            wall = Cutout(canvas, self.camera, sign * distance, z, mirror=not side)
            wall.rect(0.0, 0.0, deep, height, colour, BUILDING)
            if lots.gables[at]:
                wall.rect(0.0, height, deep, height + lots.gables[at], lots.roofs[at], BUILDING)
            storey = 1.0
            while storey + 2.0 < height:
                for u in (1.4, 4.2, 7.0):
                    wall.rect(u, storey, u + 1.1, storey + 1.4, (78, 90, 102), BUILDING)
                storey += 3.0

    def _populate(self, canvas: Canvas, anomalies: list[Anomaly]) -> None:
        """Choose from near to far, paint from far to near."""
        dice, camera, drive = self.dice, self.camera, self.drive
        crowd: list[tuple[float, Callable[[], None]]] = []

        def place(z: float, draw: Callable[..., None], x: float, *more: object) -> None:
            if z > 3.2:
                crowd.append((z, lambda: draw(canvas, camera, dice, x, z, *more)))

        def aside(side: int, low: float, high: float) -> float:
            """X in metres of a thing that stands ``low`` to ``high`` metres beyond the kerb."""
            beyond = dice.between(low, high)
            return self.right + beyond if side else self.left - beyond

        begin, end = self.crossing
        for side in (0, 1):
            z = dice.between(7.0, 14.0)
            parking = dice.chance(0.55)
            while z < 85:
                if parking and dice.chance(0.7) and not begin - 9 < z < end + 1:
                    kerb = self.right - 1.05 if side else self.left + 1.05
                    place(z, things.car, kerb, side == 0)
                z += dice.between(6.0, 9.0)
            z = dice.between(6.0, 12.0)
            wooded = dice.between(0.15, 0.85)
            while z < 80:
                if dice.chance(wooded) and not begin - 2 < z < end + 2:
                    wide = self.paved[side] + (self.depths[side] if self.verge[side] == TERRAIN else 0.0)
                    place(z, things.tree, aside(side, min(1.0, wide * 0.5), wide), drive.leaf)
                z += dice.between(6.0, 15.0)
            for _ in range(dice.count(0, 2)):
                place(
                    dice.between(7, 35),
                    things.bush,
                    aside(side, self.paved[side], self.paved[side] + self.depths[side]),
                    drive.leaf,
                )
            z = dice.between(8.0, 20.0)
            while z < 75:
                place(z, things.lamp_post, aside(side, 0.4, 0.7))
                z += dice.between(20.0, 30.0)
            for _ in range(dice.count(0, 2)):
                place(dice.between(7.0, 40.0), things.traffic_sign, aside(side, 0.5, 0.9))
            if dice.chance(0.35):
                z = dice.between(6.0, 14.0)
                for post in range(5):
                    place(z + post * 1.7, things.bollard, aside(side, 0.3, 0.35))
            for _ in range(dice.count(0, int(1 + 5 * drive.busy))):
                place(dice.between(6.0, 40.0), things.person, aside(side, 0.4, self.paved[side]))
            if dice.chance(0.4):
                z = dice.between(6.0, 22.0)
                for stand in range(dice.count(1, 3)):
                    place(z + stand * 0.8, things.bicycle, aside(side, 0.7, self.paved[side]), False)
            if dice.chance(0.22):
                place(dice.between(6.0, 20.0), things.motorcycle, aside(side, 0.6, 1.4), False)
        if begin < END:
            for x in (self.left - 0.8, self.right + 0.8):
                place(begin - 1.0, things.traffic_light, x)
            if dice.chance(0.6):
                place(end + 1.5, things.traffic_light, self.left - 0.8)
            for _ in range(dice.count(0, 2)):
                kind = dice.pick((CAR, CAR, CAR, TRUCK, BUS, TRAIN if drive.tram else BUS))
                place(dice.between(begin + 1, end - 1), things.passing, dice.between(-14.0, 14.0), kind)
            for _ in range(dice.count(0, 3)):
                place(begin - dice.between(1.5, 4.0), things.person, dice.between(self.left, self.right))
        elif dice.chance(0.35):
            z = dice.between(10.0, 30.0)
            for x in (self.left - 0.8, self.right + 0.8):
                place(z, things.traffic_light, x)

        heavy = (things.car, things.car, things.car, things.truck, things.bus)
        own_lane, other_lane = dice.between(-0.3, 0.4), 2 * self.middle + dice.between(-0.5, 0.5)
        z = dice.between(8.0, 26.0)
        while z < 80 and dice.chance(0.45 + 0.4 * drive.busy):
            place(z, dice.pick(heavy), own_lane + dice.between(-0.2, 0.2), False)
            z += dice.between(12.0, 30.0)
        z = dice.between(9.0, 25.0)
        if self.rails and dice.chance(0.6):
            place(z, things.tram, self.middle - 1.7, dice.chance(0.7))
            z += 40.0
        while z < 80 and dice.chance(0.45 + 0.4 * drive.busy):
            place(z, dice.pick(heavy), other_lane, True)
            z += dice.between(13.0, 30.0)
        for ride in (things.bicycle, things.bicycle, things.motorcycle):
            if dice.chance(0.4):
                lane = dice.pick((self.right - 0.7, self.left + 0.8, self.right - 2.4))
                place(dice.between(6.5, 26.0), ride, lane, True)
        if dice.chance(0.25):
            place(dice.between(8.0, 25.0), things.person, dice.between(self.left, self.right))

        for number, thing in enumerate(anomalies):
            crowd.append((thing.z, lambda thing=thing, number=number: thing.draw(canvas, camera, FIRST + number)))  # type: ignore[misc]
        for _, draw in sorted(crowd, key=lambda entry: -entry[0]):
            draw()

    def _bonnet(self, canvas: Canvas) -> None:
        """Paint the car that carries the camera, which counts as nothing."""
        across = (canvas.x - canvas.aspect / 2) / canvas.aspect
        edge = 0.925 + across * across * 0.22
        mask = canvas.y[:, None] > edge
        sheen = (np.float32(34) + (canvas.y[:, None] - edge) * 260).astype(np.float32)
        canvas.image[mask] = np.broadcast_to(sheen[:, :, None], canvas.image.shape)[mask]
        canvas.labels[mask], canvas.depth[mask], canvas.glow[mask] = 255, 2.0, 0.0
