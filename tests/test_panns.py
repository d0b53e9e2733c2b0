"""The five PANNs: published names, shapes and counts; the same numbers fast and plain; only sound checkpoints load."""

import csv
import itertools
import os
import pickle
from pathlib import Path

import embed_audio
import numpy as np
import pytest
import soxr
import torch
import torchlibrosa
from conftest import noise, run, write_wav
from torch import nn

from scenes.dataset import shards
from scenes.features import panns, panns_checkpoints, panns_embedder
from scenes.media.clip import read_audio
from scenes.stage.errors import InputError

NAMES = list(panns.NETWORKS)
# Names and shapes written down from upstream's source (audioset_tagging_cnn, pytorch/models.py), not from ours.
KEYS = list(csv.DictReader((Path(__file__).parent / "panns_keys.csv").open()))
COUNTS = {  # parameters: trainable, all
    "Cnn14": (80_753_615, 81_837_071),
    "MobileNetV1": (4_796_303, 5_879_759),
    "Res1dNet31": (80_464_463, 80_464_463),
    "ResNet38": (73_783_247, 74_866_703),
    "Wavegram_Logmel_Cnn14": (81_065_487, 82_148_943),
}
ROUNDING = 5e-5  # of float32, through up to 40 layers


def sounds(count: int, seconds: float = 1.0) -> np.ndarray:
    """Noises of various colours and levels, each with a tone, `[count, samples]`."""
    rng = np.random.default_rng(0)
    samples = round(seconds * panns.RATE)
    white = rng.standard_normal((count, samples))
    grey = np.cumsum(white, axis=1) * 0.02
    level, mix = 10 ** rng.uniform(-3, -0.5, (count, 1)), rng.uniform(size=(count, 1))
    tone = np.sin(2 * np.pi * rng.uniform(100, 5000, (count, 1)) * np.arange(samples) / panns.RATE)
    return (level * (mix * white + (1 - mix) * grey + tone)).astype(np.float32)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference in units of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@torch.no_grad()
def plain(network: panns.Network, waveforms: np.ndarray, layer: str = "pool") -> np.ndarray:
    return network(torch.from_numpy(waveforms), layer).numpy()


