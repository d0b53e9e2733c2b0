"""Synthetic pictures for the demo set: each scene is a list of layers, painted from back to front.

A scene is a row of the table `SCENES`, not a function of its own. A layer is called once for a clip, with `place`
(generator of what all clips of a location share) and `rng` (of what is the clip's own), and returns a function that
paints it at a time. Layers stand in a world measured in metres, x to the right, y up, z away from the camera, and the
location's camera (height, angle, zoom, light, tint) turns that world into pixels.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.random import Generator

Colour = tuple[float, float, float]  # red, green, blue between 0 and 1
Paint = Callable[["Canvas", float], None]

WALLS = [(0.72, 0.66, 0.56), (0.62, 0.42, 0.34), (0.78, 0.76, 0.72), (0.55, 0.57, 0.6), (0.8, 0.7, 0.45)]
CLOTHES = [
    (0.15, 0.17, 0.25),
    (0.5, 0.12, 0.12),
    (0.2, 0.3, 0.5),
    (0.25, 0.25, 0.25),
    (0.75, 0.7, 0.6),
    (0.3, 0.4, 0.25),
]
PAINTS = [
    (0.8, 0.1, 0.1),
    (0.1, 0.25, 0.6),
    (0.85, 0.85, 0.85),
    (0.15, 0.15, 0.17),
    (0.85, 0.65, 0.1),
    (0.1, 0.45, 0.3),
]
SKIN, GLASS, DARK, LIGHT = (0.8, 0.6, 0.5), (0.35, 0.45, 0.55), (0.1, 0.1, 0.12), (1, 0.97, 0.85)


class Canvas:
    """A picture `[height, width]`, four bytes a pixel, seen by the camera of a location drawn from `place`."""

    def __init__(self, place: Generator, width: int, height: int) -> None:
        self.pixels = np.zeros((height, width), np.uint32)
        self.focus = height * place.uniform(0.85, 1.1)
        self.column = width * (0.5 + place.uniform(-0.06, 0.06))
        self.row = height * (0.45 + place.uniform(-0.05, 0.05))
        self.eye = place.uniform(1.45, 1.75)
        self.mirrored = place.random() < 0.5
        gain = place.uniform(0.8, 1.1) * place.uniform(0.92, 1.08, 3)
        lift = place.uniform(-0.02, 0.06)

        @cache  # the location's light and tint are put into the paint: pixels need no second pass
        def mix(colour: Colour) -> int:
            red, green, blue = np.clip((np.array(colour) * gain + lift) * 255, 0, 255).astype(int)
            return int(red | green << 8 | blue << 16 | 255 << 24)

        self.mix = mix

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Column and row of a point."""
        return self.column + self.focus * x / z, self.row + self.focus * (self.eye - y) / z

    def box(self, x: tuple, y: tuple, z: float, colour: Colour) -> None:
        """A rectangle that faces the camera."""
        (left, bottom), (right, top) = self.at(x[0], y[0], z), self.at(x[1], y[1], z)
        top, bottom, left, right = (max(round(edge), 0) for edge in (top, bottom, left, right))
        self.pixels[top:bottom, left:right] = self.mix(colour)

    def disc(self, x: float, y: float, z: float, radius: float, colour: Colour, squash: float = 1) -> None:
        """An ellipse that faces the camera, `squash` times as high as wide."""
        (column, row), size = self.at(x, y, z), self.focus * radius / z
        top, left = max(int(row - size * squash), 0), max(int(column - size), 0)
        part = self.pixels[top : max(int(row + size * squash) + 2, 0), left : max(int(column + size) + 2, 0)]
        down = (np.arange(top, top + part.shape[0]) - row) / squash
        across = np.arange(left, left + part.shape[1]) - column
        part[down[:, None] ** 2 + across**2 < size**2] = self.mix(colour)

    def floor(self, x: tuple, z: tuple, colour: Colour, y: float = 0) -> None:
        """A level rectangle at height `y`: floor, road, ceiling."""
        (left, row), (right, _) = self.at(x[0], y, z[0]), self.at(x[1], y, z[0])
        (left2, row2), (right2, _) = self.at(x[0], y, z[1]), self.at(x[1], y, z[1])
        self._slant(self.pixels, (row, row2), (left, left2), (right, right2), colour)

    def wall(self, x: float, y: tuple, z: tuple, colour: Colour) -> None:
        """An upright rectangle that runs away from the camera."""
        (column, bottom), (_, top) = self.at(x, y[0], z[0]), self.at(x, y[1], z[0])
        (column2, bottom2), (_, top2) = self.at(x, y[0], z[1]), self.at(x, y[1], z[1])
        self._slant(self.pixels.T, (column, column2), (top, top2), (bottom, bottom2), colour)

    def _slant(self, pixels: np.ndarray, along: tuple, start: tuple, stop: tuple, colour: Colour) -> None:
        (first, last), (low, high) = (
            (max(round(min(ends)), 0), min(round(max(ends)), size))
            for ends, size in zip((along, start + stop), pixels.shape, strict=True)
        )
        if first < last and low < high:
            line = (np.arange(first, last) + 0.5 - along[0]) / (along[1] - along[0])
            begin, end = (np.round(a + line * (b - a))[:, None] for a, b in (start, stop))
            across = np.arange(low, high)
            pixels[first:last, low:high][(across >= begin) & (across < end)] = self.mix(colour)


