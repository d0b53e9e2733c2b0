"""Parity of the spectrograms with librosa, gammatone and exact inner products, on a synthetic clip."""

import pickle
from functools import partial

import librosa
import numpy as np
import pytest
import scipy
from gammatone.fftweight import fft_gtgram

from scenes.features import spectrogram

RATE, SAMPLES, HOP, FRAMES, OFFSET = 48000, 480000, 672, 704, 1e-10
KINDS = [spectrogram.mel, spectrogram.gam, spectrogram.cqt]
NARROW, WIDE = {"fmin": 10.0, "bins_per_octave": 24}, {"fmin": 20.0, "bins_per_octave": 14}


@pytest.fixture(scope="module")
def audio():
    """Ten seconds of stereo: noise, tones, clicks, and a second of digital silence."""
    rng = np.random.default_rng(0)
    seconds = np.arange(SAMPLES) / RATE
    noise = rng.normal(size=(2, SAMPLES))
    rumble = scipy.signal.butter(1, [20, 500], "bandpass", fs=RATE, output="sos")
    clip = 0.02 * noise + scipy.signal.sosfilt(rumble, noise)
    clip += sum(0.1 * np.sin(2 * np.pi * hertz * seconds) for hertz in (30, 82.4, 220, 440, 3000))
    clip[:, rng.integers(SAMPLES, size=20)] += rng.uniform(-0.9, 0.9, 20)
    clip[1] *= np.linspace(0.1, 1, SAMPLES)
    clip[:, 6 * RATE : 7 * RATE] = 0
    return clip.astype(np.float32)


def inner_products(channel, bands, frames, fmin, bins_per_octave):
    """Exact CQT magnitudes [bands, frames] in float64, with librosa's wavelets centred at the frames."""
    hertz = librosa.cqt_frequencies(128, fmin=fmin, bins_per_octave=bins_per_octave)
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


def librosa_cqt(audio, **bands):
    return np.abs(librosa.cqt(audio, sr=RATE, hop_length=HOP, n_bins=128, **bands))[..., :FRAMES]


def test_mel_is_librosas(audio):
    theirs = librosa.feature.melspectrogram(
        y=audio, sr=RATE, n_fft=8192, win_length=3840, hop_length=HOP, n_mels=128, fmin=10, fmax=24000, power=1,
        pad_mode="constant",
    )  # fmt: skip
    np.testing.assert_allclose(spectrogram.mel(audio), np.log(theirs[..., :FRAMES] + OFFSET), atol=1e-4)


def test_gam_is_ellis_centred(audio):
    theirs = [fft_gtgram(np.pad(channel.astype(float), 4096), RATE, 0.08, 0.014, 128, 10) for channel in audio]
    np.testing.assert_allclose(spectrogram.gam(audio), np.log(np.array(theirs)[..., :FRAMES] + OFFSET), atol=1e-4)


def test_cqt_is_librosas(audio):
    ours, theirs = spectrogram.cqt(audio), np.log(librosa_cqt(audio, **NARROW) + OFFSET)
    assert np.median(np.abs(ours - theirs)) < 0.01
    heard = np.r_[0:420, 510:FRAMES]  # librosa's resampling rings in the silent second
    assert np.corrcoef(ours[..., heard].ravel(), theirs[..., heard].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("bands, tolerance", [(NARROW, 0.001), (WIDE, 0.005)], ids=["narrow", "wide"])
def test_cqt_is_the_inner_products(audio, bands, tolerance):
    rows, columns = np.arange(0, 128, 7), np.append(np.arange(0, FRAMES, 23), FRAMES - 1)
    exact = inner_products(audio[0], rows, columns, **bands)
    audible = exact > 1e-4 * exact.max()

    def error(magnitude):
        difference = np.abs(magnitude[np.ix_(rows, columns)] - exact)
        return np.quantile(difference[audible] / exact[audible], 0.99)

    ours = error(np.exp(spectrogram.cqt(audio, **bands)[0]))
    assert ours < tolerance
    assert ours < error(librosa_cqt(audio[0], **bands)) / 10


def test_cqt_does_not_wrap():
    audio = np.zeros((1, SAMPLES), np.float32)
    audio[:, -RATE:] = np.random.default_rng(0).normal(size=RATE)
    assert (spectrogram.cqt(audio)[..., :300] == np.float32(np.log(OFFSET))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_type(kind, audio):
    result = pickle.loads(pickle.dumps(partial(kind, bins=100, frames=71)))(audio[:, :RATE])
    assert result.shape == (2, 100, 71)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@pytest.mark.parametrize("kind", KINDS)
def test_silence_is_the_offset(kind):
    silence = np.zeros((2, SAMPLES), np.float32)
    np.testing.assert_array_equal(kind(silence), np.full((2, 128, FRAMES), np.log(OFFSET), np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_of_silence_is_the_offset(kind, audio):
    assert (kind(audio)[:, -1, 450:475] == np.float32(np.log(OFFSET))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_bands_go_from_low_to_high(kind):
    seconds = np.arange(SAMPLES) / RATE
    tones = np.array([np.sin(2 * np.pi * hertz * seconds) for hertz in (30, 60, 120, 240, 380)], np.float32)
    assert (np.diff(kind(tones)[:, :, FRAMES // 2].argmax(axis=1)) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape, message",
    [((SAMPLES,), "must be .channels, samples."), ((2, 472415), "gives 703 frames with hop 672, not 704")],
)
def test_bad_audio(kind, shape, message):
    with pytest.raises(ValueError, match=message):
        kind(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "kind, options, message",
    [
        (spectrogram.mel, {"window": 8193}, "longer than n_fft"),
        (spectrogram.gam, {"window": 8193}, "longer than n_fft"),
        (spectrogram.mel, {"fmax": 24001.0}, "above half the sample rate"),
        (spectrogram.cqt, {"bins_per_octave": 10}, "above half the sample rate"),
        (spectrogram.cqt, {"fmin": 0.0}, "must be positive"),
    ],
)
def test_bad_parameters(kind, options, message, audio):
    with pytest.raises(ValueError, match=message):
        kind(audio, **options)
