"""Weights of the PANNs: published checkpoints, read without running code, or seeded untrained ones."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scenes.features.panns import MELS, NORMS, RATE, WINDOW, LogMelNetwork, Network, build, nn, published, torch
from scenes.stage.errors import InputError
from scenes.stage.outputs import writing


@torch.no_grad()
def untrained(name: str, seed: int) -> Network:
    """Build a network with seeded initial weights: Xavier uniform, biases 0, batch norm 1 and 0.

    Upstream begins the last batch norm of every residual block at 0; here at 1, or the blocks would do nothing.
    """
    import librosa  # takes seconds, and nothing else here needs it

    network = build(name).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, NORMS):
            module.reset_parameters()
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
    if isinstance(network, LogMelNetwork):
        stft = network.spectrogram_extractor["stft"]
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        wave = torch.fft.rfft(torch.eye(WINDOW, dtype=torch.float64) * window).T[:, None]
        stft.conv_real.weight.copy_(wave.real)
        stft.conv_imag.weight.copy_(wave.imag)
        stft.find_window()
        mel = librosa.filters.mel(sr=RATE, n_fft=WINDOW, n_mels=MELS, fmin=50, fmax=14_000)
        network.logmel_extractor["melW"].copy_(torch.from_numpy(mel.T))
    return network.eval()


@torch.no_grad()
def reestimate_batch_norm(network: Network, batches: Iterable[np.ndarray]) -> None:
    """Replace batch norm's statistics by plain averages over batches of sound, float32 `[batch, samples]` each.

    Activations of an untrained deep network otherwise shrink or grow from layer to layer; its embeddings are all alike.
    """
    for module in network.modules():
        if isinstance(module, NORMS):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    for batch in batches:
        network(torch.from_numpy(batch))
    network.eval()


def save(network: Network, path: Path) -> None:
    """Write a checkpoint in the published layout: the state dict under the key `model`."""
    with writing(path) as temporary:
        torch.save({"model": network.state_dict()}, temporary)


@torch.no_grad()
def load(name: str, path: Path) -> Network:
    """Build a network from a checkpoint in the published layout, without running code that the file may hold.

    Raises
    ------
    InputError
        If the file is not a whole checkpoint, is one of another network, or holds weights that are not finite.
    """
    network, fix = build(name), f"put the published {published(name).file} there"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged or hostile pickle may raise anything
        raise InputError(f"{path}: truncated, or holds more than weights, such as code; {fix}") from error
    state = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: has no state dict under the key 'model'; {fix}")
    expected, found = ({key: tuple(value.shape) for key, value in s.items()} for s in (network.state_dict(), state))
    if found != expected:
        raise InputError(f"{path}: not of {name}, {_difference(expected, found)}; {fix}")
    for key, value in state.items():
        if not value.isfinite().all():
            raise InputError(f"{path}: {key} holds values that are not finite; {fix}")
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, assign=True)
    if isinstance(network, LogMelNetwork):
        network.spectrogram_extractor["stft"].find_window()
    return network.eval()


def _difference(expected: dict[str, tuple], found: dict[str, tuple]) -> str:
    keys = {"lacks": expected.keys() - found.keys(), "has": found.keys() - expected.keys()}
    parts = [f"{verb} {len(names)} keys such as {min(names)}" for verb, names in keys.items() if names]
    shapes = sorted(key for key in expected.keys() & found.keys() if expected[key] != found[key])
    return ", ".join(parts + [f"{key} has the shape {found[key]}, not {expected[key]}" for key in shapes[:1]])