def shade(colour: Colour, by: float) -> Colour:
    """`colour` made darker (`by` below 1) or lighter."""
    return tuple(float(by * channel) for channel in colour)


def pick(rng: Generator, colours: list[Colour]) -> Colour:
    """One of the `colours`, slightly changed."""
    return shade(colours[rng.integers(len(colours))], rng.uniform(0.8, 1.15))


def journey(rng: Generator, speed: float) -> Callable[[float], float]:
    """Metres travelled after so many seconds, at a `speed` that rises and falls by half."""
    start, phase, rate = rng.uniform([0, 0, 0.3], [200, 6, 0.8])
    speed *= rng.uniform(0.7, 1.3)
    return lambda t: start + speed * (t + np.sin(rate * t + phase) / (2 * rate))


def still(rng: Generator, speed: float) -> Callable[[float], float]:
    """The journey of a camera that stands."""
    return lambda t: 0.0


def sometimes(place: Generator, rng: Generator, chance: float, layer: Callable[..., Paint], **options) -> Paint:
    """A layer that a location has with probability `chance`."""
    return layer(place, rng, **options) if place.random() < chance else lambda canvas, t: None


# Layers outdoors. Under `speed` (metres a second) they are the world that passes a vehicle's windows.


def sky(place: Generator, rng: Generator) -> Paint:
    """A bright or grey sky with clouds."""
    blue = place.uniform(0, 1)
    colour = (0.78 - 0.3 * blue, 0.84 - 0.14 * blue, 0.9)
    clouds = rng.uniform([-90, 25, 6], [90, 70, 18], (6, 3))

    def paint(canvas: Canvas, t: float) -> None:
        canvas.box((-900, 900), (-900, 900), 300, colour)
        for x, y, radius in clouds:
            canvas.disc(x, y, 100, radius, shade(colour, 1.12), 0.35)

    return paint


def ground(place: Generator, rng: Generator, colour: Colour, tiles: float = 0) -> Paint:
    """Grass, asphalt or paving with joints every `tiles` metres."""
    colour = shade(colour, place.uniform(0.85, 1.15))

    def paint(canvas: Canvas, t: float) -> None:
        canvas.floor((-300, 300), (0.5, 300), colour)
        if tiles:
            for k in range(1, 9):
                canvas.floor((-60, 60), (k * tiles, k * tiles + 0.08), shade(colour, 0.8))
            for k in range(-8, 9):
                canvas.floor((k * tiles - 0.04, k * tiles + 0.04), (0.5, 40), shade(colour, 0.8))

    return paint


def path(place: Generator, rng: Generator) -> Paint:
    """A sandy path that leads away over the grass."""
    x, width = place.uniform([-2, 1.2], [2, 2.4])
    return lambda canvas, t: canvas.floor((x - width, x + width), (0.5, 60), (0.72, 0.64, 0.5))


