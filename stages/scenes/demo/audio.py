"""Synthetic sound for the demo set: each scene is a bed that lasts and events that come at random times.

A scene is a row of the table `SCENES`, not a function of its own: how long its room rings, the levels of its beds
and the number of each event that ten seconds hold on average. Scenes of one meta-class share most of their beds, and
every event is heard now and then elsewhere, so a single second tells little and a whole clip tells much.

Two generators run through the module: `place` draws what all clips of a location share (microphone, levels, pitches),
`rng` what differs from clip to clip (noise, phases, times of the events).
"""

from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator
from scipy import fft

RATE = 48_000
TABLE = 4_096  # steps of one cycle of a tone
GRID = np.array([30, 100, 300, 1_000, 3_000, 10_000])  # Hz; a spectrum is six levels in dB at these frequencies


def noise(rng: Generator, seconds: float, spectrum: tuple[float, ...], channels: int = 2) -> np.ndarray:
    """Stationary noise, `[channels, samples]` of unit power, whose `spectrum` is given in dB on `GRID`.

    Two channels agree at low frequencies and not at high ones, as those of two spaced microphones do.
    """
    samples = round(seconds * RATE)
    fast = fft.next_fast_len(samples, real=True)
    frequency = fft.rfftfreq(fast, 1 / RATE)
    white = rng.standard_normal((channels, 2 * len(frequency)), np.float32).view(np.complex64)
    coherence = np.exp(-frequency / 600)
    white[1:] = coherence * white[0] + np.sqrt(1 - coherence**2) * white[1:]
    gain = 10 ** (np.interp(np.log(frequency + 1), np.log(GRID), spectrum) / 20)
    signal = fft.irfft(white * gain.astype(np.float32), fast)[:, :samples]
    return signal / signal.std()


def drift(rng: Generator, samples: int, rate: float, depth: float) -> np.ndarray:
    """A curve `[samples]` that wanders around 0 with standard deviation `depth`, `rate` new values a second."""
    knots = rng.normal(0, depth, int(samples / RATE * rate) + 2)
    return np.interp(np.arange(samples) * rate / RATE, np.arange(len(knots)), knots)


def tone(frequency: np.ndarray, partials: tuple[float, ...]) -> np.ndarray:
    """Harmonics of a `frequency` in Hz that may change with time, `[samples]`, with amplitudes `partials`."""
    cycle = fft.irfft([0, *(-1j * np.array(partials))], TABLE) * TABLE / 2
    return cycle[(np.cumsum(frequency) * (TABLE / RATE)).astype(int) % TABLE]


# Events: each returns one mono sound `[samples]`; `pitch` scales its frequencies.


def bell(rng: Generator, pitch: float, notes: tuple[float, ...], gap: float, decay: float) -> np.ndarray:
    """Struck or beeping `notes` in Hz, `gap` seconds apart, each dying away in `decay` seconds."""
    out = np.zeros(round(RATE * (gap * len(notes) + 4 * decay)))
    for k, note in enumerate(notes):
        tail = out[round(k * gap * RATE) :]
        envelope = np.exp(-np.arange(len(tail)) / RATE / decay)
        tail += envelope * tone(np.full(len(tail), note * pitch), (1, 0.5, 0.3, 0.2))
    return out


def burst(rng: Generator, pitch: float, spectrum: tuple[float, ...], decay: float, hits: int, gap: float) -> np.ndarray:
    """`hits` strokes of coloured noise, about `gap` seconds apart: steps, rail joints, wheels, hissing doors."""
    gap *= rng.uniform(0.85, 1.15)
    stroke = noise(rng, hits * gap, spectrum, 1)[0]
    return 2 * stroke * np.exp(-(np.arange(len(stroke)) / RATE % gap) / decay)


