"""The command `babygrad`, in this process; and once for itself, as a user starts it."""

import gzip
import os
import re
import struct
import subprocess
import sys

import pytest
from digits import write_digits

import babygrad
from babygrad import cli
from babygrad.models import DigitsCNN, DigitsMLP


@pytest.fixture
def digits(tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    write_digits(folder)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Files are written to a folder of the test's own, and no seed outlives it."""
    monkeypatch.chdir(tmp_path)
    yield
    babygrad.manual_seed(None)


def run(capsys, *arguments):
    """The exit code and what was printed to stdout and stderr."""
    try:
        code = cli.main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


# ----- babygrad train -----


@pytest.mark.parametrize(("name", "model"), [("cnn", DigitsCNN), ("mlp", DigitsMLP)])
def test_train_reports_and_saves(device, capsys, digits, tmp_path, name, model):
    code, out, err = run(
        capsys, "train", "--data", digits, "--model", name, "--epochs", 2, "--device", device
    )
    assert (code, err) == (0, "")
    first, *epochs, last = out.splitlines()
    assert re.fullmatch(rf"{name} on {device} \(\w+\), 20 training and 20 test images", first)
    for i, line in enumerate(epochs, 1):
        assert re.fullmatch(rf"epoch {i}/2: loss \S+, accuracy \S+ %, \S+ samples/s", line)
    assert len(epochs) == 2
    assert re.fullmatch(
        rf"test accuracy \S+ %, \S+ samples/s, saved mnist-{name}\.safetensors", last
    )
    model().load(tmp_path / f"mnist-{name}.safetensors")


def first_loss(capsys, device, *arguments):
    code, out, _ = run(capsys, "train", "--device", device, "--epochs", 1, *arguments)
    assert code == 0
    return float(re.search(r"epoch 1/1: loss (\S+),", out)[1])


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_a_seed_gives_the_same_first_loss_on_every_device(device, capsys, digits, model):
    options = ("--data", digits, "--model", model, "--batch-size", 10, "--seed", 3)
    reference = first_loss(capsys, "cpu:numpy", *options)
    assert first_loss(capsys, device, *options) == pytest.approx(reference, abs=1e-3)
    assert first_loss(capsys, "cpu:numpy", *options[:-1], 4) != reference


def test_options_are_used(capsys, digits, tmp_path):
    out_file = tmp_path / "mine.safetensors"
    _, slow, _ = run(
        capsys,
        *("train", "--data", digits, "--model", "mlp", "--device", "cpu:numpy", "--epochs", "3"),
        *("--lr", "1e-9", "--batch-size", "20", "--out", out_file),
    )
    losses = [float(x) for x in re.findall(r"loss (\S+),", slow)]
    # With such a rate only the random shifts make a difference between epochs.
    assert max(losses) - min(losses) < 0.1
    assert out_file.exists()


def test_without_arguments_it_is_mnist5k_and_the_cnn(monkeypatch):
    arguments = cli._parser().parse_args(["train"])
    assert (arguments.model, arguments.data, arguments.device) == ("cnn", None, None)
    train, test = cli._digits(arguments.data)
    assert (len(train), len(test)) == (4000, 1000)
    assert len(train.transforms) == 1


def test_plain_files_are_read_too(capsys, tmp_path):
    write_digits(tmp_path, pack=bytes)
    code, out, _ = run(
        capsys,
        "train",
        "--data",
        tmp_path,
        "--model",
        "mlp",
        "--epochs",
        1,
        "--device",
        "cpu:numpy",
    )
    assert code == 0
    assert "20 training and 20 test images" in out


def test_a_training_that_diverges_exits_with_1(capsys, digits, tmp_path):
    code, _, err = run(
        capsys,
        *("train", "--data", digits, "--model", "mlp", "--device", "cpu:numpy"),
        *("--epochs", "20", "--batch-size", "5", "--lr", "1e30"),
    )
    assert code == 1
    assert re.fullmatch(r"babygrad train: Trainer: the loss is \w+ in epoch .*\n", err)
    assert not list(tmp_path.glob("*.safetensors"))


BAD_OPTIONS = {
    "device": (("--device", "cuda"), r"unknown device 'cuda': there are cpu, cpu:cpp, cpu:numba"),
    "model": (("--model", "gpt"), r"argument --model: invalid choice: 'gpt'"),
    "epochs": (("--epochs", "0"), r"argument --epochs: '0' is not a positive integer"),
    "epochs-text": (("--epochs", "x"), r"argument --epochs: 'x' is not a positive integer"),
    "batch": (("--batch-size", "1.5"), r"argument --batch-size: '1.5' is not a positive integer"),
    "lr": (("--lr", "-1"), r"argument --lr: '-1' is not a positive number"),
    "lr-nan": (("--lr", "nan"), r"argument --lr: 'nan' is not a positive number"),
    "seed": (("--seed", "-1"), r"argument --seed: '-1' is not a non-negative integer"),
    "folder": (("--data", "nowhere"), r"nowhere: there is no train-images-idx3-ubyte or "),
    "out": (("--out", "no/where.st"), r"--out no/where.st: the folder no does not exist"),
    "out-folder": (("--out", "."), r"--out \.: this is a folder"),
    "unknown": (("--speed", "9"), r"unrecognized arguments: --speed 9"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_give_one_line_and_exit_code_2(capsys, case):
    options, message = BAD_OPTIONS[case]
    code, out, err = run(capsys, "train", *options)
    assert (code, out) == (2, "")
    assert re.match(rf"babygrad( train)?: {message}", err)
    assert err.count("\n") == 1


BAD_FILES = {
    "no-idx": (b"not an idx file", "not an IDX file of images"),
    "truncated": (struct.pack(">4I", 0x803, 2, 28, 28) + bytes(1567), "the header promises 2 im"),
    "promise": (struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), "promises 4294967295 images in"),
    "count": (struct.pack(">4I", 0x803, 1, 28, 28) + bytes(784), "has 1 images, but .* 20 labels"),
}


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_give_one_line_and_exit_code_2(capsys, tmp_path, case, pack):
    content, message = BAD_FILES[case]
    write_digits(tmp_path, pack=pack, **{"train-images-idx3-ubyte": content})
    code, out, err = run(capsys, "train", "--data", tmp_path, "--device", "cpu:numpy")
    assert (code, out) == (2, "")
    assert re.match(rf"babygrad train: \S*train-images-idx3-ubyte\S* ?.*{message}", err)
    assert err.count("\n") == 1


def test_labels_that_are_no_digits_and_empty_sets_are_refused(capsys, tmp_path):
    labels = struct.pack(">2I", 0x801, 20) + bytes(19) + b"\x0a"
    write_digits(tmp_path, **{"t10k-labels-idx1-ubyte": labels})
    code, _, err = run(capsys, "train", "--data", tmp_path, "--device", "cpu:numpy")
    assert code == 2
    assert err.endswith("test label 19 is 10, not one of 0 to 9\n")
    write_digits(tmp_path, 0)
    code, _, err = run(capsys, "train", "--data", tmp_path, "--device", "cpu:numpy")
    assert code == 2
    assert err.endswith("there are no training images\n")


def test_an_unknown_device_is_bad_input_and_as_the_default_a_warning(capsys, monkeypatch):
    code, _, err = run(capsys, "train", "--data", "nowhere", "--device", "tpu")
    assert code == 2
    assert "unknown device 'tpu'" in err
    monkeypatch.setattr("babygrad._state.default_device", None)
    monkeypatch.setenv("BABYGRAD_DEVICE", "tpu")
    with pytest.warns(RuntimeWarning, match="BABYGRAD_DEVICE is 'tpu', there are cpu, cpu:cpp"):
        code, _, err = run(capsys, "train", "--data", "nowhere")
    assert code == 2
    assert err.startswith("babygrad train: nowhere: there is no")


# ----- babygrad devices, and the command itself -----


def test_devices_lists_every_backend_with_reasons(capsys, monkeypatch):
    reasons = {"numpy": None, "mine": "cpu:mine does not load: it is not installed"}
    monkeypatch.setattr("babygrad.backends.registry.available", lambda: reasons)
    code, out, err = run(capsys, "devices")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["cpu:numpy loads", "cpu:mine does not load: it is not installed"]
    assert lines[2].startswith("default: cpu")
    assert lines[3].startswith("instruction set: ")


def test_devices_as_they_are_here(capsys):
    code, out, _ = run(capsys, "devices")
    assert code == 0
    for name in ("cpp", "numba", "numpy"):
        assert re.search(rf"^cpu:{name} \S", out, re.M)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "babygrad: the following arguments are required: command"),
        (("fly",), 2, "babygrad: argument command: invalid choice: 'fly'"),
        (("--version",), 0, babygrad.__version__),
        (("train", "--help"), 0, "--batch-size N"),
    ],
)
def test_the_command_itself(capsys, arguments, code, text):
    found, out, err = run(capsys, *arguments)
    assert found == code
    assert text in (err if code else out)


def test_as_a_module_in_a_process_of_its_own(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "babygrad", "train", "--data", "nowhere"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "BABYGRAD_DEVICE": "cpu:numpy"},
        timeout=120,
        check=False,
    )
    assert result.returncode == 2
    assert re.fullmatch(r"babygrad train: nowhere: there is no .*\n", result.stderr)