def road(place: Generator, rng: Generator) -> Paint:
    """A road across the picture: kerbs and a dashed line between two lanes."""

    def paint(canvas: Canvas, t: float) -> None:
        canvas.floor((-99, 99), (4.5, 13), (0.24, 0.24, 0.26))
        canvas.floor((-99, 99), (4.3, 4.6), (0.8, 0.8, 0.78))
        canvas.floor((-99, 99), (13, 13.6), (0.8, 0.8, 0.78))
        for k in range(-12, 13, 3):
            canvas.floor((k, k + 1.6), (7.5, 7.8), (0.95, 0.95, 0.9))

    return paint


def trees(place: Generator, rng: Generator, number: float, z: tuple, speed: float = 0) -> Paint:
    """About `number` trees between the distances `z`, their crowns moved by the wind."""
    count = place.poisson(number) + (number > 4)
    stand = place.uniform([-16, z[0], 4], [16, z[1], 7.5], (count, 3))
    leaf = shade((0.22, 0.4, 0.15), place.uniform(0.8, 1.2))
    travel = (journey if speed else still)(rng, speed)

    def paint(canvas: Canvas, t: float) -> None:
        for x, z, height in stand[stand[:, 1].argsort()[::-1]]:
            x = (x - travel(t) + 16) % 32 - 16
            sway = 0.12 * np.sin(1.3 * t + x)
            canvas.box((x - 0.2, x + 0.2), (0, height * 0.6), z, (0.3, 0.22, 0.16))
            for side, up, by in ((-0.8, 0.55, 0.8), (0.8, 0.6, 0.9), (0, 0.8, 1.1)):
                canvas.disc(x + side + sway * up, height * up, z, 1.5, shade(leaf, by))

    return paint


def facades(place: Generator, rng: Generator, z: float, height: tuple, speed: float = 0) -> Paint:
    """A row of houses at the distance `z`, with rows of windows and doors."""
    houses = [(k * 8, place.uniform(*height), pick(place, WALLS), place.integers(3, 6)) for k in range(-5, 5)]
    travel = (journey if speed else still)(rng, speed)

    def paint(canvas: Canvas, t: float) -> None:
        for x, top, colour, windows in houses:
            x = (x - travel(t) + 40) % 80 - 40
            if abs(x + 4) > z + 8:
                continue
            canvas.box((x, x + 8), (0, top), z, colour)
            canvas.box((x, x + 8), (top - 0.4, top), z, shade(colour, 0.7))
            for left in x + 8 * (np.arange(windows) + 0.25) / windows:
                for sill in np.arange(1, top - 2, 3):
                    canvas.box((left, left + 4 / windows), (sill, sill + 1.7), z, shade(GLASS, 0.8))

    return paint


def canyon(place: Generator, rng: Generator, x: float, height: float, shops: float, bay: float = 4) -> Paint:
    """Walls to both sides that run away from the camera: houses of a narrow street, or the shops of a mall.

    Each bay has a lit front below (with probability `shops`), a sign above it and a window on each upper floor.
    """
    bays = [(side * x, k * bay, pick(place, WALLS), pick(place, PAINTS), place.random() < shops)
            for k in range(9, 0, -1) for side in (-1, 1)]  # fmt: skip

    def paint(canvas: Canvas, t: float) -> None:
        for side, z, colour, sign, shop in bays:
            canvas.wall(side, (0, height), (z, z + bay), colour)
            front = shade(LIGHT, 0.95) if shop else shade(GLASS, 0.7)
            canvas.wall(side, (0.3, 2.6), (z + 0.1 * bay, z + 0.9 * bay), front)
            canvas.wall(side, (2.7, 3.3), (z + 0.05 * bay, z + 0.95 * bay), sign if shop else shade(colour, 0.8))
            for sill in np.arange(4, height - 1, 3):
                canvas.wall(side, (sill, sill + 1.6), (z + 0.3 * bay, z + 0.7 * bay), shade(GLASS, 0.8))

    return paint


