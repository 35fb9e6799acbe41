"""PyTorch, eager: the loop that its tutorials write."""

import time

import torch

from workloads import first_weights


def network_of(workload):
    modules = []
    weights = list(first_weights(workload))
    for index, (w, b) in enumerate(weights):
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))
            linear.bias.copy_(torch.from_numpy(b))
        modules.append(linear)
        if index < len(weights) - 1:
            modules.append(torch.nn.SiLU() if workload.activation == "swish" else torch.nn.ReLU())
            if workload.normalized:
                modules.append(torch.nn.BatchNorm1d(w.shape[1], eps=1e-3, momentum=0.01))
    return torch.nn.Sequential(*modules)


def run(workload, x, y, repeats):
    torch.set_num_threads(len(__import__("os").sched_getaffinity(0)))
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    score = {
        "softmax": torch.nn.CrossEntropyLoss(),
        "sigmoid": torch.nn.BCEWithLogitsLoss(),
        "mse": torch.nn.MSELoss(),
    }[workload.loss]
    seconds = []
    for _ in range(repeats):
        network = network_of(workload)
        optimizer = torch.optim.Adam(network.parameters(), eps=1e-7)

        def step(x, y):
            optimizer.zero_grad()
            loss = score(network(x), y)
            loss.backward()
            optimizer.step()
            return loss

        start = time.perf_counter()
        for _ in range(workload.epochs):
            whole = workload.batch >= len(x)
            order = None if whole else torch.randperm(len(x))
            for first in range(0, len(x), workload.batch):
                rows = slice(None) if whole else order[first : first + workload.batch]
                loss = step(x[rows], y[rows])
        seconds.append(time.perf_counter() - start)
    return seconds, loss.item()