@pytest.fixture(scope="module", params=NAMES)
def network(request) -> panns.Network:
    """A network whose every batch norm has statistics, factors and terms of its own."""
    network = panns_checkpoints.untrained(request.param, seed=0)
    panns_checkpoints.reestimate_batch_norm(network, [sounds(4)])
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, panns.NORMS):
            module.running_mean += 0.1 * module.running_var.sqrt() * torch.randn(len(module.bias), generator=generator)
            module.running_var *= 0.5 + torch.rand(len(module.bias), generator=generator)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            torch.nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return network


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A small network in the published layout."""
    network = panns_checkpoints.untrained("MobileNetV1", seed=1)
    panns_checkpoints.reestimate_batch_norm(network, [sounds(8)])
    path = tmp_path_factory.mktemp("weights") / "mobile.pth"
    panns_checkpoints.save(network, path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_counts_are_the_published_ones(name):
    network = panns.build(name)
    found = {key: "x".join(map(str, value.shape)) for key, value in network.state_dict().items()}
    assert found == {row["key"]: row["shape"] for row in KEYS if row["network"] == name}
    counts = [(parameter.requires_grad, parameter.numel()) for parameter in network.parameters()]
    assert (sum(n for grad, n in counts if grad), sum(n for _, n in counts)) == COUNTS[name]


def test_shapes_lengths_and_speed_ups(network):
    """Shapes at 1 s, 10 s and the shortest; one sample less is refused; fused as unfused, to rounding."""
    name = type(network).__name__
    dimension, shortest = panns.PUBLISHED[name][3:]
    one, ten, least = sounds(3), sounds(1, 10), sounds(1)[:, :shortest]
    expected = [plain(network, waveforms) for waveforms in (one, ten, least)]
    assert [rows.shape for rows in expected] == [(3, dimension), (1, dimension), (1, dimension)]
    with pytest.raises(InputError, match=f"{name} takes no less than {shortest:,} samples at 32,000 Hz"):
        plain(network, least[:, 1:])
    dense = torch.relu(network.fc1(torch.from_numpy(expected[2]))).detach().numpy()
    spread = expected[0].std(axis=0).mean() / np.abs(expected[0]).mean()
    assert spread > 0.05, "different sounds have different embeddings"

    fast = panns_embedder.Embedder(network, precision="float32")  # changes the network: nothing after this may use it
    filtered = any(isinstance(m, panns_embedder.WinogradConv) for m in network.modules())
    assert filtered == (name not in ("MobileNetV1", "Res1dNet31"))
    assert not any(isinstance(m, panns.NORMS) for n, m in network.named_modules() if n != "bn0")
    for waveforms, rows in zip((one, ten, least), expected, strict=True):
        assert difference(fast(waveforms), rows) < ROUNDING
    fast.layer = "fc1"
    assert difference(fast(least), dense) < ROUNDING


def test_minimal_filtering_is_convolution():
    layer = nn.Conv2d(3, 5, 3, padding=1)
    with torch.no_grad():
        for sizes in itertools.product(range(1, 10), repeat=2):
            maps = torch.randn(2, 3, *sizes, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(panns_embedder.WinogradConv(layer)(maps), layer(maps), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("samples", "message"), [(10_560, "cut .* to 10,559 .* 10,876"), (14_715, "14,399 .* 14,716")])
def test_wavegram_takes_lengths_whose_halves_match(samples, message):
    with pytest.raises(InputError, match=message):
        panns.build("Wavegram_Logmel_Cnn14")(torch.zeros(1, samples))


def test_stft_by_fft_by_convolution_and_by_torchlibrosa():
    network = panns_checkpoints.untrained("MobileNetV1", seed=0)
    stft, mel = network.spectrogram_extractor["stft"], network.logmel_extractor["melW"]
    upstream = torchlibrosa.Spectrogram(n_fft=1024, hop_length=320)
    bank = torchlibrosa.LogmelFilterBank(sr=32_000, n_fft=1024, n_mels=64, fmin=50, fmax=14_000, top_db=None)
    assert (stft.conv_real.weight - upstream.stft.conv_real.weight).abs().max() < 1e-6
    assert (stft.conv_imag.weight - upstream.stft.conv_imag.weight).abs().max() < 1e-6
    assert (mel - bank.melW).abs().max() < 1e-9
    waveforms = torch.from_numpy(np.concatenate([sounds(4), np.zeros((1, 32_000), np.float32)]))
    hann = torch.hann_window(1024)
    spectrum = torch.stft(waveforms, 1024, 320, window=hann, pad_mode="reflect", return_complex=True).abs() ** 2
    by_fft, published = stft(waveforms), upstream(waveforms)[:, 0].transpose(1, 2)
    stft.window = None
    by_convolution = stft(waveforms)
    for power in (by_fft, by_convolution, published):
        assert power.shape == (5, 513, 101)
        # Of the loudest bin of the sound: rounding in float32 does not depend on the bin.
        assert ((power - spectrum).abs().amax((1, 2)) <= 1e-5 * spectrum.amax((1, 2))).all()
    decibels = [10 * (mel.T @ power).clamp(min=1e-10).log10() for power in (by_fft, by_convolution)]
    torch.testing.assert_close(decibels[0], decibels[1], rtol=0, atol=0.01)
    torch.testing.assert_close(
        decibels[0], bank(published[:, None].transpose(2, 3))[:, 0].transpose(1, 2), rtol=0, atol=0.01
    )
    assert (decibels[0][4] == -100).all(), "silence"


def test_stft_tensors_that_are_no_windowed_waves_are_convolved_with(checkpoint):
    state = torch.load(checkpoint)
    state["model"]["spectrogram_extractor.stft.conv_real.weight"][7, 0, 100] += 1e-4
    torch.save(state, "bent.pth")
    assert panns_checkpoints.load("MobileNetV1", checkpoint).spectrogram_extractor["stft"].window is not None
    bent = panns_checkpoints.load("MobileNetV1", Path("bent.pth"))
    assert bent.spectrogram_extractor["stft"].window is None
    assert (
        1e-7
        < difference(plain(bent, sounds(2)), plain(panns_checkpoints.load("MobileNetV1", checkpoint), sounds(2)))
        < 0.1
    )


def test_untrained_weights_follow_the_seed_and_the_batches(checkpoint):
    def weights(seed: int) -> dict:
        network = panns_checkpoints.untrained("MobileNetV1", seed)
        panns_checkpoints.reestimate_batch_norm(network, [sounds(2, 0.5), sounds(2, 0.4)])
        return network.state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["fc1.weight"], other["fc1.weight"])
    assert first["features.3.2.num_batches_tracked"] == 2 and first["features.3.2.running_mean"].any()


class Code:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def bad_files(checkpoint: Path) -> dict[str, tuple[bytes | dict, str]]:
    """Content (bytes, or what torch saves) and what is said of it."""
    whole, model = checkpoint.read_bytes(), torch.load(checkpoint)["model"]
    lacking = {key: value for key, value in model.items() if key != "fc1.weight"}
    return {
        "truncated": (whole[: len(whole) // 2], "truncated, or holds more than weights"),
        "empty": (b"", "truncated, or holds more than weights"),
        "code": ({"model": {**model, "fc1.bias": Code()}}, "truncated, or holds more than weights, such as code"),
        "pickle": (pickle.dumps({"model": Code()}, protocol=2), "truncated, or holds more than weights, such as code"),
        "bare": (model, "has no state dict under the key 'model'"),
        "list": ([model], "has no state dict under the key 'model'"),
        "other": (
            {"model": {**lacking, "conv0.weight": torch.zeros(1)}},
            "not of MobileNetV1, lacks 1 keys such as fc1.weight, has 1 keys such as conv0.weight",
        ),
        "shape": ({"model": {**model, "fc1.bias": torch.zeros(9)}}, "fc1.bias has the shape (9,), not (1024,)"),
        "nan": ({"model": {**model, "bn0.bias": torch.full((64,), torch.nan)}}, "bn0.bias holds values that are not"),
    }


@pytest.mark.parametrize("case", ["truncated", "empty", "code", "pickle", "bare", "list", "other", "shape", "nan"])
def test_a_bad_checkpoint_is_refused_and_its_code_not_run(checkpoint, case):
    content, message = bad_files(checkpoint)[case]
    path = Path(f"{case}.pth")
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError) as error:
        panns_checkpoints.load("MobileNetV1", path)
    assert message in str(error.value) and str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    assert not Path("ran").exists()


def test_the_older_file_format_of_the_published_checkpoints_loads(checkpoint):
    torch.save(torch.load(checkpoint), "old.pth", _use_new_zipfile_serialization=False)
    state = panns_checkpoints.load("MobileNetV1", Path("old.pth")).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in torch.load(checkpoint)["model"].items())
    Path("cut.pth").write_bytes(Path("old.pth").read_bytes()[:-1000])
    with pytest.raises(InputError, match="cut.pth: truncated"):
        panns_checkpoints.load("MobileNetV1", Path("cut.pth"))


def test_bfloat16_is_near_float32_and_leaves_the_front_end_alone(checkpoint):
    short, full = (
        panns_embedder.Embedder(panns_checkpoints.load("MobileNetV1", checkpoint), precision=precision)
        for precision in ("bfloat16", "float32")
    )
    rows, expected = short(sounds(2)), full(sounds(2))
    cosine = (rows * expected).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
    assert rows.dtype == np.float32 and difference(rows, expected) > 1e-4 and cosine.min() > 0.9
    waveforms = torch.from_numpy(sounds(2))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(short.network.logmel(waveforms), full.network.logmel(waveforms))


def test_batches_do_not_change_embeddings(checkpoint, monkeypatch):
    waveforms = sounds(5)
    embedder = panns_embedder.Embedder(panns_checkpoints.load("MobileNetV1", checkpoint), precision="float32")
    together = embedder(waveforms)
    monkeypatch.setattr(panns_embedder, "BATCH", 2 * panns.RATE)
    assert difference(embedder(waveforms), together) < ROUNDING


def write_clips() -> None:
    """A clip with sound, one without, one at another rate."""
    write_wav(Path("a.wav"), noise())
    write_wav(Path("c.wav"), noise(rate=44_100), rate=44_100)
    Path("media.csv").write_text("clip,audio,video\n1,,\n2,a.wav,\n3,c.wav,\n")


def test_embeddings_of_seconds_and_clips_end_to_end(checkpoint):
    write_clips()
    given = ["--network", "MobileNetV1", "--weights", str(checkpoint), "--no-verify-hash"]
    result = run("embed_audio.py", "media.csv", "out/a.npy", *given, "--layer", "fc1")
    assert result.returncode == 0, result.stderr
    assert "warning: 1 clips: audio at 44100 Hz, resampled to 48000 Hz (the first: c.wav)" in result.stderr
    assert result.stderr.count("warning") == 1, "a clip at 48 kHz is resampled without a word"
    seconds = np.load("out/a.npy")
    assert seconds.shape == (3, 10, 1024) and seconds.dtype == np.float32 and not seconds[0].any()
    network = panns_checkpoints.load("MobileNetV1", checkpoint)
    sound = soxr.resample(read_audio("a.wav", 48_000).mean(axis=0), 48_000, 32_000)
    assert difference(seconds[1], plain(network, sound.reshape(10, 32_000), "fc1")) < ROUNDING
    assert [path.name for path in Path("out").iterdir()] == ["a.npy"] and not list(Path(".resume").iterdir())

    embed_audio.main(Path("media.csv"), Path("b.npy"), "MobileNetV1", True, checkpoint, "clip", verify_hash=False)
    clips = np.load("b.npy")
    assert not clips[0].any() and (clips == clips[:, :1]).all()
    assert difference(clips[1, 0], plain(network, sound[None])[0]) < ROUNDING


def test_workers_embed_as_one_process_does(checkpoint, monkeypatch):
    """In as many threads each as the command gives: joblib would give them fewer, and sums other last digits."""
    write_wav(Path("a.wav"), noise())
    Path("media.csv").write_text("clip,audio\n1,a.wav\n2,a.wav\n")
    monkeypatch.setattr(shards, "SHARD", 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for workers in ("1", "2"):
            monkeypatch.setenv("SCENES_WORKERS", workers)
            embed_audio.main(
                Path("media.csv"), Path(f"{workers}.npy"), "MobileNetV1", weights=checkpoint, verify_hash=False
            )
    finally:
        torch.set_num_threads(threads)
    assert Path("1.npy").read_bytes() == Path("2.npy").read_bytes()


def test_untrained_embeddings_follow_the_seed():
    write_wav(Path("a.wav"), noise())
    Path("media.csv").write_text("clip,audio,fold\n1,a.wav,train\n")
    result = run(
        "embed_audio.py", "media.csv", "a.npy", "--network=MobileNetV1", "--no-pretrained", "--weights=none", "--seed=3"
    )
    assert result.returncode == 0, result.stderr
    embed_audio.main(Path("media.csv"), Path("b.npy"), "MobileNetV1", pretrained=False, seed=3)
    assert Path("a.npy").read_bytes() == Path("b.npy").read_bytes() and np.load("a.npy").any()
    assert not list(Path(".resume").iterdir())


def test_evaluate_clips_have_no_part_in_untrained_embeddings_of_train_clips():
    """Where batch norm's averages came from all clips, they had."""
    generator = np.random.default_rng(0)
    for name in "abc":
        write_wav(Path(f"{name}.wav"), generator.normal(0, 0.1, (2, 480_000)))
    Path("media.csv").write_text("clip,audio,fold\n1,a.wav,evaluate\n2,b.wav,train\n3,c.wav,train\n")
    embed_audio.main(Path("media.csv"), Path("a.npy"), "MobileNetV1", pretrained=False)
    write_wav(Path("a.wav"), np.sin(np.arange(960_000).reshape(2, -1) / 20))
    embed_audio.main(Path("media.csv"), Path("b.npy"), "MobileNetV1", pretrained=False)
    before, after = np.load("a.npy"), np.load("b.npy")
    np.testing.assert_array_equal(after[1:], before[1:])
    assert not np.allclose(after[0], before[0])
    Path("media.csv").write_text("clip,audio,fold\n1,a.wav,evaluate\n")
    with pytest.raises(InputError, match="^media.csv: no train clip has audio; an untrained network needs some"):
        embed_audio.main(Path("media.csv"), Path("c.npy"), "MobileNetV1", pretrained=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "Cnn15"}, "network 'Cnn15' is not one of Cnn14, MobileNetV1"),
        ({"pretrained": False, "weights": Path("x.pth")}, "--weights x.pth: an untrained network takes no weights"),
        (
            {"weights": Path("x.pth")},
            "x.pth: MD5 is .*, expected a419303e1c88aa1b9d2ac3811563d371; give .*--no-verify-hash",
        ),
        ({"weights": Path("x.pth"), "verify_hash": False}, "x.pth: truncated"),
    ],
)
def test_wrong_options_and_files_are_refused(arguments, message):
    write_clips()
    Path("x.pth").write_bytes(b"not weights")
    with pytest.raises(InputError, match=message):
        embed_audio.main(Path("media.csv"), Path("a.npy"), **{"network": "MobileNetV1", **arguments})
    assert not Path("a.npy").exists()
