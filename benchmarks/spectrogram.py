"""Time the spectrograms against librosa and gammatone, and measure both CQTs against exact inner products.

The floor is what no such transform can do without, on arrays that lie ready: the FFTs, and for GAM the product with its
dense filters.

Needs `stages` on the path: PYTHONPATH=stages python benchmarks/spectrogram.py
"""

import os
from collections.abc import Callable
from functools import partial

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # both ways on one core: the pipeline's workers share the cores by clips

import librosa
import numpy as np
import scipy
import typer
from gammatone.fftweight import fft_gtgram
from measure import machine, median_seconds, show

from scenes.features import spectrogram

RATE, SECONDS, HOP, FRAMES = 48000, 10, 672, 704
FMIN, BINS, BINS_PER_OCTAVE = 10.0, 128, 24


def plain_mel(audio: np.ndarray) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=audio, sr=RATE, n_fft=8192, win_length=3840, hop_length=HOP, n_mels=BINS, fmin=FMIN, fmax=RATE / 2, power=1,
        pad_mode="constant",
    )  # fmt: skip


def plain_gam(audio: np.ndarray) -> np.ndarray:
    return np.array([fft_gtgram(channel, RATE, 0.08, 0.014, BINS, FMIN) for channel in audio])


def plain_cqt(audio: np.ndarray) -> np.ndarray:
    return np.abs(librosa.cqt(audio, sr=RATE, hop_length=HOP, fmin=FMIN, n_bins=BINS, bins_per_octave=BINS_PER_OCTAVE))


def each(transform: Callable, clips: list[np.ndarray]) -> None:
    for audio in clips:
        transform(audio)


def clip(rng: np.random.Generator) -> np.ndarray:
    """A stereo clip of noise, tones and clicks, float32 [2, samples]."""
    seconds = np.arange(SECONDS * RATE) / RATE
    noise = rng.normal(size=(2, len(seconds)))
    rumble = scipy.signal.butter(1, [20, 500], "bandpass", fs=RATE, output="sos")
    audio = 0.02 * noise + scipy.signal.sosfilt(rumble, noise)
    audio += sum(0.1 * np.sin(2 * np.pi * hertz * seconds) for hertz in rng.uniform(20, 4000, 5))
    audio[:, rng.integers(len(seconds), size=20)] += rng.uniform(-0.9, 0.9, 20)
    return audio.astype(np.float32)


def floor_mel(frames: np.ndarray) -> None:
    for start in range(0, len(frames), spectrogram.BATCH):
        scipy.fft.rfft(frames[start : start + spectrogram.BATCH], 8192)


def floor_gam(frames: np.ndarray, bank: np.ndarray, magnitudes: np.ndarray) -> None:
    floor_mel(frames)
    bank @ magnitudes


def floor_cqt(audio: np.ndarray, products: np.ndarray) -> None:
    scipy.fft.rfft(audio, products.shape[-1] * HOP)
    scipy.fft.ifft(products)


def inner_products(channel: np.ndarray, bands: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Exact CQT magnitudes [bands, frames] in float64, with librosa's wavelets centred at the frames."""
    hertz = librosa.cqt_frequencies(BINS, fmin=FMIN, bins_per_octave=BINS_PER_OCTAVE)
    alpha = (hertz[2] - hertz[0]) / (hertz[2] + hertz[0])
    exact = np.empty((len(bands), len(frames)))
    for row, band in enumerate(bands):
        wavelet, length = librosa.filters.wavelet(
            freqs=hertz[band : band + 1], sr=RATE, alpha=np.array([alpha]), norm=1, dtype=np.complex128
        )
        half = wavelet.shape[1] // 2
        padded = np.pad(channel.astype(np.float64), half)
        for column, frame in enumerate(frames):
            seen = padded[frame * HOP : frame * HOP + 2 * half]
            exact[row, column] = abs(np.vdot(wavelet[0], seen)) * np.sqrt(length[0])
    return exact


def main(clips: int = 4, repeats: int = 5, seed: int = 0) -> None:
    """Print the times of both ways and of the floor, and the relative error of both CQTs."""
    rng = np.random.default_rng(seed)
    audio = [clip(rng) for _ in range(clips)]
    frames = rng.normal(size=(2 * FRAMES, 3840)).astype(np.float32)
    bank, magnitudes = (rng.random(shape, np.float32) for shape in ((BINS, 4097), (4097, 2 * FRAMES)))
    products = (rng.normal(size=(2, BINS, 800)) + 0j).astype(np.complex64)
    kinds = {
        "mel": (plain_mel, spectrogram.mel, partial(floor_mel, frames)),
        "gam": (plain_gam, spectrogram.gam, partial(floor_gam, frames, bank, magnitudes)),
        "cqt": (plain_cqt, spectrogram.cqt, partial(floor_cqt, audio[0], products)),
    }
    times = []
    for plain, ours, floor in kinds.values():
        ways = {"plain": partial(each, plain, audio), "ours": partial(each, ours, audio), "floor": floor}
        seconds = median_seconds(ways, repeats)
        times.append([seconds["plain"] / clips, seconds["ours"] / clips, seconds["floor"]])
    times.append(np.sum(times, axis=0).tolist())
    versions = machine("librosa", "gammatone", "numpy", "scipy")
    print(f"Spectrograms of a stereo clip of ten seconds, one core ({versions}), ms:\n")
    rows = [
        [kind, *(f"{1e3 * time:.1f}" for time in row), f"{row[0] / row[1]:.1f}", f"{row[1] / row[2]:.1f}"]
        for kind, row in zip([*kinds, "all"], times, strict=True)
    ]
    show(["", "librosa, gammatone", "ours", "floor", "ratio", "ours to floor"], rows)

    bands, frames = np.arange(0, BINS, 7), np.arange(0, FRAMES, 23)
    exact = inner_products(audio[0][0], bands, frames)
    rows = []
    for name, magnitude in (("librosa", plain_cqt(audio[0])), ("ours", np.exp(spectrogram.cqt(audio[0])))):
        error = np.abs(magnitude[0][np.ix_(bands, frames)] - exact) / exact
        rows.append([name, f"{np.median(error):.1e}", f"{np.quantile(error, 0.99):.1e}"])
    show(["relative error of the CQT", "median", "99th percentile"], rows)


if __name__ == "__main__":
    typer.run(main)
