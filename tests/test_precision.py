"""What decides the last digits: the command's precision and threads, not the machine and its environment."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import BACKENDS, ROOT

PARAMS = {name: yaml.safe_load((ROOT / name).read_text()) for name in ("params.yaml", "params.paper.yaml")}


def python(code: str, *arguments: object, **environment: str) -> str:
    """What `python -c code` prints, with the stages on its path."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'stages'}:{os.environ.get('PYTHONPATH', '')}", **environment}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


SETTINGS = {
    "torch": """
import torch
backends = torch.backends
print(torch.get_num_threads(), backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision)""",
    "tensorflow": """
import tensorflow
config = tensorflow.config
print(config.threading.get_intra_op_parallelism_threads(), config.experimental.tensor_float_32_execution_enabled())""",
    "jax": """
import os, jax
print(os.environ["NPROC"], jax.config.jax_default_matmul_precision)""",
}
EXPECTED = {"torch": "3 ieee ieee", "tensorflow": "3 False", "jax": "3 highest"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_and_threads_are_those_of_the_command(backend):
    """More threads than this machine may have cores, and other variables that name other numbers."""
    environment = {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2"}
    numpys = """
from threadpoolctl import threadpool_info
print({pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]})"""
    settings = python(f"import scenes.learning.backend{SETTINGS[backend]}{numpys}", **environment)
    assert settings.splitlines() == [EXPECTED[backend], "{1}"]
    if backend == "torch":
        assert python(f"import scenes.features.panns{SETTINGS[backend]}", **environment).strip() == EXPECTED[backend]


@pytest.mark.parametrize("number", ["0", "many", ""])
def test_no_number_of_threads_is_one_line(number):
    environment = {**os.environ, "OMP_NUM_THREADS": number, "PYTHONPATH": str(ROOT / "stages")}
    result = subprocess.run(
        [sys.executable, "-c", "import scenes.learning.backend"], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last == f"error: threads: OMP_NUM_THREADS is {number!r}, must be a whole number from 1 on, such as 1"


def write_training() -> list[str]:
    """Spectrograms that tell their classes apart, and the arguments of a short training on them."""
    rows = [f"c{i},{'ab'[i % 2]},x,{i},train,a.wav," for i in range(6)]
    Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    Path("classes.csv").write_text("class,meta_class\na,x\nb,y\n")
    noise = np.random.default_rng(0).standard_normal((6, 2, 16, 704))
    noise[1::2, :, :8] += 3
    np.save("mel.npy", noise.astype(np.float16))
    options = "--epochs 3 --batch 10 --seconds 5 --lr 0.01 --mixup original --dense 8 --dense-dropout 0"
    return ["split.csv", "classes.csv", "mel.npy", *options.split(), *4 * ["--widths", "4"], *4 * ["--dropout", "0"]]


BFLOAT16 = """
import train_spectrogram
from scenes.stage.cli import run
from scenes.learning.trainer import Trainer
fit = Trainer.fit
def checked(trainer, *arguments, **keywords):
    convolutions = [layer for layer in trainer.get_layer("vgg14").layers if "conv" in layer.name]
    assert {(layer.compute_dtype, layer.variable_dtype) for layer in convolutions} == {("bfloat16", "float32")}
    return fit(trainer, *arguments, **keywords)
Trainer.fit = checked
run(train_spectrogram.main)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_in_bfloat16_learns_on_each_backend(backend):
    arguments = [*write_training(), "--precision", "bfloat16"]
    arguments[3:3] = ["m.weights.h5", "h.csv"]
    # TensorFlow takes oneDNN's bfloat16 wherever the processor has it, and oneDNN refuses under ONEDNN_MAX_CPU_ISA.
    python(BFLOAT16, *arguments, KERAS_BACKEND=backend, TF_ENABLE_ONEDNN_OPTS="0")
    losses = pd.read_csv("h.csv")["loss"]
    assert np.isfinite(losses).all() and losses.iloc[-1] < losses.iloc[0]


@pytest.mark.slow
def test_the_pipelines_command_gives_the_same_weights_whatever_threads_surround_it():
    command = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train-audio-spectrogram"]["do"]["cmd"]
    assignments = command.partition("python ")[0]
    for name in ("threads", "backend"):
        assignments = assignments.replace(f"${{{name}}}", str(PARAMS["params.yaml"][name]))
    arguments = write_training()
    for outside in ("1", "3"):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        words = [*arguments[:3], f"{outside}.weights.h5", f"{outside}.csv", *arguments[3:]]
        subprocess.run(
            f"{assignments} '{sys.executable}' '{ROOT}/stages/train_spectrogram.py' {' '.join(words)}",
            shell=True, check=True, env={**os.environ, **dict.fromkeys(names, outside)},
        )  # fmt: skip
    assert Path("1.weights.h5").read_bytes() == Path("3.weights.h5").read_bytes()


def test_every_command_that_runs_a_network_names_its_threads():
    for file in ("dvc.yaml", "data/robustness/dvc.yaml"):
        for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items():
            command = stage.get("do", stage)["cmd"]
            runs = re.search(r"stages/(embed|train|zero_shot|predict(?!_external))", command) is not None
            assert command.startswith("OMP_NUM_THREADS=${threads} ") == runs, name


@pytest.mark.parametrize("name", PARAMS)
def test_every_precision_is_named(name):
    """Of every embedding and training; in bfloat16 only trainings of convolutions, with a GPU."""
    params = PARAMS[name]
    embeddings = {key: params[key]["precision"] for key in params if key.endswith("_embedding")}
    trainings = {key: section["precision"] for key, section in params["train"].items()}
    assert set(embeddings.values()) == {"float32"}
    short = {key for key, precision in trainings.items() if precision == "bfloat16"}
    assert set(trainings.values()) <= {"float32", "bfloat16"}
    assert short == (set() if name == "params.yaml" else {"audio_spectrogram", "visual_image", "audio_visual"})