def call(rng: Generator, pitch: float, low: float, high: float, seconds: float, repeats: int = 1) -> np.ndarray:
    """A whistle that sweeps once or several times between `low` and `high` Hz: birds, squealing wheels, horns."""
    samples = round(seconds * RATE)
    sweep = np.interp(np.linspace(0, 5, samples), np.arange(6), pitch * rng.uniform(low, high, 6))
    return np.tile(np.hanning(samples) * tone(sweep, (1, 0.3, 0.15)), rng.integers(1, repeats + 1))


def voice(rng: Generator, pitch: float, seconds: float) -> np.ndarray:
    """Babble of one speaker: a gliding buzz with two wandering formants, cut into syllables."""
    samples = round(seconds * rng.uniform(0.6, 1.4) * RATE)
    base = pitch * rng.choice([115, 210])
    formants = rng.uniform([400, 1_000], [800, 2_200])[:, None]
    harmonics = base * np.arange(1, 20)
    partials = tuple(np.exp(-(np.log2(harmonics / formants) ** 2) * 6).sum(0))
    syllables = np.clip(drift(rng, samples, 7, 0.5) + 0.3, 0, 1)
    return syllables * np.hanning(samples) ** 0.3 * tone(base * np.exp(drift(rng, samples, 4, 0.1)), partials)


def passing(rng: Generator, pitch: float, seconds: float, base: float, spectrum: tuple[float, ...]) -> np.ndarray:
    """Something on wheels that swells and fades within `seconds`, its note of `base` Hz falling as it passes."""
    samples = round(seconds * rng.uniform(0.7, 1.3) * RATE)
    time = np.linspace(-1, 1, samples)
    falling = pitch * base * rng.uniform(0.8, 1.25) * (1 - 0.08 * np.tanh(4 * time))
    return np.exp(-8 * time**2) * (
        noise(rng, samples / RATE, spectrum, 1)[0] + 0.4 * tone(falling, (1, 0.8, 0.6, 0.4, 0.3))
    )


