"""Runs the five workloads with trainyard, JAX and PyTorch in turns and prints one table of medians and ratios.

One process a run; each peer with one thread and with all, of which the better counts.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = ["trainyard", "jax", "torch"]
ROUNDS = 3


def one_run(peer, name, threads):
    """Seconds of each training in one process that may use the first `threads` cores."""
    repeats = "1" if name in ("w4", "w5") else "3"
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


def main():
    names = sys.argv[1:] or ["w1", "w2", "w3", "w4", "w5"]
    all_threads = len(os.sched_getaffinity(0))
    print(f"{'':4}" + "".join(f"{peer:>14}" for peer in PEERS) + f"{'÷ jax':>9}{'÷ torch':>9}   (s, threads)", flush=True)
    for name in names:
        seconds = {}
        for _ in range(ROUNDS):
            for peer in PEERS:
                for threads in sorted({1, all_threads}):
                    seconds.setdefault((peer, threads), []).extend(one_run(peer, name, threads))
        best = {}
        for (peer, threads), each in seconds.items():
            best[peer] = min(best.get(peer, (float("inf"), 0)), (statistics.median(each), threads))
        cells = "".join(f"{best[peer][0]:10.3f} ({best[peer][1]})" for peer in PEERS)
        ratios = "".join(f"{best['trainyard'][0] / best[peer][0]:9.2f}" for peer in PEERS[1:])
        print(f"{name:4}{cells}{ratios}", flush=True)


if __name__ == "__main__":
    inside(*sys.argv[1:]) if len(sys.argv) > 1 and sys.argv[1] in PEERS else main()
