"""Every script in examples/ runs, on a part of its data."""

import runpy
from pathlib import Path

import pytest

import babygrad
from babygrad.data import mnist5k

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def small_data_elsewhere(tmp_path, monkeypatch):
    def few(transforms=None):
        train, test = mnist5k(transforms)
        for dataset in (train, test):
            dataset.images, dataset.labels = dataset.images[:16], dataset.labels[:16]
        return train, test

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("babygrad.data.mnist5k", few)
    yield
    babygrad.manual_seed(None)


@pytest.mark.parametrize(
    ("script", "last_line"),
    [
        ("mnist_mlp.py", "test accuracy "),
        ("mnist_cnn.py", "epoch 15: loss "),
        ("custom_function.py", "largest deviation "),
        ("engine_in_a_page.py", "predictions [0. 1. 1. 0.]"),
    ],
)
def test_the_example_runs(script, last_line, capsys, tmp_path):
    with babygrad.device("cpu:numpy"):
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1].startswith(last_line)
    assert len(list(tmp_path.glob("*.safetensors"))) == script.startswith("mnist")


def test_every_example_is_in_this_list():
    listed = test_the_example_runs.pytestmark[0].args[1]
    assert {path.name for path in EXAMPLES.glob("*.py")} == {script for script, _ in listed}