def fountain(place: Generator, rng: Generator) -> Paint:
    """A basin with a monument and falling water in the middle of a square."""
    x, z, height = place.uniform([-2.5, 8, 4], [2.5, 11, 6])

    def paint(canvas: Canvas, t: float) -> None:
        stone, water = (0.6, 0.58, 0.54), (0.85, 0.92, 0.97)
        canvas.disc(x, 0.3, z, 3, stone, 0.25)
        canvas.disc(x, 0.45, z, 2.6, (0.45, 0.6, 0.7), 0.2)
        canvas.box((x - 0.5, x + 0.5), (0.2, height * 0.6), z, stone)
        canvas.box((x - 0.25, x + 0.25), (height * 0.6, height), z, shade(stone, 0.6))
        canvas.disc(x, height, z, 0.35, shade(stone, 0.6))
        for k in range(16):
            fall = (0.7 * t + k / 16) % 1
            canvas.disc(x + (k % 4 - 1.5) * fall * 1.3, 0.4 + height * 0.5 * (1 - fall**2), z, 0.14, water)

    return paint


# Layers indoors and in vehicles.


def hall(place: Generator, rng: Generator, x: float, height: float, back: float, lamps: float) -> Paint:
    """A room seen along its length: half-width `x`, `height`, far wall at `back`, lamps every `lamps` metres."""
    wall, tile = pick(place, WALLS), shade((0.7, 0.69, 0.66), place.uniform(0.6, 1.2))

    def paint(canvas: Canvas, t: float) -> None:
        canvas.box((-99, 99), (0, height), back, shade(wall, 0.9))
        canvas.floor((-x, x), (0.5, back), tile)
        canvas.floor((-x, x), (back, 1), shade(wall, 0.75), height)
        for side in (-x, x):
            canvas.wall(side, (0, height), (1, back), shade(wall, 0.8))
        for k in range(1, 12):
            canvas.floor((-x, x), (2 * k, 2 * k + 0.06), shade(tile, 0.85))
            if lamps * (k + 0.2) < back:
                for side in (-x / 2, x / 2):
                    canvas.floor((side - x / 6, side + x / 6), (lamps * (k + 0.2), lamps * k), LIGHT, height - 0.01)

    return paint


def panorama(place: Generator, rng: Generator, z: float, height: float) -> Paint:
    """A wall of windows at the distance `z`: bright sky, an apron and a parked aircraft behind mullions."""
    x, livery = place.uniform(-6, 6), pick(place, PAINTS)
    taxi = journey(rng, 0.6)

    def paint(canvas: Canvas, t: float) -> None:
        canvas.box((-99, 99), (0.4, height * 0.9), z, (0.78, 0.87, 0.95))
        canvas.box((-99, 99), (0.4, 1.3), z, (0.55, 0.56, 0.55))
        nose = x + (taxi(t) % 16) - 8
        canvas.box((nose, nose + 6), (1.6, 2.5), z, (0.95, 0.95, 0.95))
        canvas.disc(nose, 2.05, z, 0.45, (0.95, 0.95, 0.95))
        canvas.box((nose + 5, nose + 6), (2.4, 3.9), z, livery)
        canvas.box((nose + 2, nose + 4), (1.5, 1.8), z, shade(LIGHT, 0.6))
        for mullion in np.arange(-21, 22, 3):
            canvas.box((mullion - 0.12, mullion + 0.12), (0, height), z, (0.3, 0.31, 0.33))

    return paint


def board(place: Generator, rng: Generator, z: float) -> Paint:
    """A departures board whose rows change."""
    x, y = place.uniform([-3, 3], [1, 3.4])
    rows = rng.uniform(0.5, 2.4, (6, 11))

    def paint(canvas: Canvas, t: float) -> None:
        canvas.box((x, x + 3), (y, y + 1.5), z, DARK)
        for k in range(6):
            left, low = x + 0.15, y + 0.1 + 0.23 * k
            canvas.box((left, left + rows[k, int(t)]), (low, low + 0.1), z, (0.95, 0.8, 0.2))

    return paint


