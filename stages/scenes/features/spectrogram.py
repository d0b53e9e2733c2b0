"""The three spectrograms of a clip: mel (MEL), gammatone (GAM) and constant Q (CQT).

Pham et al. 2021, Section II, feeds its audio networks with log-scaled spectrograms of 128 bins, made from windows of
80 ms every 14 ms (3840 and 672 samples at 48 kHz). All three functions take a clip and return the natural logarithm of
magnitudes, bins from low to high frequency, frames centred on the multiples of the hop with zeros outside the clip.
"""

import functools
import itertools
import math
from collections.abc import Mapping

import librosa
import numpy as np
import scipy
from gammatone.fftweight import fft_weights

from scenes.stage.errors import InputError

# Frames per FFT call: few enough that a batch of spectra stays in the processor's cache.
BATCH = 128

# Half-width of a CQT kernel, in units of the inverse length of its wavelet (the main lobe has 2). A Hann window's
# spectrum falls with the cube of the distance: 1e-5 of the peak is left here.
LOBES = 32


def mel(
    audio: np.ndarray,
    *,
    sample_rate: int = 48000,
    n_fft: int = 8192,
    window: int = 3840,
    hop: int = 672,
    bins: int = 128,
    fmin: float = 10.0,
    fmax: float = 24000.0,
    log_offset: float = 1e-10,
    frames: int = 704,
) -> np.ndarray:
    """Log-mel spectrogram: Slaney's mel bank on the magnitude spectrum.

    The same as ``librosa.feature.melspectrogram`` with ``power=1`` and ``pad_mode="constant"``, logged.

    Parameters
    ----------
    audio : float32 [channels, samples]
    sample_rate : Hz
    n_fft, window, hop : samples; the Hann window lies centred in the n_fft samples of a frame
    bins : number of mel bands
    fmin, fmax : Hz, lower edge of the lowest band and upper edge of the highest
    log_offset : added to the magnitudes before the logarithm
    frames : how many frames to keep, from the first

    Returns
    -------
    float32 [channels, bins, frames], low to high frequency

    Raises
    ------
    InputError
        If audio is not two-dimensional or too short for the frames, the window exceeds n_fft, or fmax exceeds half the
        sample rate.
    """
    if fmax > sample_rate / 2:
        raise InputError(f"fmax is {fmax} Hz, above half the sample rate of {sample_rate} Hz")
    bank = _mel_bank(sample_rate, n_fft, bins, fmin, fmax)
    return _filtered(audio, bank, n_fft, window, hop, log_offset, frames)


def gam(
    audio: np.ndarray,
    *,
    sample_rate: int = 48000,
    n_fft: int = 8192,
    window: int = 3840,
    hop: int = 672,
    bins: int = 128,
    fmin: float = 10.0,
    log_offset: float = 1e-10,
    frames: int = 704,
) -> np.ndarray:
    """Log-gammatone spectrogram: Ellis' FFT-based gammatonegram, from fmin to half the sample rate.

    The bands are equally spaced on the ERB scale (Glasberg and Moore: EarQ 9.26449, minimum bandwidth 24.7 Hz, width
    1). The same as ``gammatone.fftweight.fft_gtgram``, logged, but with centred frames: that function, given the clip
    with n_fft / 2 zeros on both sides, returns these frames.

    Parameters
    ----------
    audio : float32 [channels, samples]
    sample_rate : Hz
    n_fft, window, hop : samples; the Hann window lies centred in the n_fft samples of a frame
    bins : number of gammatone bands
    fmin : Hz, centre of the lowest band
    log_offset : added to the magnitudes before the logarithm
    frames : how many frames to keep, from the first

    Returns
    -------
    float32 [channels, bins, frames], low to high frequency

    Raises
    ------
    InputError
        If audio is not two-dimensional or too short for the frames, or the window exceeds n_fft.
    """
    bank = _gammatone_bank(sample_rate, n_fft, bins, fmin)
    return _filtered(audio, bank, n_fft, window, hop, log_offset, frames)


