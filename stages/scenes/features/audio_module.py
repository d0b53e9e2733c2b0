"""Embeddings of sound by a module with the API of HEAR 2021 (Turian et al. 2022), as hear-eval-kit calls it."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import soxr
import torch

from scenes.dataset.tables import SECONDS
from scenes.features.user_code import blaming, function, weights_of
from scenes.stage.errors import InputError

DATASET_RATE = 48_000
RATES = 1_000, 192_000


class Hear:
    """A module's model, ready for inference, on the GPU if torch sees one.

    Parameters
    ----------
    module : str
        The module's name, such as `hearbaseline.wav2vec2`.
    weights : str
        The file that its `load_model` is given, relative to `folder`; `none`: nothing.
    unit : str
        `second`: the scene embedding of each second alone; `clip`: that of the whole clip, for all its seconds;
        `timestamps`: the mean of the whole clip's timestamp embeddings within each second.
    folder : Path
        Where modules are looked for that are not installed.

    Raises
    ------
    InputError
        If the module cannot be imported, lacks a function, or its model cannot be loaded or lacks an attribute.
    """

    def __init__(self, module: str, weights: str, unit: str, folder: Path) -> None:
        kind = "timestamp" if unit == "timestamps" else "scene"
        load = function(module, "load_model", folder)
        self.module, self.unit, self.name = module, unit, f"get_{kind}_embeddings"
        self.embed = function(module, self.name, folder)
        given = [str(path) for path in weights_of(module, weights, folder)]
        with blaming(module):
            self.model = load(*given)
            self.rate = int(self.model.sample_rate)
            self.dimension = int(getattr(self.model, f"{kind}_embedding_size"))
        if not RATES[0] <= self.rate <= RATES[1]:
            raise InputError(f"{module}: sample_rate is {self.rate}; must be {RATES[0]} to {RATES[1]} samples a second")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if isinstance(self.model, torch.nn.Module):
            self.model.eval().to(self.device)

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        """Embeddings float32 `[10, D]` of a clip's mono sound at 48 kHz, `[480000]`.

        Raises
        ------
        InputError
            If the module raises an exception, its embeddings have another shape, or a second has no timestamp.
        """
        sound = soxr.resample(sound, DATASET_RATE, self.rate).clip(-1, 1)
        given = sound.astype(np.float32).reshape(SECONDS if self.unit == "second" else 1, -1)
        if self.unit != "timestamps":
            (rows,) = self._arrays(given)
            self._hold(rows, (len(given), self.dimension))
            return np.broadcast_to(rows, (SECONDS, self.dimension))
        rows, milliseconds = self._arrays(given)
        self._hold(rows, (1, milliseconds.shape[-1] if milliseconds.ndim else 0, self.dimension))
        self._hold(milliseconds, rows.shape[:2])
        seconds = milliseconds[0] // 1000
        empty = [second for second in range(SECONDS) if second not in seconds]
        if empty:
            raise InputError(f"{self.module}: {self.name} gave no timestamp in second {empty[0] + 1} of ten; "
                             "set unit to second or clip")  # fmt: skip
        return np.stack([rows[0, seconds == second].mean(axis=0) for second in range(SECONDS)])

    def _arrays(self, sounds: np.ndarray) -> list[np.ndarray]:
        """What the module makes of sounds float32 `[n, samples]`: embeddings, and timestamps if it gives them."""
        tensorflow = sys.modules.get("tensorflow")  # imported, if the model is one of it
        with blaming(self.module), torch.inference_mode():
            if tensorflow and isinstance(self.model, tensorflow.Module):
                made = self.embed(tensorflow.convert_to_tensor(sounds), self.model)
            else:
                made = self.embed(torch.from_numpy(sounds).to(self.device), self.model)
            tensors = list(made) if self.unit == "timestamps" else [made]
            return [np.asarray(each.float().cpu() if torch.is_tensor(each) else each, np.float32) for each in tensors]

    def _hold(self, array: np.ndarray, shape: tuple[int, ...]) -> None:
        if array.shape != shape:
            raise InputError(f"{self.module}: {self.name} gave an array {list(array.shape)}, not {list(shape)}")


@cache
def hear(module: str, weights: str, unit: str, folder: Path = Path()) -> Hear:
    """The model of a module, loaded once a process."""
    return Hear(module, weights, unit, folder)


def embed(sounds: np.ndarray, model: Hear) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of mono sounds `[clips, 480000]` at 48 kHz."""
    return np.stack([model(sound) for sound in sounds])