def seats(place: Generator, rng: Generator, number: int, z: float) -> Paint:
    """A row of seats with backs, in the colour of the house."""
    colour, x = pick(place, PAINTS), place.uniform(-3, 0)

    def paint(canvas: Canvas, t: float) -> None:
        for k in range(number):
            left = x - number / 2 * 0.65 + k * 0.65
            canvas.box((left, left + 0.58), (0.42, 1.0), z, colour)
            canvas.box((left, left + 0.58), (0.36, 0.46), z - 0.2, shade(colour, 0.7))
            canvas.box((left + 0.25, left + 0.32), (0, 0.36), z, DARK)

    return paint


def platform(place: Generator, rng: Generator) -> Paint:
    """A platform's edge, the track beside it and a train that comes in, waits and leaves."""
    colour, arrival, stay = pick(place, PAINTS), rng.uniform(-6, 8), rng.uniform(3, 6)

    def paint(canvas: Canvas, t: float) -> None:
        canvas.floor((1.2, 5), (1, 40), (0.08, 0.08, 0.09))
        canvas.floor((0.95, 1.2), (1, 40), (0.95, 0.85, 0.2))
        for k in range(2):
            canvas.floor((2.2 + k, 2.3 + k), (1, 40), (0.5, 0.5, 0.5))
        away = 30 * (max(arrival - t, 0) + max(t - arrival - stay, 0) ** 2 / 4)
        near, far = 3 + away, 43 + away
        if near < 60:
            canvas.wall(1.5, (0.1, 3), (near, far), colour)
            for k in range(10):
                canvas.wall(1.5, (1.3, 2.3), (near + 4 * k + 0.5, near + 4 * k + 3), LIGHT)
            canvas.box((1.5, 4.2), (0.1, 3), near, shade(colour, 0.8))
            canvas.box((1.8, 3.9), (1.4, 2.6), near, DARK)

    return paint


def pillars(place: Generator, rng: Generator, x: float, every: float, height: float) -> Paint:
    """Pillars along a hall."""
    colour = pick(place, WALLS)

    def paint(canvas: Canvas, t: float) -> None:
        for k in range(5, 0, -1):
            canvas.box((x - 0.3, x + 0.3), (0, height), k * every, colour)
            canvas.box((x + 0.15, x + 0.3), (0, height), k * every, shade(colour, 0.7))

    return paint


def gallery(place: Generator, rng: Generator, x: float, height: float) -> Paint:
    """An upper storey's balustrades and an escalator between the floors."""
    z, foot = place.uniform([10, -2.5], [14, 0.5])

    def paint(canvas: Canvas, t: float) -> None:
        for side in (-x, x):
            canvas.wall(side * 0.8, (height / 2, height / 2 + 0.25), (3, 40), (0.9, 0.9, 0.88))
            canvas.wall(side * 0.8, (height / 2 + 0.25, height / 2 + 1.2), (3, 40), (0.62, 0.72, 0.75))
        for k in range(14):
            up = 0.3 * ((k + t) % 14)
            canvas.box((foot + up, foot + up + 0.5), (up, up + 0.9), z, (0.35, 0.36, 0.38))

    return paint


def tunnel(place: Generator, rng: Generator, speed: float) -> Paint:
    """The dark outside of an underground train: cables and lamps that fly past."""
    travel = journey(rng, speed)

    def paint(canvas: Canvas, t: float) -> None:
        canvas.box((-99, 99), (-9, 9), 4, (0.06, 0.06, 0.08))
        for y in (1.2, 2.3, 2.5):
            canvas.box((-99, 99), (y, y + 0.05), 4, (0.2, 0.2, 0.2))
        for k in range(5):
            x = (4 * k - travel(t)) % 20 - 10
            canvas.box((x, x + 0.8), (1.8, 2.0), 4, LIGHT)

    return paint


