"""The colours and marks of all figures and of the page.

Lines and bars take those of Okabe and Ito, told apart by the colour-blind. Classes, of which there may be many, take
matplotlib's ten, and further ones as far from those before as can be.
"""

import matplotlib
import numpy as np

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
MARKS = "osD^vPX"


def line_style(number: int) -> dict[str, str]:
    """Colour and mark of a line, distinct among the first 49."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKS[(number + number // len(COLOURS)) % len(MARKS)]}


def of_classes(count: int) -> list[str]:
    """A colour per class as `#rrggbb`, no two alike up to at least 40 classes.

    The first ten are matplotlib's; each further one is the farthest in OKLab (Ottosson 2020) from those before, among
    colours neither too dark nor too light to be told from black and white.
    """
    chosen = np.array(matplotlib.colormaps["tab10"].colors)[:count]
    steps = np.linspace(0, 1, 13)
    candidates = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    lightness = oklab(candidates)[:, 0]
    candidates = candidates[(lightness > 0.35) & (lightness < 0.85)]
    while len(chosen) < count:
        gaps = np.linalg.norm(oklab(candidates)[:, None] - oklab(chosen), axis=-1).min(axis=1)
        chosen = np.vstack([chosen, candidates[gaps.argmax()]])
    return [matplotlib.colors.to_hex(colour) for colour in chosen]


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Lightness and two opponent axes, `[n, 3]`, in which distance is about what the eye sees; `rgb` from 0 to 1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(linear @ np.array([[0.4122214708, 0.2119034982, 0.0883024619],
                                       [0.5363325363, 0.6806995451, 0.2817188376],
                                       [0.0514459929, 0.1073969566, 0.6299787005]]))  # fmt: skip
    return cones @ np.array([[0.2104542553, 1.9779984951, 0.0259040371],
                             [0.7936177850, -2.4285922050, 0.7827717662],
                             [-0.0040720468, 0.4505937099, -0.8086757660]])  # fmt: skip
