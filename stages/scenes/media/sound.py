"""Audio of a recording: decoded, mixed down, on the time axis without gaps, at one rate."""

from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np
import soxr

from scenes.stage.errors import InputError

# Samples a second of any audio there is. A damaged header may say a billion, or one: resampling takes the memory.
RATES = range(2_000, 768_001)
# Seconds by which a track's times may be off its samples: muxers round, clocks drift.
JITTER = 0.1


class Sound(NamedTuple):
    """Audio that follows the block before it without a gap."""

    start: float  # seconds on the axis
    rate: int
    samples: np.ndarray  # float32 [1 or 2, samples]


class Resampler:
    """Streaming resampler: audio at any rates in, at one rate out."""

    def __init__(self, rate: int):
        self.rate, self.stream, self.source, self.channels = rate, None, rate, 0

    def feed(self, samples: np.ndarray, rate: int) -> Iterator[np.ndarray]:
        """Resample `[channels, samples]`; a new rate first ends what came before."""
        if rate != self.source:
            yield from self.flush()
            self.source, self.channels = rate, len(samples)
            self.stream = soxr.ResampleStream(rate, self.rate, len(samples)) if rate != self.rate else None
        yield self._chunk(samples, False) if self.stream else samples

    def flush(self) -> Iterator[np.ndarray]:
        if self.stream:
            yield self._chunk(np.empty((self.channels, 0), np.float32), True)
        self.stream, self.source = None, self.rate

    def _chunk(self, samples: np.ndarray, last: bool) -> np.ndarray:
        return self.stream.resample_chunk(np.ascontiguousarray(samples.T), last=last).T


class Hearing:
    """Turns the audio frames of a track, with their times, into blocks that follow one another from 0 on.

    Where there is none, by its times or by damage, is silence; what overlaps is cut.

    Parameters
    ----------
    name : str
        Of the recording, for errors.
    rate : int or None
        Samples per second wanted; None for those of the first frame.
    """

    def __init__(self, name: str, rate: int | None):
        self.name, self.rate, self.channels = name, rate, 0
        self.end = 0.0  # seconds put onto the axis
        self.samples = 0  # given out
        self.silent, self.torn = True, False
        self.resampler: Resampler | None = None
        self.kind, self.planar = None, None

    def add(self, frame: av.AudioFrame, time: float | None) -> Iterator[Sound]:
        """Put a frame at its time; None: where the one before it ended.

        Raises
        ------
        InputError
            If its rate is absurd, or samples are not finite numbers.
        """
        self.channels = self.channels or min(2, frame.layout.nb_channels)
        for samples in self._mixed(frame):
            lag = 0 if time is None else time - self.end
            if lag > (0 if self.torn else JITTER):
                yield from self._silence(lag, frame.sample_rate)
            elif lag < -JITTER:
                samples = samples[:, round(-lag * frame.sample_rate) :]
            time, self.torn = None, False
            yield from self.put(samples, frame.sample_rate)

    def put(self, samples: np.ndarray, rate: int) -> Iterator[Sound]:
        """Put samples, float32 `[channels, samples]`, where those before them ended; errors as of `add`."""
        if rate not in RATES:
            raise InputError(
                f"{self.name}: sample rate is {rate} Hz, must be {RATES[0]} to {RATES[-1]} Hz; export it again"
            )
        if not np.isfinite(samples).all():
            raise InputError(f"{self.name}: contains samples that are NaN or infinite; export it again")
        self.rate = self.rate or rate
        self.resampler = self.resampler or Resampler(self.rate)
        self.silent = self.silent and not samples.any()
        self.end += samples.shape[1] / rate
        yield from map(self._block, self.resampler.feed(samples, rate))

    def close(self) -> Iterator[Sound]:
        yield from map(self._block, self.resampler.flush() if self.resampler else ())

    def _mixed(self, frame: av.AudioFrame) -> list[np.ndarray]:
        """Planar float samples; more channels than two mixed down by what FFmpeg knows of their layout."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self.kind:
            layout = (
                frame.layout if frame.layout.nb_channels == self.channels else ("mono", "stereo")[self.channels - 1]
            )
            self.kind, self.planar = kind, av.AudioResampler(format="fltp", layout=layout)
        return [block.to_ndarray() for block in self.planar.resample(frame)]

    def _silence(self, seconds: float, rate: int) -> Iterator[Sound]:
        missing = round(seconds * rate)
        for at in range(0, missing, rate):
            yield from self.put(np.zeros((self.channels, min(rate, missing - at)), np.float32), rate)

    def _block(self, samples: np.ndarray) -> Sound:
        self.samples += samples.shape[1]
        return Sound((self.samples - samples.shape[1]) / self.rate, self.rate, samples)


def stereo(samples: np.ndarray) -> np.ndarray:
    """Two channels `[2, samples]` of one or two."""
    return samples[[0, len(samples) - 1]]