def cabin(place: Generator, rng: Generator, pane: tuple, window: tuple, poles: int, bench: bool) -> Paint:
    """The side of a vehicle from within: windows (`pane`: width, gap; `window`: sill, top), seats, poles."""
    width, gap = pane
    wall = shade((0.75, 0.75, 0.73), place.uniform(0.6, 1.15))
    cloth, steel = pick(place, PAINTS), [(0.9, 0.75, 0.1), (0.75, 0.76, 0.78), (0.85, 0.3, 0.1)][place.integers(3)]
    first, shake = place.uniform(-3.5, -2.5), rng.uniform(0, 6, 2)
    riders = [(x, pick(rng, CLOTHES)) for x in rng.uniform(-2.2, 2.2, rng.poisson(2))]
    low, high = window

    def paint(canvas: Canvas, t: float) -> None:
        canvas.row += 0.6 * np.sin(17 * t + shake[0])
        canvas.column += 0.6 * np.sin(13 * t + shake[1])
        canvas.box((-9, 9), (-3, low), 2.4, wall)
        canvas.box((-9, 9), (high, 9), 2.4, wall)
        canvas.box((-9, 9), (high + 0.25, high + 0.4), 2.4, LIGHT)
        for left in first + np.arange(8) * (width + gap):
            canvas.box((left - gap, left), (low, high), 2.4, shade(wall, 0.9))
        canvas.floor((-9, 9), (0.5, 2.4), shade(wall, 0.5))
        for k in range(9):
            left = first + k * (0.6 if bench else 1.0)
            canvas.box((left, left + 0.55), (0.4, 0.75 if bench else 1.25), 2.3, shade(cloth, 0.9 if k % 2 else 1))
        canvas.box((-9, 9), (0.35, 0.5), 2.2, shade(cloth, 0.6))
        for x, clothes in riders:
            canvas.box((x - 0.24, x + 0.24), (0.4, 1.1), 2.2, clothes)
            canvas.disc(x, 1.27, 2.2, 0.13, SKIN, 1.25)
        for k in range(poles):
            x = (k + 0.5 - poles / 2) * 4.2 / poles
            canvas.box((x - 0.025, x + 0.025), (0, 3), 1.9, steel)
        canvas.box((-9, 9), (2.05, 2.09), 1.8, steel)

    return paint


# Layers that move.


def people(place: Generator, rng: Generator, number: float, z: tuple, speed: float, bags: float = 0) -> Paint:
    """About `number` people between the distances `z` who walk to and fro; some draw a suitcase or carry bags."""
    crowd = [
        (depth, rng.uniform(-9, 9), rng.choice([-1, 1]) * speed * rng.uniform(0.7, 1.3), rng.uniform(0.9, 1.08),
         pick(rng, CLOTHES), pick(rng, CLOTHES), pick(rng, PAINTS), rng.random() < bags)
        for depth in sorted(rng.uniform(*z, rng.poisson(number)), reverse=True)
    ]  # fmt: skip

    def paint(canvas: Canvas, t: float) -> None:
        for z, start, speed, size, coat, trousers, colour, bag in crowd:
            half = 1.2 * z + 1
            x = (start + speed * t + half) % (2 * half) - half
            stride = 0.18 * np.sin(5 * t + start) * min(abs(speed), 1)
            for leg in (-1, 1):
                foot = x + leg * (0.08 + stride)
                canvas.box((foot - 0.08, foot + 0.08), (0, 0.85 * size), z, trousers)
            canvas.box((x - 0.24, x + 0.24), (0.75 * size, 1.45 * size), z, coat)
            canvas.disc(x, 1.6 * size, z, 0.13, SKIN, 1.25)
            if bag:
                behind = x - 0.55 * np.sign(speed)
                canvas.box((behind - 0.2, behind + 0.2), (0.05, 0.65), z, colour)

    return paint


