"""Accuracies over seeds are collected from experiments that differ in nothing else."""

import json
from pathlib import Path

import pandas as pd
import pytest
from seeds import main

from scenes.stage.errors import InputError


def state(name: str | None, seed: int, accuracy: float, lr: float = 1e-3) -> dict:
    """One state of the repository, as `dvc exp show --json` prints it."""
    params = {"seed": seed, "demo": {"seed": 0}, "train": {"mlp": {"lr": lr, "mixup": ["beta"]}}}
    metrics = {"metrics/split.json": {"data": {"clips": 60}},
               "metrics/audio_spectrogram/mel.json": {"data": {"accuracy": accuracy}},
               "metrics/fuse/all_models-prod.json": {"error": {"msg": "not found"}}}  # fmt: skip
    data = {"params": {"params.yaml": {"data": params}}, "metrics": metrics}
    return {"rev": "0123456789", "name": name, "data": data, "experiments": None}


def collect(*experiments: dict) -> pd.DataFrame:
    queued = {**state("queued", 9, 0.0), "data": None}
    commit = {**state("main", 0, 0.6), "experiments": [{"revs": [one]} for one in (*experiments, queued)]}
    Path("experiments.json").write_text(json.dumps([state(None, 0, 0.5), commit]))
    main(Path("experiments.json"), Path("seeds.csv"))
    return pd.read_csv("seeds.csv")


def test_each_seed_counts_once_and_the_workspace_first(capsys):
    table = collect(state("one", 2, 0.8), state("two", 1, 0.7))
    assert table.to_dict("list") == {
        "framework": ["audio_spectrogram/mel"] * 3, "seed": [0, 1, 2], "accuracy": [0.5, 0.7, 0.8],
    }  # fmt: skip
    assert capsys.readouterr().err == ""


def test_an_experiment_of_other_parameters_is_left_out_with_a_line(capsys):
    table = collect(state("faster", 1, 0.9, lr=0.01), state("two", 2, 0.7))
    assert list(table["accuracy"]) == [0.5, 0.7]
    assert capsys.readouterr().err == "left out: faster: train.mlp.lr is 0.01, not 0.001\n"


@pytest.mark.parametrize("content", ["", "seed,metrics/a/b.json:accuracy\n1,0.5\n", "{}", "[]", '[{"rev": 1}]'])
def test_another_file_is_refused(content):
    Path("experiments.json").write_text(content)
    with pytest.raises(InputError, match="^experiments.json: not the output of dvc exp show --json$"):
        main(Path("experiments.json"), Path("seeds.csv"))
    assert not Path("seeds.csv").exists()
