"""Light and weather over a finished painting, and the camera that takes the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.datasets.toytown.objects import ROAD, SKY, TERRAIN, VEGETATION, Camera
from bench.datasets.toytown.rasteriser import FAR, Canvas, Colour, Dice, Floats, blur, enlarge


@dataclass(frozen=True)
class Weather:
    zenith: Colour
    skyline: Colour
    cloud: Colour
    ambient: Colour  # factors on what is painted for daylight
    air: Colour  # what distance fades into
    reach: float  # metres at which half of a colour has faded
    noise: float  # half-width of the sensor's noise, in grey levels
    wet: float = 0.0
    dark: bool = False


WEATHER = {
    "day": Weather((92, 146, 214), (196, 216, 236), (244, 246, 248), (1.04, 1.02, 0.98), (196, 212, 230), 420.0, 9.0),
    "dusk": Weather((70, 74, 128), (246, 178, 118), (232, 140, 120), (0.84, 0.7, 0.66), (214, 166, 140), 260.0, 13.0),
    "night": Weather((8, 10, 26), (34, 34, 56), (24, 26, 40), (0.2, 0.22, 0.33), (26, 28, 44), 220.0, 18.0, dark=True),
    "fog": Weather((184, 190, 196), (202, 206, 210), (196, 200, 206), (0.92, 0.93, 0.95), (200, 205, 209), 26.0, 9.0),
    "rain": Weather(
        (104, 112, 124), (154, 160, 168), (126, 132, 142), (0.66, 0.69, 0.74), (150, 156, 164), 110.0, 13.0, wet=0.3
    ),
}  # fmt: skip


def sky(canvas: Canvas, camera: Camera, dice: Dice, weather: Weather) -> None:
    """Fill the canvas with sky; everything else is painted over it."""
    clouds = enlarge(dice.field(9, 12), canvas.height, canvas.width)
    clouds += enlarge(dice.field(25, 30), canvas.height, canvas.width) * np.float32(0.45)
    cover = dice.between(0.55, 1.0)
    veil = np.clip((clouds - np.float32(cover)) * np.float32(2.2), 0, np.float32(0.9))[:, :, None]
    fall = np.clip((canvas.y / camera.horizon).astype(np.float32), 0, 1)[:, None, None]
    above, below = np.array(weather.zenith, np.float32), np.array(weather.skyline, np.float32)
    plain = above + (below - above) * fall * fall
    canvas.image[:] = plain + (np.array(weather.cloud, np.float32) - plain) * veil
    if weather.dark:
        stars = dice.field(48, 96) > np.float32(0.985)
        rows, cols = np.nonzero(stars)
        canvas.image[rows * canvas.height // 96, cols * canvas.width // 96] += np.float32(70)
    else:
        dice.field(48, 96)
    canvas.labels[:], canvas.depth[:], canvas.glow[:] = SKY, FAR, 1.0


def grain(canvas: Canvas, dice: Dice) -> None:
    """Roughen leaves, grass and plaster."""
    coarse = enlarge(dice.field(33, 65), canvas.height, canvas.width)
    fine = enlarge(dice.field(97, 193), canvas.height, canvas.width)
    amount = np.full(256, 0.1, np.float32)
    amount[[ROAD, SKY]], amount[VEGETATION], amount[TERRAIN] = 0.0, 0.8, 0.45
    rough = (fine - np.float32(0.5)) + (coarse - np.float32(0.5)) * np.float32(0.6)
    canvas.image *= (np.float32(1) + amount[canvas.labels] * rough)[:, :, None]


def light(canvas: Canvas, camera: Camera, dice: Dice, weather: Weather) -> None:
    """Wet ground, ambient light, headlights and the air between."""
    unit = np.float32(1)
    if weather.wet:
        _mirror(canvas, camera, dice, weather.wet)
    glow = canvas.glow[:, :, None]
    lamp = np.array(weather.ambient, np.float32)
    if weather.dark:
        aside = (canvas.x - camera.centre).astype(np.float32) * np.float32(1.5)
        near = canvas.depth * np.float32(1 / 15)
        beam = np.float32(1.15) / ((unit + near * near) * (unit + aside * aside * aside * aside))
        beam *= np.clip((canvas.y - camera.horizon + 0.12) * 6.0, 0.12, 1.0).astype(np.float32)[:, None]
        lamp = lamp + beam[:, :, None] * np.array((1.0, 0.95, 0.82), np.float32)
    lit = canvas.image * (lamp + (unit - lamp) * glow)
    fade = canvas.depth / (canvas.depth + np.float32(weather.reach))
    if weather.reach > 100:
        fade *= canvas.depth < np.float32(FAR)  # a clear sky has its own colour already
    fade = fade[:, :, None] * (unit - glow * np.float32(0.5) * (canvas.labels != SKY)[:, :, None])
    canvas.image = lit + (np.array(weather.air, np.float32) - lit) * fade
    if weather.dark:
        _bloom(canvas)


def _mirror(canvas: Canvas, camera: Camera, dice: Dice, wet: float) -> None:
    height = canvas.height
    first = int(camera.horizon * height) + 1
    rows = np.arange(first, height)
    source = np.clip(2 * first - rows, 0, height - 1)
    puddles = enlarge(dice.field(14, 9), height, canvas.width)[first:, :, None]
    share = np.float32(wet) * (puddles + np.float32(0.4)) * (canvas.labels[first:] == ROAD)[:, :, None]
    canvas.image[first:] += (canvas.image[source] - canvas.image[first:]) * share


def _bloom(canvas: Canvas) -> None:
    """Lamps outshine their surroundings."""
    shine = canvas.image * (canvas.glow * (canvas.labels != SKY))[:, :, None]
    step = max(canvas.height // 64, 1)
    halo = shine.copy()
    for shift in (step, 2 * step):
        for axis in (0, 1):
            halo += np.roll(shine, shift, axis) * np.float32(0.5)
            halo += np.roll(shine, -shift, axis) * np.float32(0.5)
    canvas.image += blur(halo) * np.float32(0.09)


def photograph(canvas: Canvas, dice: Dice, sensor: Dice, weather: Weather) -> Floats:
    """float32 [H, W, 3]: drops on the way, the lens, the exposure and the sensor."""
    image = canvas.image
    streaks = dice.field(11, 256)
    if weather.wet:
        lanes = (np.arange(canvas.width) * 256 // canvas.width)[None, :] + (
            np.arange(canvas.height) * 24 // canvas.height
        )[:, None]
        drops = np.take_along_axis(enlarge(streaks, canvas.height, 256), lanes % 256, axis=1)
        image = image + (np.clip(drops - np.float32(0.8), 0, 1) * np.float32(260))[:, :, None]
    image = blur(image)
    exposure = np.array([dice.between(0.86, 1.12)] * 3) * [dice.between(0.95, 1.05) for _ in range(3)]
    image = image * exposure.astype(np.float32)
    shape = (canvas.height, canvas.width, 3)
    noise = sensor.field(*shape) + sensor.field(*shape) - np.float32(1)
    result: Floats = image + noise * np.float32(weather.noise)
    return result