def cqt(
    audio: np.ndarray,
    *,
    sample_rate: int = 48000,
    hop: int = 672,
    bins: int = 128,
    bins_per_octave: int = 24,
    fmin: float = 10.0,
    log_offset: float = 1e-10,
    frames: int = 704,
) -> np.ndarray:
    """Log-magnitude of the constant-Q transform.

    The transform of ``librosa.cqt`` (Hann wavelets of L1 norm 1, times the root of their length). That function
    approximates it on a signal resampled octave by octave. Here one FFT of the whole clip is multiplied by the
    spectrum of each wavelet, and an inverse FFT as short as the number of frames gives the inner products at the hops.
    Both leave out the little of a wavelet's spectrum that lies at negative frequencies.

    Parameters
    ----------
    audio : float32 [channels, samples]
    sample_rate : Hz
    hop : samples
    bins : number of frequencies
    bins_per_octave : frequencies per octave
    fmin : Hz, the lowest frequency
    log_offset : added to the magnitudes before the logarithm
    frames : how many frames to keep, from the first

    Returns
    -------
    float32 [channels, bins, frames], low to high frequency

    Raises
    ------
    InputError
        If audio is not two-dimensional or too short for the frames, fmin is not positive, or the main lobe of the
        highest frequency exceeds half the sample rate.
    """
    audio = _checked(audio, hop, frames)
    if fmin <= 0:
        raise InputError(f"fmin is {fmin} Hz, must be positive")
    frequencies, lengths = _wavelets(sample_rate, bins, bins_per_octave, fmin)
    top = frequencies[-1] + 2 * sample_rate / lengths[-1]
    if top > sample_rate / 2:
        raise InputError(f"the highest band reaches {top:.0f} Hz, above half the sample rate of {sample_rate} Hz")

    # The FFT is circular: zeros for half the longest wavelet keep the end of the clip from the start.
    samples = audio.shape[1]
    cycle = scipy.fft.next_fast_len(math.ceil((samples + lengths[0] / 2) / hop))
    spectrum = scipy.fft.rfft(audio, cycle * hop)
    products = np.empty((len(audio), bins, cycle), np.complex64)
    for band, (start, kernel) in enumerate(_cqt_kernels(sample_rate, hop, bins, bins_per_octave, fmin, cycle)):
        # To keep every hop-th sample is to fold the spectrum. Shifting it by `start` changes no magnitude.
        blocks = spectrum[:, start : start + kernel.size].reshape(-1, *kernel.shape)
        products[:, band] = np.einsum("cbf,bf->cf", blocks, kernel)
    magnitude = np.abs(scipy.fft.ifft(products)[..., :frames])

    # Rounding and the cut lobes spread over the whole clip: a wavelet that meets only digital silence has to give 0.
    heard = np.cumsum(np.pad(audio != 0, ((0, 0), (1, 0))), axis=1, dtype=np.int32)
    centres, reach = np.arange(frames) * hop, lengths[:, None] // 2 + 1
    first, last = (np.clip(centres + side * reach, 0, samples).astype(int) for side in (-1, 1))
    magnitude[heard.take(first, axis=1) == heard.take(last, axis=1)] = 0
    return np.log(magnitude + log_offset)


def _checked(audio: np.ndarray, hop: int, frames: int) -> np.ndarray:
    """The clip as float32, if it has two dimensions and enough samples for the frames."""
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 2:
        raise InputError(f"audio has shape {audio.shape}, must be [channels, samples]")
    available = audio.shape[1] // hop + 1
    if available < frames:
        raise InputError(f"audio of {audio.shape[1]} samples gives {available} frames with hop {hop}, not {frames}")
    return audio