# name: (spectrum in dB on GRID, new amplitudes a second, depth of these)
NOISES = {
    "rumble": ((0, -4, -16, -32, -46, -60), 1, 0.2),
    "air": ((-12, -6, -6, -14, -24, -36), 0.5, 0.1),
    "roar": ((-6, 0, -3, -8, -20, -36), 1, 0.3),
    "crowd": ((-40, -14, 0, -4, -16, -34), 5, 0.35),
    "leaves": ((-36, -30, -24, -10, -2, -6), 0.7, 0.4),
    "water": ((-40, -26, -12, -3, 0, -8), 8, 0.1),
    "city": ((-2, 0, -6, -14, -26, -44), 0.5, 0.3),
}
# name: (fundamental in Hz, amplitudes of its harmonics, wander of the pitch)
HUMS = {
    "diesel": (31, (1, 0.8, 1, 0.6, 0.5, 0.7, 0.4, 0.3, 0.2, 0.2), 0.15),
    "traction": (88, (0.6, 1, 0.5, 0.7, 0.3, 0.2), 0.12),
    "whine": (430, (1, 0.5, 0.4, 0.2), 0.2),
    "mains": (100, (1, 0.6, 0.4, 0.2, 0.2), 0.002),
    "music": (262, (0.6, 1, 0.8, 0.4, 0.3, 0.2), 0.25),
}
# name: (level in dB above the bed, whether it moves, function, its numbers)
CLICK, THUD, HISS, ROLL = (
    (-40, -30, -16, -4, 0, -6),
    (-6, 0, -3, -12, -24, -36),
    (-60, -50, -36, -18, -4, 0),
    (-20, -8, 0, -3, -12, -24),
)
EVENTS = {
    "announcement": (4, False, voice, {"seconds": 2.5}),
    "voice": (2, False, voice, {"seconds": 1.2}),
    "steps": (0, True, burst, {"spectrum": CLICK, "decay": 0.03, "hits": 4, "gap": 0.5}),
    "suitcase": (2, True, burst, {"spectrum": ROLL, "decay": 0.02, "hits": 24, "gap": 0.06}),
    "joint": (6, False, burst, {"spectrum": THUD, "decay": 0.05, "hits": 2, "gap": 0.18}),
    "rattle": (2, False, burst, {"spectrum": CLICK, "decay": 0.012, "hits": 9, "gap": 0.045}),
    "hiss": (3, False, burst, {"spectrum": HISS, "decay": 0.3, "hits": 1, "gap": 1.0}),
    "clink": (2, False, bell, {"notes": (3_100, 4_200), "gap": 0.07, "decay": 0.06}),
    "gong": (3, False, bell, {"notes": (620, 780), "gap": 0.2, "decay": 0.3}),
    "stop": (3, False, bell, {"notes": (1_250,), "gap": 0.1, "decay": 0.35}),
    "doors": (3, False, bell, {"notes": (880, 660, 880), "gap": 0.22, "decay": 0.12}),
    "jingle": (3, False, bell, {"notes": (523, 659, 784), "gap": 0.35, "decay": 0.35}),
    "gate": (1, False, bell, {"notes": (2_000, 2_000), "gap": 0.12, "decay": 0.04}),
    "till": (1, False, bell, {"notes": (1_500,), "gap": 0.1, "decay": 0.05}),
    "church": (4, False, bell, {"notes": (294, 294), "gap": 1.2, "decay": 0.8}),
    "bicycle": (2, True, bell, {"notes": (2_600, 2_700, 2_600, 2_700), "gap": 0.09, "decay": 0.12}),
    "bird": (1, False, call, {"low": 2_800, "high": 6_500, "seconds": 0.16, "repeats": 5}),
    "squeal": (1, False, call, {"low": 2_300, "high": 2_900, "seconds": 1.2}),
    "horn": (4, True, call, {"low": 390, "high": 420, "seconds": 0.5, "repeats": 2}),
    "car": (6, True, passing, {"seconds": 3, "base": 75, "spectrum": (-4, 0, -4, -7, -16, -30)}),
    "train": (7, True, passing, {"seconds": 5, "base": 140, "spectrum": (0, -2, -3, -5, -12, -26)}),
    "rev": (5, False, passing, {"seconds": 2.5, "base": 48, "spectrum": (0, 0, -10, -22, -34, -50)}),
}
# scene: (reverberation in seconds, {bed: level in dB}, {event: how many in ten seconds on average})
SCENES = {
    "airport": (
        1.6,
        {"air": 0, "rumble": -3, "crowd": -10},
        {"suitcase": 6, "jingle": 3, "announcement": 3, "steps": 3, "voice": 2},
    ),
    "metro_station": (
        2.0,
        {"air": -5, "rumble": 2, "mains": -6, "crowd": -8},
        {"train": 3, "gate": 8, "doors": 3, "steps": 3, "voice": 2},
    ),
    "shopping_mall": (
        1.2,
        {"air": -6, "rumble": -10, "music": -7, "crowd": 0},
        {"clink": 6, "till": 8, "voice": 5, "steps": 3},
    ),
    "bus": (
        0.2,
        {"rumble": 0, "roar": -8, "diesel": -3, "crowd": -14},
        {"hiss": 6, "rev": 3, "stop": 4, "rattle": 6, "voice": 2},
    ),
    "metro": (
        0.4,
        {"rumble": -3, "roar": 1, "traction": -6, "crowd": -14},
        {"joint": 10, "doors": 3, "squeal": 1, "announcement": 1, "voice": 2},
    ),
    "tram": (
        0.3,
        {"rumble": 0, "roar": -5, "whine": -10, "crowd": -14},
        {"gong": 5, "squeal": 5, "joint": 3, "rattle": 3, "voice": 2},
    ),
    "park": (
        0.1,
        {"city": -3, "leaves": -5, "crowd": -14},
        {"bird": 10, "steps": 3, "voice": 2, "car": 0.5},
    ),
    "public_square": (
        0.6,
        {"city": 0, "water": -4, "crowd": -5},
        {"church": 3, "voice": 4, "bird": 4, "steps": 3, "car": 0.5},
    ),
    "street_pedestrian": (
        0.4,
        {"city": -2, "leaves": -14, "crowd": 0},
        {"steps": 12, "voice": 5, "bicycle": 4, "bird": 1, "car": 0.5},
    ),
    "street_traffic": (
        0.3,
        {"city": 2, "rumble": -2, "leaves": -12, "crowd": -14},
        {"car": 8, "horn": 4, "hiss": 2, "steps": 2, "bird": 1},
    ),
}


