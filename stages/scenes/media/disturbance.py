"""What may be wrong with a clip's sound and pictures: noise at a level, blur, darkness, something before the lens.

A condition is a word, kind and level: `pink:20`, `blur:0.01`. Functions of arrays leave them as they are. What is drawn
at random comes from a generator of the clip's own: the same clip gets the same noise at every level, whatever other
clips there are and however they are shared out.
"""

import zlib
from pathlib import Path

import numpy as np
import scipy

from scenes.stage.errors import InputError

NOISE = {"pink": (-60, 120), "babble": (-60, 120)}  # kinds, and the range of their levels: signal to noise, dB
FRAMES = {"blur": (0, 0.5), "light": (0, 1), "cover": (0, 1)}  # likewise: sigma, light and part of the functions below
VOICES = 4
GREY = 128


def parse(words: list[str], allowed: dict[str, tuple[float, float]]) -> list[tuple[str, float]]:
    """Turn the words of conditions, `["pink:20", ...]`, into kinds and levels, `[("pink", 20.0), ...]`.

    Parameters
    ----------
    words : list of str
        Each `kind:level`.
    allowed : dict
        `NOISE` or `FRAMES`.

    Raises
    ------
    InputError
        If a word is of another form, of another kind, or of a level beyond the range of its kind.
    """
    conditions = []
    for word in words:
        kind, _, number = word.partition(":")
        low, high = allowed.get(kind, (1, 0))  # no number is in this range
        try:
            level = float(number)
        except ValueError:
            level = np.nan
        if not low <= level <= high:
            forms = " or ".join(f"{kind}:NUMBER ({low} to {high})" for kind, (low, high) in allowed.items())
            raise InputError(f"{word}: must be {forms}")
        conditions.append((kind, level))
    return conditions


def clip_generator(seed: int, path: str) -> np.random.Generator:
    """The generator of a clip, from its name: the file's without its ending."""
    return np.random.default_rng((seed, zlib.crc32(Path(path).stem.encode())))


def pink_noise(channels: int, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose power falls as 1 / f, float32 `[channels, samples]`, the channels independent."""
    frequencies = np.arange(1, samples // 2 + 1, dtype=np.float32)
    real, imaginary = generator.standard_normal((2, channels, len(frequencies)), np.float32)
    spectrum = (real + 1j * imaginary) / np.sqrt(frequencies)
    return scipy.fft.irfft(np.pad(spectrum, ((0, 0), (1, 0))), samples)


def voices(path: str, places: dict[str, str], generator: np.random.Generator, count: int = VOICES) -> list[str]:
    """Choose whose sound makes the babble behind a clip: clips of other locations, each at most once.

    Parameters
    ----------
    path : str
        The clip's sound.
    places : dict
        Location of each clip that has sound, by the path of that.
    generator : Generator
        Source of the choice.
    count : int
        How many; fewer where there are not as many.

    Raises
    ------
    InputError
        If all clips with sound are of the clip's own location.
    """
    others = [other for other, place in places.items() if place != places[path]]
    if not others:
        raise InputError(f"{path}: no evaluate clip of another location has sound to make babble of; use pink noise")
    return [str(other) for other in generator.choice(others, min(count, len(others)), replace=False)]


def add_noise(sound: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio.

    Parameters
    ----------
    sound, noise : ndarray
        float32 `[channels, samples]`. Of a silent clip no noise is any number of decibels below, so it stays silent;
        silent noise changes nothing.
    snr : float
        Power of the whole clip over that of the noise added, both channels together, dB.

    Returns
    -------
    ndarray
        float32 `[channels, samples]`, not clipped: samples may lie beyond 1.
    """
    signal_power, noise_power = (np.mean(np.square(array, dtype=np.float64)) for array in (sound, noise))
    if noise_power == 0:
        return sound
    gain = np.sqrt(signal_power / noise_power / 10 ** (snr / 10))
    return sound + np.float32(gain) * noise


def blur(frames: np.ndarray, sigma: float) -> np.ndarray:
    """Blur frames, uint8 `[n, S, S, 3]`, by a Gaussian whose sigma is this part of their height."""
    pixels = sigma * frames.shape[1]
    blurred = scipy.ndimage.gaussian_filter(frames.astype(np.float32), (0, pixels, pixels, 0))
    return np.rint(blurred).astype(np.uint8)


def darken(frames: np.ndarray, light: float) -> np.ndarray:
    """Frames, uint8 sRGB `[n, S, S, 3]`, in this part of the light, as a camera would show them that does not adapt."""
    value = np.arange(256) / 255
    linear = light * np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    dark = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * dark).astype(np.uint8)[frames]


def block(frames: np.ndarray, part: float, generator: np.random.Generator) -> np.ndarray:
    """Frames, uint8 `[n, S, S, 3]`, behind a grey square that covers this part of the picture, in all at one place."""
    size = frames.shape[1]
    side = round(np.sqrt(part) * size)
    top, left = generator.integers(0, size - side + 1, 2)
    blocked = frames.copy()
    blocked[:, top : top + side, left : left + side] = GREY
    return blocked