def _filtered(
    audio: np.ndarray,
    bank: np.ndarray | scipy.sparse.csr_array,
    n_fft: int,
    window: int,
    hop: int,
    log_offset: float,
    frames: int,
) -> np.ndarray:
    """Log of a filter bank [bins, n_fft / 2 + 1] applied to the magnitude spectra of centred Hann frames."""
    audio = _checked(audio, hop, frames)
    if window > n_fft:
        raise InputError(f"window is {window} samples, longer than n_fft {n_fft}")
    # A magnitude does not depend on where in the n_fft samples the window lies: only its own samples are framed.
    left = n_fft // 2 - (n_fft - window) // 2
    padded = np.pad(audio, ((0, 0), (left, window - left)))
    framed = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)[:, ::hop]
    hann = scipy.signal.get_window("hann", window).astype(np.float32)
    filtered = np.empty((len(audio), bank.shape[0], frames), np.float32)
    for channel, start in itertools.product(range(len(audio)), range(0, frames, BATCH)):
        batch = slice(start, min(start + BATCH, frames))
        magnitude = np.abs(scipy.fft.rfft(framed[channel, batch] * hann, n_fft))
        filtered[channel, :, batch] = bank @ magnitude.T
    return np.log(filtered + log_offset)


def support(kind: str, numbers: Mapping[str, float]) -> float:
    """Samples that a frame of a `mel`, `gam` or `cqt` of these parameters hears: the window, or the longest wavelet."""
    if kind != "cqt":
        return numbers["window"]
    bands = (numbers[name] for name in ("sample_rate", "bins", "bins_per_octave", "fmin"))
    return float(_wavelets(*bands)[1][0])


@functools.cache
def _mel_bank(sample_rate: int, n_fft: int, bins: int, fmin: float, fmax: float) -> scipy.sparse.csr_array:
    """Slaney's mel bank, sparse [bins, n_fft / 2 + 1]."""
    bank = scipy.sparse.csr_array(librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=bins, fmin=fmin, fmax=fmax))
    bank.data.flags.writeable = False
    return bank


@functools.cache
def _gammatone_bank(sample_rate: int, n_fft: int, bins: int, fmin: float) -> np.ndarray:
    """Ellis' gammatone weights, float32 [bins, n_fft / 2 + 1], with his division by n_fft."""
    weights, _ = fft_weights(n_fft, sample_rate, bins, 1, fmin, sample_rate / 2, n_fft // 2 + 1)
    bank = (weights / n_fft).astype(np.float32)
    bank.flags.writeable = False
    return bank


def _wavelets(sample_rate: int, bins: int, bins_per_octave: int, fmin: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (Hz) and lengths (samples) of the wavelets, as ``librosa.filters.wavelet_lengths`` has them."""
    frequencies = fmin * 2 ** (np.arange(bins) / bins_per_octave)
    step = 2 ** (2 / bins_per_octave)
    return frequencies, (step + 1) / (step - 1) * sample_rate / frequencies


@functools.cache
def _cqt_kernels(
    sample_rate: int, hop: int, bins: int, bins_per_octave: int, fmin: float, cycle: int
) -> tuple[tuple[int, np.ndarray], ...]:
    """Conjugate spectrum of each wavelet around its frequency, on the grid of an FFT of cycle * hop samples.

    In closed form: the spectrum of a Hann window is a sum of three sincs. (``librosa.filters.wavelet`` gives the same
    wavelets in time, but a first call of it compiles for 20 s.)

    Returns
    -------
    A pair a band: index of the kernel's first frequency, and complex64 [blocks, cycle], whose rows fold onto each other
    """
    n_fft = cycle * hop
    kernels = []
    for frequency, length in zip(*_wavelets(sample_rate, bins, bins_per_octave, fmin), strict=True):
        taps = 2 * (length // 2) + 1
        blocks = min(math.ceil(2 * LOBES * hop / taps), hop // 2)
        width = blocks * cycle
        start = min(max(round(frequency / sample_rate * n_fft) - width // 2, 0), n_fft // 2 + 1 - width)
        grid = np.arange(start, start + width) / n_fft
        distance = taps * (grid - frequency / sample_rate)
        hann = np.sinc(distance) + (np.sinc(distance - 1) + np.sinc(distance + 1)) / 2
        # The odd number of taps puts the peak of librosa's periodic Hann half a sample before the frame's centre.
        kernel = math.sqrt(length) / hop * hann * np.exp(-1j * np.pi * grid)
        kernel = kernel.reshape(blocks, cycle).astype(np.complex64)
        kernel.flags.writeable = False
        kernels.append((start, kernel))
    return tuple(kernels)
