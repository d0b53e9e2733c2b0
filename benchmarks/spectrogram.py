"""Time the spectrograms against librosa and gammatone, and measure both CQTs against exact inner products.

Needs `stages` on the path: PYTHONPATH=stages python benchmarks/spectrogram.py
"""

import os
import time
from collections.abc import Callable

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # both ways on one core: the pipeline's workers share the cores by clips

import librosa
import numpy as np
import scipy
import typer
from gammatone.fftweight import fft_gtgram

from scenes import spectrogram

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


def clip(rng: np.random.Generator) -> np.ndarray:
    """A stereo clip of noise, tones and clicks, float32 [2, samples]."""
    seconds = np.arange(SECONDS * RATE) / RATE
    noise = rng.normal(size=(2, len(seconds)))
    rumble = scipy.signal.butter(1, [20, 500], "bandpass", fs=RATE, output="sos")
    audio = 0.02 * noise + scipy.signal.sosfilt(rumble, noise)
    audio += sum(0.1 * np.sin(2 * np.pi * hertz * seconds) for hertz in rng.uniform(20, 4000, 5))
    audio[:, rng.integers(len(seconds), size=20)] += rng.uniform(-0.9, 0.9, 20)
    return audio.astype(np.float32)


def median_seconds(transform: Callable, clips: list[np.ndarray], repeats: int) -> float:
    """Median over all clips and repeats, after one call that fills the caches."""
    transform(clips[0])
    durations = []
    for audio in clips * repeats:
        start = time.perf_counter()
        transform(audio)
        durations.append(time.perf_counter() - start)
    return float(np.median(durations))


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
    """Print seconds a stereo clip of 10 s for both ways, and the relative error of both CQTs."""
    rng = np.random.default_rng(seed)
    audio = [clip(rng) for _ in range(clips)]
    pairs = {
        "mel": (plain_mel, spectrogram.mel),
        "gam": (plain_gam, spectrogram.gam),
        "cqt": (plain_cqt, spectrogram.cqt),
    }
    rows = {kind: [median_seconds(way, audio, repeats) for way in ways] for kind, ways in pairs.items()}
    rows["all"] = np.sum(list(rows.values()), axis=0).tolist()
    print(f"{'kind':<6}{'plain s':>10}{'ours s':>10}{'ratio':>8}")
    for kind, (plain, ours) in rows.items():
        print(f"{kind:<6}{plain:>10.3f}{ours:>10.3f}{plain / ours:>8.1f}")

    bands, frames = np.arange(0, BINS, 7), np.arange(0, FRAMES, 23)
    exact = inner_products(audio[0][0], bands, frames)
    print(f"\n{'CQT error':<12}{'median':>10}{'99th':>10}")
    for name, magnitude in (("librosa", plain_cqt(audio[0])), ("ours", np.exp(spectrogram.cqt(audio[0])))):
        error = np.abs(magnitude[0][np.ix_(bands, frames)] - exact) / exact
        print(f"{name:<12}{np.median(error):>10.1e}{np.quantile(error, 0.99):>10.1e}")


if __name__ == "__main__":
    typer.run(main)