def vehicles(place: Generator, rng: Generator, number: int, lanes: tuple, speed: float, long: float = 0.2) -> Paint:
    """At most `number` cars in each of the `lanes` (distances), one speed a lane; a part of them, `long`, are buses."""
    cars = []
    for k, z in enumerate(sorted(lanes, reverse=True)):
        pace, gap = (-1) ** k * speed * rng.uniform(0.8, 1.2), 50 / number
        for start in gap * (np.arange(number) + rng.uniform(0, 0.5) + rng.uniform(0, 0.2, number)):
            cars.append((z, pace, start, pick(rng, PAINTS), rng.random() < long))

    def paint(canvas: Canvas, t: float) -> None:
        for z, speed, start, colour, bus in cars:
            x, length, height = (start + speed * t + 25) % 50 - 25, 9 if bus else 4.2, 3 if bus else 1.5
            if bus:
                canvas.box((x, x + length), (0.4, height), z, colour)
                canvas.box((x + 0.3, x + length - 0.3), (1.4, 2.5), z, shade(GLASS, 0.7))
            else:
                canvas.box((x, x + length), (0.35, 0.95), z, colour)
                canvas.box((x + 0.8, x + 3.4), (0.95, height), z, shade(colour, 0.85))
                canvas.box((x + 1, x + 3.2), (1, height - 0.08), z, shade(GLASS, 0.7))
            for wheel in (0.2, 0.8):
                canvas.disc(x + wheel * length, 0.35, z, 0.35, DARK)

    return paint


GRASS, ASPHALT, PAVING = (0.36, 0.5, 0.22), (0.42, 0.42, 0.42), (0.62, 0.59, 0.54)
# scene: (layers that stand still, layers that move and whatever stands before them)
SCENES = {
    "airport": (
        [
            (hall, {"x": 8, "height": 5, "back": 16, "lamps": 3}),
            (sometimes, {"chance": 0.4, "layer": canyon, "x": 7, "height": 5, "shops": 0.5, "bay": 1.6}),
        ],
        [
            (sometimes, {"chance": 0.7, "layer": panorama, "z": 15.5, "height": 4.6}),
            (sometimes, {"chance": 0.7, "layer": board, "z": 9}),
            (sometimes, {"chance": 0.7, "layer": seats, "number": 9, "z": 7}),
            (people, {"number": 7, "z": (4, 12), "speed": 0.9, "bags": 0.8}),
        ],
    ),
    "metro_station": (
        [
            (hall, {"x": 4.5, "height": 4, "back": 40, "lamps": 4}),
            (sometimes, {"chance": 0.5, "layer": canyon, "x": 4.5, "height": 4, "shops": 0.3}),
        ],
        [
            (platform, {}),
            (sometimes, {"chance": 0.6, "layer": pillars, "x": -2.2, "every": 4, "height": 4}),
            (sometimes, {"chance": 0.5, "layer": board, "z": 9}),
            (sometimes, {"chance": 0.4, "layer": seats, "number": 5, "z": 9}),
            (people, {"number": 7, "z": (4, 14), "speed": 0.3, "bags": 0.2}),
        ],
    ),
    "shopping_mall": (
        [
            (hall, {"x": 5, "height": 7, "back": 36, "lamps": 5}),
            (canyon, {"x": 5, "height": 7, "shops": 0.9}),
        ],
        [
            (sometimes, {"chance": 0.6, "layer": gallery, "x": 5, "height": 7}),
            (sometimes, {"chance": 0.3, "layer": board, "z": 9}),
            (sometimes, {"chance": 0.3, "layer": seats, "number": 5, "z": 7}),
            (people, {"number": 9, "z": (4, 14), "speed": 0.7, "bags": 0.5}),
        ],
    ),
    "park": (
        [
            (sky, {}),
            (ground, {"colour": GRASS}),
            (sometimes, {"chance": 0.3, "layer": facades, "z": 32, "height": (6, 10)}),
            (trees, {"number": 12, "z": (14, 30)}),
            (sometimes, {"chance": 0.7, "layer": path}),
        ],
        [
            (trees, {"number": 4, "z": (7, 12)}),
            (people, {"number": 2, "z": (6, 14), "speed": 0.8}),
        ],
    ),
    "public_square": (
        [
            (sky, {}),
            (ground, {"colour": PAVING, "tiles": 2.5}),
            (facades, {"z": 26, "height": (8, 15)}),
            (trees, {"number": 1.5, "z": (16, 24)}),
            (sometimes, {"chance": 0.2, "layer": canyon, "x": 9, "height": 10, "shops": 0.3}),
        ],
        [
            (sometimes, {"chance": 0.7, "layer": fountain}),
            (people, {"number": 10, "z": (5, 20), "speed": 0.6, "bags": 0.1}),
        ],
    ),
    "street_pedestrian": (
        [
            (sky, {}),
            (ground, {"colour": PAVING, "tiles": 1.5}),
            (canyon, {"x": 4.5, "height": 11, "shops": 0.7}),
        ],
        [
            (sometimes, {"chance": 0.15, "layer": fountain}),
            (trees, {"number": 0.7, "z": (9, 20)}),
            (people, {"number": 11, "z": (4, 16), "speed": 0.8, "bags": 0.2}),
        ],
    ),
    "street_traffic": (
        [
            (sky, {}),
            (ground, {"colour": ASPHALT}),
            (facades, {"z": 18, "height": (7, 13)}),
            (trees, {"number": 3, "z": (14, 16)}),
            (road, {}),
        ],
        [
            (vehicles, {"number": 3, "lanes": (6, 9.5), "speed": 6}),
            (people, {"number": 1.5, "z": (3.5, 4.3), "speed": 1}),
        ],
    ),
    "bus": (
        [],
        [
            (sky, {}),
            (ground, {"colour": ASPHALT}),
            (facades, {"z": 14, "height": (6, 12), "speed": 6}),
            (vehicles, {"number": 2, "lanes": (7,), "speed": 9}),
            (cabin, {"pane": (1.7, 0.15), "window": (1.05, 2.1), "poles": 3, "bench": False}),
        ],
    ),
    "metro": (
        [],
        [
            (tunnel, {"speed": 11}),
            (cabin, {"pane": (1.2, 0.9), "window": (1.15, 1.95), "poles": 4, "bench": True}),
        ],
    ),
    "tram": (
        [],
        [
            (sky, {}),
            (ground, {"colour": ASPHALT}),
            (facades, {"z": 20, "height": (6, 11), "speed": 5}),
            (trees, {"number": 8, "z": (9, 15), "speed": 5}),
            (cabin, {"pane": (1.0, 0.1), "window": (0.85, 2.4), "poles": 2, "bench": False}),
        ],
    ),
}


