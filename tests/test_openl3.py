"""OpenL3: its networks against layers written out in torch, its front end against librosa, its grid as published."""

import gzip
import hashlib
import io
from pathlib import Path

import embed_openl3
import h5py
import librosa
import numpy as np
import pytest
import scipy.ndimage
import torch
from conftest import noise, write_mp4, write_wav
from torch.nn import functional

from scenes.features import openl3_embedding
from scenes.features.openl3 import PUBLISHED, WIDTHS, load, network
from scenes.features.openl3_input import (
    frame_indices,
    picture,
    read_pictures,
    read_spectrograms,
    spectrograms,
    window_starts,
)
from scenes.learning.backend import keras
from scenes.learning.inference import forward
from scenes.stage.errors import InputError, MediaWarning

# Of each block: what follows its convolutions, as published.
ORDERS = {
    "audio": ["conv bn relu conv bn relu pool"] * 3 + ["conv bn relu conv"],
    "visual": ["conv bn relu conv relu bn pool"] + ["conv bn relu conv bn relu pool"] * 2 + ["conv bn relu conv"],
}
KINDS = {"Conv2D": "conv", "BatchNormalization": "bn", "ReLU": "relu", "MaxPooling2D": "pool", "Flatten": "flatten"}


def random_weights(modality: str, widths: list[int], seed: int = 0) -> list[list[np.ndarray]]:
    """Of each layer that has weights, in order: kernel and bias, or gamma, beta, mean and variance."""
    generator = np.random.default_rng(seed)

    def norm(width):
        return [generator.uniform(0.5, 1.5, width), generator.normal(0, 0.1, width),
                generator.normal(0, 0.1, width), generator.uniform(0.5, 1.5, width)]  # fmt: skip

    channels = 1 if modality == "audio" else 3
    groups = [norm(channels)]
    for block, width in enumerate(widths):
        last = block == len(widths) - 1
        for second, out in enumerate((width, 512 if last else width)):
            kernel = generator.normal(0, (2 / 9 / channels) ** 0.5, (3, 3, channels, out))
            groups.append([kernel, generator.normal(0, 0.1, out)])
            channels = out
            if not (last and second):
                groups.append(norm(out))
    return [[array.astype(np.float32) for array in group] for group in groups]


def write_weights(path: Path, groups: list[list[np.ndarray]]) -> Path:
    """The published layout: HDF5 as Keras 2 wrote it, with layers that have no weights among the others, packed."""
    plain = io.BytesIO()
    with h5py.File(plain, "w") as file:
        names = []
        for number, group in enumerate(groups):
            for name, arrays in ((f"layer_{number}", group), (f"activation_{number}", [])):
                names.append(name.encode())
                weights = [f"{name}/weight_{index}:0" for index in range(len(arrays))]
                folder = file.create_group(name)
                folder.attrs["weight_names"] = [weight.encode() for weight in weights]
                for weight, array in zip(weights, arrays, strict=True):
                    folder.create_dataset(weight, data=array)
        file.attrs["layer_names"] = names
    path.write_bytes(gzip.compress(plain.getvalue(), 1))
    return path


def reference(modality: str, groups: list[list[np.ndarray]], inputs: np.ndarray) -> np.ndarray:
    """The embedding by torch's functions, layer for layer in the order of the publication."""
    weights = iter([torch.from_numpy(array) for array in group] for group in groups)
    x = torch.from_numpy(inputs).permute(0, 3, 1, 2)

    def norm(x):
        gamma, beta, mean, variance = next(weights)
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

    x = norm(x)
    for step in " ".join(ORDERS[modality]).split():
        if step == "conv":
            kernel, bias = next(weights)
            x = functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1)
        elif step == "bn":
            x = norm(x)
        elif step == "relu":
            x = functional.relu(x)
        else:
            x = functional.max_pool2d(x, 2, ceil_mode=modality == "visual")
    assert x.shape[2:] == ((32, 24) if modality == "audio" else (28, 28))
    return x.amax(dim=(2, 3)).numpy()


