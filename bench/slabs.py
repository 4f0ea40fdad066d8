#!/usr/bin/env python3
"""One volume on slabs beside one device: seconds and counted peak memory of a training step, and the
bytes that slabs send each other. Contestants take turns, one process each, so that a machine whose
speed changes is as fast for all; prints JSON with each contestant's best and median seconds, and
how many times as fast as one core the others are, by both.

Contestants: one core; the slabs, a core each; one device with as many threads. Run it on a calm
machine.

Usage: bench/slabs.py build/lamp [--net NAME] [--width W] [--input X,Y,Z] [--slabs L] [--rounds R]
"""
import argparse
import json
import statistics
import subprocess


def step(options, devices, threads, *split):
    """Two rounds of `lamp bench step`, as it prints them."""
    command = [options.lamp, "--json", "--threads", str(threads), "bench", "step", "--net",
               options.net, "--input", options.input, "--batch", "1", "--microbatches", "1",
               "--schedule", "gpipe", "--layout", "channels_last", "--rounds", "2",
               "--device", ",".join(["cpu"] * devices), *split]
    if options.net != "anatomynet":
        command += ["--width", str(options.width)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def summary(runs):
    """Of one contestant's runs."""
    seconds = [min(run["seconds"]) for run in runs]
    return {"best_s": min(seconds), "median_s": statistics.median(seconds),
            "peak_bytes": runs[0]["peak_bytes"], "halo_bytes": runs[0].get("halo_bytes", 0),
            "loss": runs[0]["loss"], "gradient_norm": runs[0]["gradient_norm"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("lamp")
    parser.add_argument("--net", default="unet")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--input", default="96,96,96")
    parser.add_argument("--slabs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    contestants = {
        "one core": lambda: step(options, 1, 1),
        "slabs": lambda: step(options, options.slabs, options.slabs, "--split",
                              f"slabs={options.slabs}"),
        "one device, all threads": lambda: step(options, 1, options.slabs)}
    runs = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, run in contestants.items():
            runs[name].append(run())
    result = {name: summary(found) for name, found in runs.items()}
    alone = result["one core"]
    for row in result.values():
        row["times_as_fast"] = {"best": alone["best_s"] / row["best_s"],
                                "median": alone["median_s"] / row["median_s"]}
    print(json.dumps({"net": options.net, "width": options.width, "input": options.input,
                      "rounds": options.rounds, "contestants": result}, indent=1))


if __name__ == "__main__":
    main()
