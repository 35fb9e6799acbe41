"""Runs the five workloads with trainyard, JAX and PyTorch in turns and prints one table of medians and ratios.

One process a run; each peer with one thread and with all, of which the better median counts. On a machine with other
work the medians move from command to command; the ratio of the least times at any thread count, in parentheses, moves less.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = ["trainyard", "jax", "torch"]

# Long trainings run once a process.
LONG = ("w4", "w5")


def one_run(peer, name, threads):
    """Seconds of each training in one process that may use the first `threads` cores."""
    repeats = "1" if name in LONG else "3"
    if peer == "trainyard":
        command = [os.environ["TRAINYARD_BENCH"], name, "--threads", str(threads), "--repeats", repeats, "--json"]
    else:
        command = [sys.executable, str(HERE / "compare.py"), peer, name, repeats]
    cores = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    return json.loads(done.stdout.strip().splitlines()[-1])["seconds"]


def inside(peer, name, repeats):
    """What one of the peers' processes does."""
    import importlib

    from workloads import WORKLOADS, samples

    workload = next(workload for workload in WORKLOADS if workload.name == name)
    seconds, loss = importlib.import_module(f"peer_{peer}").run(workload, *samples(workload), int(repeats))
    print(json.dumps({"workload": name, "seconds": seconds, "loss": loss}))


def measure(name):
    """Of each peer the median seconds at its better thread count, that count, and the least seconds at any."""
    seconds = {}
    for _ in range(5 if name in LONG else 3):
        for peer in PEERS:
            for threads in sorted({1, len(os.sched_getaffinity(0))}):
                seconds.setdefault((peer, threads), []).extend(one_run(peer, name, threads))
    measured = {}
    for peer in PEERS:
        of_peer = {threads: each for (whose, threads), each in seconds.items() if whose == peer}
        median, threads = min((statistics.median(each), threads) for threads, each in of_peer.items())
        measured[peer] = median, threads, min(map(min, of_peer.values()))
    return measured


def main():
    names = sys.argv[1:] or ["w1", "w2", "w3", "w4", "w5"]
    heads = "".join(f"{peer:>14}" for peer in PEERS) + "".join(f"{'÷ ' + peer:>14}" for peer in PEERS[1:])
    print(f"{'':4}{heads}   seconds (threads), ratios (of the least)", flush=True)
    for name in names:
        measured = measure(name)
        median, _, least = measured["trainyard"]
        cells = "".join(f"{seconds:10.3f} ({threads})" for seconds, threads, _ in measured.values())
        ratios = "".join(f"{median / measured[peer][0]:7.2f} ({least / measured[peer][2]:.2f})" for peer in PEERS[1:])
        print(f"{name:4}{cells}{ratios}", flush=True)


if __name__ == "__main__":
    inside(*sys.argv[1:]) if len(sys.argv) > 1 and sys.argv[1] in PEERS else main()