@pytest.mark.parametrize(
    ("modality", "parameters", "shape"), [("audio", 4_689_860, (256, 199, 1)), ("visual", 4_691_020, (224, 224, 3))]
)
def test_the_published_networks(modality, parameters, shape):
    net = network(modality, WIDTHS)
    assert net.count_params() == parameters
    assert net.input_shape == (None, *shape) and net.output_shape == (None, 512)
    kinds = [KINDS[type(layer).__name__] for layer in net.layers[1:]]
    assert " ".join(kinds) == f"bn {' '.join(ORDERS[modality])} pool flatten"
    filters = [layer.filters for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]
    assert filters == [64, 64, 128, 128, 256, 256, 512, 512]
    assert all(layer.epsilon == 1e-3 for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization))


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_a_file_of_weights_gives_the_embedding_of_the_publication(modality):
    groups = random_weights(modality, WIDTHS)
    net = network(modality, WIDTHS)
    load(net, write_weights(Path("weights.h5.gz"), groups))
    generator = np.random.default_rng(1)
    inputs = generator.uniform(*((-80, 0) if modality == "audio" else (0, 1)), (1, *net.input_shape[1:]))
    inputs = inputs.astype(np.float32)
    expected = reference(modality, groups, inputs)
    found = keras.ops.convert_to_numpy(net(inputs, training=False))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(expected).max() > 1e-3 and np.ptp(expected) > 1e-3


