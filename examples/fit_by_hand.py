#!/usr/bin/env python3
"""fit() written by hand: the client loops, the server differentiates. Needs nothing but Python and a running server.

python3 examples/fit_by_hand.py [http://127.0.0.1:8080] [steps]

A server that asks for a key gets that of TRAINYARD_API_KEY.
"""

import csv
import json
import os
import pathlib
import sys
import urllib.request

SERVER = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
HEADERS = {"content-type": "application/json"}
if "TRAINYARD_API_KEY" in os.environ:
    HEADERS["authorization"] = "Bearer " + os.environ["TRAINYARD_API_KEY"]
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 1000


def call(method, path, body=None):
    request = urllib.request.Request(
        SERVER + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers=HEADERS,
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or "null")


def housing():
    """The table as x (n, 13), each column with mean 0 and deviation 1, and y (n, 1)."""
    path = pathlib.Path(__file__).parent / "data" / "housing.csv"
    with open(path, encoding="utf-8") as file:
        rows = [[float(value) for value in row] for row in list(csv.reader(file))[1:]]
    columns = list(zip(*rows))
    for i, column in enumerate(columns[:-1]):
        mean = sum(column) / len(column)
        deviation = (sum((value - mean) ** 2 for value in column) / len(column)) ** 0.5
        columns[i] = [(value - mean) / deviation for value in column]
    return [list(row) for row in zip(*columns[:-1])], [[value] for value in columns[-1]]


x, y = housing()
hidden = {"type": "dense", "units": 20, "activation": "swish"}
network = {"layers": [hidden, {"type": "dense", "units": 1}], "loss": "mse", "optimizer": "adam"}
session = "/v1/sessions/" + call("POST", "/v1/sessions", {"inputs": 13, "model": network, "seed": 7})["id"]

# with GradientTape() as tape: loss = mse(y, model(x)); optimizer.apply_gradients(zip(tape.gradient(…), …))
for step in range(STEPS):
    taped = call("POST", session + "/gradients", {"x": x, "y": y, "seq": 2 * step + 1})
    call("POST", session + "/apply_gradients", {"gradients": taped["gradients"], "seq": 2 * step + 2})
    if step % 100 == 0 or step == STEPS - 1:
        print(f"step {step + 1:4}  loss {taped['loss']:.4f}", flush=True)

model = call("POST", session + "/save?name=by-hand")
print(f"saved as {model['id']}")
