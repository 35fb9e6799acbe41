"""The five workloads of `benches/training.rs`: their shapes, and tables like theirs."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TABLES = Path(__file__).resolve().parents[2] / "examples" / "data"


@dataclass(frozen=True)
class Workload:
    name: str
    widths: tuple  # inputs, hidden layers, outputs
    activation: str
    normalized: bool  # batch normalization after each hidden layer
    loss: str  # softmax | mse | sigmoid
    batch: int
    epochs: int


WORKLOADS = [
    Workload("w1", (4, 64, 64, 3), "swish", True, "softmax", 150, 520),
    Workload("w2", (13, 64, 64, 1), "swish", False, "mse", 32, 1000),
    Workload("w3", (13, 64, 64, 1), "swish", False, "mse", 506, 1000),
    Workload("w4", (784, 512, 512, 10), "relu", False, "softmax", 128, 3),
    Workload("w5", (28, 128, 128, 1), "swish", False, "sigmoid", 1024, 2),
]


def table(name):
    with open(TABLES / name, encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def samples(workload):
    """x (n, inputs), y (n, outputs), both f32."""
    if workload.name == "w1":
        rows = table("iris.csv")
        classes = sorted({row[4] for row in rows})
        x = np.array([row[:4] for row in rows], np.float32)
        return x, np.array([[row[4] == name for name in classes] for row in rows], np.float32)
    if workload.name in ("w2", "w3"):
        rows = np.array(table("housing.csv"), np.float32)
        x = rows[:, :13]
        return (x - x.mean(0)) / x.std(0), rows[:, 13:14]
    count = 60_000 if workload.name == "w4" else 1_000_000
    x = np.random.default_rng(0).uniform(-1, 1, (count, workload.widths[0])).astype(np.float32)
    share = (x[:, 0] + x[:, 1] + 2) / 4
    if workload.widths[-1] == 1:
        return x, np.round(share)[:, None].astype(np.float32)
    return x, np.eye(workload.widths[-1], dtype=np.float32)[(share * workload.widths[-1]).astype(int)]


def first_weights(workload, seed=0):
    """Glorot uniform kernels and zero biases, layer by layer."""
    random = np.random.default_rng(seed)
    for inputs, outputs in zip(workload.widths, workload.widths[1:]):
        limit = np.sqrt(6 / (inputs + outputs))
        yield random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32), np.zeros(outputs, np.float32)