def test_a_wrong_file_of_weights_is_refused():
    net = network("audio", WIDTHS)
    with pytest.raises(InputError, match="weights of another network than openl3_audio"):
        load(net, write_weights(Path("image.h5.gz"), random_weights("visual", [4, 8, 16, 32])))
    Path("page.h5.gz").write_bytes(b"<html>")
    whole = write_weights(Path("whole.h5.gz"), random_weights("audio", [4, 8, 16, 32])).read_bytes()
    Path("cut.h5.gz").write_bytes(whole[: len(whole) // 3])
    for name in ("page.h5.gz", "cut.h5.gz"):
        with pytest.raises(InputError, match=f"{name}: not OpenL3's weights as published"):
            load(net, Path(name))
    spoilt = random_weights("audio", WIDTHS)
    spoilt[-1][0].flat[-1] = np.nan
    with pytest.raises(InputError, match="^nan.h5.gz: holds weights that are not finite; put the published file there"):
        load(net, write_weights(Path("nan.h5.gz"), spoilt))
    with pytest.raises(InputError, match="widths must have 4 values"):
        network("audio", [4, 8])


def test_the_front_end_is_librosas_with_the_published_scaling():
    time = np.arange(48_000) / 48_000
    loud = np.sin(2 * np.pi * 440 * time) + 1e-3 * noise(1.0, 1)[0]
    windows = np.stack([noise(1.0, 1)[0], loud]).astype(np.float32)
    found = spectrograms(windows)
    assert found.shape == (2, 256, 199, 1) and found.dtype == np.float32
    for window, ours in zip(windows, found, strict=True):
        mel = librosa.feature.melspectrogram(
            y=np.pad(window.astype(np.float64), 982), sr=48_000, n_fft=2048, hop_length=242, center=False, power=2,
            n_mels=256, fmin=0, fmax=24_000, htk=True,
        )  # fmt: skip
        decibels = 10 * np.log10(np.maximum(np.sqrt(mel), 1e-10))
        expected = np.maximum(decibels - decibels.max(), -80)
        np.testing.assert_allclose(ours[..., 0], expected, atol=1e-4)
        assert ours.max() == 0 and ours.min() >= -80
    silent = spectrograms(np.zeros((1, 48_000), np.float32))
    assert (silent == 0).all()


@pytest.mark.parametrize(("samples", "windows"), [(480_000, 96), (480_001, 97), (479_999, 96), (48_000, 6)])
def test_the_grid_is_the_published_one(samples, windows):
    """OpenL3 0.3.1 pads half a second before, then so many zeros after that whole hops fill the sound."""
    starts = window_starts(samples, 0.1)
    padded = samples + 24_000
    padded += -(-(padded - 48_000) // 4800) * 4800 - (padded - 48_000)
    assert list(starts) == [4800 * number - 24_000 for number in range(1 + (padded - 48_000) // 4800)]
    assert len(starts) == windows
    assert list(frame_indices(240, windows)) == np.linspace(0, 239, windows).astype(int).tolist()


def test_windows_of_a_clip_are_cut_where_the_grid_says():
    sound = noise().astype(np.float32)
    found = read_spectrograms(write_wav(Path("clip.wav"), sound, subtype="FLOAT"), hop=1.0)
    assert found.shape == (11, 256, 199, 1)
    mono = np.pad(sound.mean(axis=0), 24_000)
    expected = spectrograms(np.stack([mono[:48_000], mono[4 * 48_000 : 5 * 48_000], mono[-48_000:]]))
    np.testing.assert_allclose(found[[0, 4, 10]], expected, atol=1e-4)


@pytest.mark.parametrize("size", [(720, 1280), (225, 400), (300, 256)])
def test_pictures_are_scaled_without_antialiasing_and_cut(size):
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    scale = 256 / min(size)
    scaled = scipy.ndimage.zoom(
        frame.astype(np.float64), (scale, scale, 1), order=1, mode="nearest", grid_mode=True
    )  # fmt: skip
    top, left = (side // 2 - 112 for side in scaled.shape[:2])
    expected = scaled[top : top + 224, left : left + 224] / 255
    found = picture(frame)
    assert found.shape == (224, 224, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_frames_are_spread_over_the_clip():
    film = write_mp4(Path("film.mp4"), fps=24)
    grey = read_pictures(film, 96).mean(axis=(1, 2, 3)) * 255
    # Frame n of the film has the grey value 20 n / 24.
    np.testing.assert_allclose(grey, 20 * np.linspace(0, 239, 96).astype(int) / 24, atol=3)
    with pytest.warns(MediaWarning, match="shorter than 10 s, spread over them"):
        short = read_pictures(write_mp4(Path("short.mp4"), seconds=5.0), 11).mean(axis=(1, 2, 3)) * 255
    np.testing.assert_allclose(short, 20 * np.linspace(0, 119, 11).astype(int) / 24, atol=3)
    long = read_pictures(write_mp4(Path("long.mp4"), seconds=12.0), 11).mean(axis=(1, 2, 3)) * 255
    np.testing.assert_allclose(long, 20 * np.linspace(0, 239, 11).astype(int) / 24, atol=3)


def test_a_bad_video_is_refused():
    whole = write_mp4(Path("film.mp4"), faststart=True).read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) // 3])
    Path("empty.mp4").touch()
    for name in ("cut.mp4", "empty.mp4"):
        with pytest.raises(InputError, match=f"{name}: (truncated|empty)"):
            read_pictures(name, 11)


WIDTHS_OF_TESTS = [2, 4, 4, 8]


@pytest.fixture
def media() -> Path:
    write_wav(Path("a.wav"), noise())
    write_mp4(Path("a.mp4"))
    Path("media.csv").write_text("clip,audio,video,fold\na,a.wav,a.mp4,train\nb,,,train\nc,a.mp4,a.mp4,evaluate\n")
    return Path("media.csv")


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_the_stage_embeds_by_the_weights_that_it_is_given(modality, media, capfd):
    groups = random_weights(modality, WIDTHS_OF_TESTS)
    weights = write_weights(Path("weights.h5.gz"), groups)
    embed_openl3.main(modality, media, Path("e.npy"), 5.0, WIDTHS_OF_TESTS, weights=weights, verify_hash=False)
    found = np.load("e.npy")
    assert found.shape == (3, 3, 512) and found.dtype == np.float32
    inputs = read_spectrograms("a.wav", 5.0) if modality == "audio" else read_pictures("a.mp4", 3)
    expected = reference(modality, groups, inputs)
    assert np.abs(found[0] - expected).max() < 1e-4 * np.abs(expected).max()
    assert not found[1].any() and found[2].any()
    assert not list(Path(".resume").iterdir())


def test_untrained_embeddings_depend_on_the_seed_and_tell_clips_apart(media):
    for seed, out in ((0, "a.npy"), (0, "b.npy"), (1, "c.npy")):
        embed_openl3.main("audio", media, Path(out), 10.0, WIDTHS_OF_TESTS, pretrained=False, seed=seed)
    first, again, other = np.load("a.npy"), np.load("b.npy"), np.load("c.npy")
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert first[0].std(axis=0).max() > 0.01


def test_evaluate_clips_have_no_part_in_untrained_embeddings_of_train_clips(media):
    Path("media.csv").write_text("clip,audio,video,fold\na,a.wav,,evaluate\nb,b.wav,,train\n")
    write_wav(Path("b.wav"), noise() ** 3)
    embed_openl3.main("audio", media, Path("a.npy"), 10.0, WIDTHS_OF_TESTS, pretrained=False)
    write_wav(Path("a.wav"), np.sin(np.arange(960_000).reshape(2, -1) / 20))
    openl3_embedding.embedder.cache_clear()  # as in a process of its own
    embed_openl3.main("audio", media, Path("b.npy"), 10.0, WIDTHS_OF_TESTS, pretrained=False)
    before, after = np.load("a.npy"), np.load("b.npy")
    np.testing.assert_array_equal(after[1], before[1])
    assert not np.allclose(after[0], before[0])


def test_in_bfloat16_the_embeddings_stay_near():
    inputs = spectrograms(noise(1.0, 2).astype(np.float32))
    keras.utils.set_random_seed(0)
    exact = network("audio", WIDTHS_OF_TESTS)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fast = network("audio", WIDTHS_OF_TESTS)
    finally:
        keras.config.set_dtype_policy("float32")
    fast.set_weights(exact.get_weights())
    near, far = forward(fast, inputs), forward(exact, inputs)
    cosine = (near * far).sum(axis=1) / np.linalg.norm(near, axis=1) / np.linalg.norm(far, axis=1)
    assert (cosine > 0.999).all() and not np.array_equal(near, far)


def test_weights_are_held_to_gits_hash(media):
    weights = write_weights(Path("weights.h5.gz"), random_weights("audio", WIDTHS_OF_TESTS))
    content = weights.read_bytes()
    found = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    with pytest.raises(InputError, match=f"Git's SHA-1 is {found}, expected {PUBLISHED['audio'].sha1}; give the"):
        embed_openl3.main("audio", media, Path("e.npy"), weights=weights)
    with pytest.raises(InputError, match="an untrained network takes no weights"):
        embed_openl3.main("audio", media, Path("e.npy"), weights=weights, pretrained=False)
    # A file put into the folder of downloads by hand is checked alike, and nothing is downloaded.
    Path("cache").mkdir()
    weights.rename(Path("cache") / PUBLISHED["visual"].file)
    with pytest.raises(InputError, match=f"expected {PUBLISHED['visual'].sha1}; remove it or put the published file"):
        embed_openl3.main("visual", media, Path("e.npy"), weights_dir=Path("cache"), mirror="http://127.0.0.1:1")
    assert not Path("e.npy").exists()


def test_without_a_modality_there_is_nothing_to_embed():
    Path("media.csv").write_text("clip,audio,video\na,a.wav,\n")
    with pytest.raises(InputError, match="media.csv: no clip has pictures"):
        embed_openl3.main("visual", Path("media.csv"), Path("e.npy"), pretrained=False)