def frames(
    scene: str, place: Generator, rng: Generator, times: np.ndarray, width: int, height: int
) -> Iterator[np.ndarray]:
    """The pictures of one clip.

    Parameters
    ----------
    scene : a row of `SCENES`
    place : generator of what the location's clips share, in the same state for each of them
    rng : generator of what is the clip's own
    times : seconds `[frames]`
    width, height : pixels

    Yields
    ------
    uint8 array `[height, width, 4]`: red, green, blue, opacity
    """
    canvas = Canvas(place, width, height)
    view = canvas.row, canvas.column
    still, moving = ([layer(place, rng, **options) for layer, options in layers] for layers in SCENES[scene])
    for paint in still:
        paint(canvas, 0)
    backdrop = canvas.pixels.copy()
    for t in times:
        canvas.pixels[:] = backdrop
        canvas.row, canvas.column = view
        for paint in moving:
            paint(canvas, t)
        picture = canvas.pixels[:, ::-1] if canvas.mirrored else canvas.pixels
        yield np.ascontiguousarray(picture).view(np.uint8).reshape(height, width, 4)


def write_mp4(path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: int, sound: np.ndarray) -> None:
    """Encode `pictures` (see `frames`) of `size` (width, height) and `sound` `[2, samples]` at 48 kHz as H.264 and AAC.

    Equal clips give equal files: one thread, no dates.
    """
    with av.open(str(path), "w", container_options={"fflags": "bitexact"}) as file:
        options, (width, height) = {"preset": "superfast", "crf": "26", "threads": "1"}, size
        video = file.add_stream("libx264", rate=fps, options=options, width=width, height=height, pix_fmt="yuv420p")
        audio = file.add_stream("aac", rate=48_000, options={"aac_coder": "fast"}, layout="stereo")
        for picture in pictures:
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgba")))
        samples = av.AudioFrame.from_ndarray(sound.astype(np.float32), format="fltp", layout="stereo")
        samples.sample_rate = 48_000
        file.mux(audio.encode(samples))
        for stream in (video, audio):
            file.mux(stream.encode())