def pan(rng: Generator, mono: np.ndarray, moves: bool) -> np.ndarray:
    """Put a `mono` sound `[samples]` between two microphones, `[2, samples]`: nearer is louder and earlier."""
    start, end = rng.uniform(-1, 1, 2)
    side = np.linspace(start, end if moves else start, len(mono))
    angle = (side + 1) * np.pi / 4
    delay = 0.0003 * RATE * side
    clock = np.arange(len(mono))
    left, right = (np.interp(clock - delay * sign, clock, mono, left=0, right=0) for sign in (1, -1))
    return np.stack([np.cos(angle) * left, np.sin(angle) * right])


def bed(place: Generator, rng: Generator, name: str, seconds: float) -> np.ndarray:
    """One lasting sound of the tables `NOISES` and `HUMS`, `[2, samples]`, of about unit power."""
    samples = round(seconds * RATE)
    if name in NOISES:
        spectrum, rate, depth = NOISES[name]
        return noise(rng, seconds, spectrum) * np.exp(drift(rng, samples, rate, depth))
    base, partials, wander = HUMS[name]
    frequency = base * np.exp(place.normal(0, 0.08) + drift(rng, samples, 0.8, wander))
    return pan(rng, tone(frequency, partials), moves=False)


def room(rng: Generator, dry: np.ndarray, ringing: float, tilt: float) -> np.ndarray:
    """`dry` sound `[2, samples]` in a room that rings for `ringing` seconds (60 dB down), `tilt` dB an octave brighter.

    The echo of the end is heard at the beginning: the room did not begin with the recording.
    """
    samples = dry.shape[1]
    time = np.arange(round(ringing * RATE)) / RATE
    echo = rng.standard_normal((2, len(time))) * np.exp(-6.9 * time / ringing) * np.sqrt(3.5 / RATE)
    echo[:, 0] += 1
    octaves = np.log2(np.maximum(fft.rfftfreq(samples, 1 / RATE), 20) / 1_000)
    return fft.irfft(fft.rfft(dry) * fft.rfft(echo, samples) * 10 ** (tilt * octaves / 20), samples)


def soundscape(scene: str, place: Generator, rng: Generator, seconds: float = 10) -> np.ndarray:
    """The sound of one clip.

    Parameters
    ----------
    scene : a row of `SCENES`
    place : generator of what the location's clips share, in the same state for each of them
    rng : generator of what is the clip's own
    seconds : duration

    Returns
    -------
    float array `[2, samples]` at 48 kHz, left and right, within -1 and 1
    """
    ringing, beds, events = SCENES[scene]
    level, tilt, pitch = place.normal([-30, 0, 0], [2, 0.5, 0.05])
    mix = np.zeros((2, round(seconds * RATE)))
    for name, gain in beds.items():
        mix += 10 ** ((gain + place.normal(0, 1)) / 20) * bed(place, rng, name, seconds)
    for name, often in events.items():
        gain, moves, sound, numbers = EVENTS[name]
        amplitude = 10 ** ((gain + place.normal(0, 1)) / 20)
        for start in rng.integers(0, mix.shape[1], rng.poisson(often * seconds / 10)):
            stereo = pan(rng, sound(rng, np.exp(pitch), **numbers), moves)[:, : mix.shape[1] - start]
            mix[:, start : start + stereo.shape[1]] += amplitude * rng.uniform(0.5, 1.5) * stereo
    mix = room(rng, mix, ringing * np.exp(place.normal(0, 0.2)), tilt)
    return np.tanh(10 ** (level / 20) * mix)


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Write `sound` `[2, samples]` as 24-bit PCM."""
    soundfile.write(path, sound.T, RATE, subtype="PCM_24")
