#!/usr/bin/env python3
"""One volume on slabs beside one device: seconds and counted peak memory of a training step (or, with
--inference, of the logits of a whole volume), and the bytes that slabs send each other in a step.
Contestants take turns, one process each, so that a machine whose speed changes is as fast for all;
prints JSON with each contestant's best and median seconds, and how many times as fast as one core
the others are, by both.

Contestants: one core; the slabs, a core each; one device with as many threads; and as many runs of
one core at once that know nothing of each other, by the volume: what the machine's cores, caches
and memory give at most to work that needs no exchange. Run it on a calm machine.

Usage: bench/slabs.py build/lamp [--net NAME] [--width W] [--input X,Y,Z] [--slabs L] [--rounds R]
                      [--inference]
"""
import argparse
import concurrent.futures
import json
import statistics
import subprocess


def run(options, devices, threads, *split):
    """Two rounds of `lamp bench step` or `bench segment`, as it prints them."""
    command = [options.lamp, "--json", "--threads", str(threads), "bench"]
    command += ["segment"] if options.inference else [
        "step", "--batch", "1", "--microbatches", "1", "--schedule", "gpipe"]
    command += ["--net", options.net, "--input", options.input, "--layout", "channels_last",
                "--rounds", "2", "--device", ",".join(["cpu"] * devices), *split]
    if options.net != "anatomynet":
        command += ["--width", str(options.width)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run_apart(options):
    """As many runs of one core each at once; the seconds of a round are the slowest one's for each
    of their volumes."""
    with concurrent.futures.ThreadPoolExecutor(options.slabs) as pool:
        found = list(pool.map(lambda _: run(options, 1, 1), range(options.slabs)))
    return {**found[0], "seconds": [max(seconds) / options.slabs
                                    for seconds in zip(*(one["seconds"] for one in found))]}


def summary(runs):
    """Of one contestant's runs."""
    seconds = [min(found["seconds"]) for found in runs]
    kept = {key: runs[0][key] for key in ("halo_bytes", "loss", "gradient_norm") if key in runs[0]}
    return {"best_s": min(seconds), "median_s": statistics.median(seconds),
            "peak_bytes": runs[0]["peak_bytes"], **kept}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("lamp")
    parser.add_argument("--net", default="unet")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--input", default="96,96,96")
    parser.add_argument("--slabs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inference", action="store_true")
    options = parser.parse_args()
    contestants = {
        "one core": lambda: run(options, 1, 1),
        "slabs": lambda: run(options, options.slabs, options.slabs, "--split",
                             f"slabs={options.slabs}"),
        "one device, all threads": lambda: run(options, 1, options.slabs),
        "runs apart": lambda: run_apart(options)}
    runs = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, contestant in contestants.items():
            runs[name].append(contestant())
    result = {name: summary(found) for name, found in runs.items()}
    alone = result["one core"]
    for row in result.values():
        row["times_as_fast"] = {"best": alone["best_s"] / row["best_s"],
                                "median": alone["median_s"] / row["median_s"]}
    print(json.dumps({"net": options.net, "width": options.width, "input": options.input,
                      "rounds": options.rounds, "inference": options.inference,
                      "contestants": result}, indent=1))


if __name__ == "__main__":
    main()
