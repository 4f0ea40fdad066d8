#!/usr/bin/env python3
"""Predicted beside measured step time and peak memory of every network on one device and on two
stages of it: a Markdown table from `lamp plan --measure`. Run it on a calm machine.

Usage: bench/plan_table.py build/lamp [--input X,Y,Z] [--batch N] [--rounds R] [--only NET] > table.md
"""
import argparse
import json
import subprocess

NETS = [("unet", 32), ("seunet", 32), ("anatomynet", None)]
# Devices, schedule, micro-batches, recomputation.
SETTINGS = [("cpu", "1f1b", 1, "never"), ("cpu", "1f1b", 2, "never"),
            ("cpu,cpu", "gpipe", 1, "never"), ("cpu,cpu", "gpipe", 2, "never"),
            ("cpu,cpu", "1f1b", 2, "never"), ("cpu,cpu", "1f1b", 2, "always"),
            ("cpu,cpu", "naive", 2, "always")]


def plan(options, net, width, setting):
    """The plan as lamp prints it, or the last line of its message."""
    devices, schedule, microbatches, recompute = setting
    command = [options.lamp, "--json", "plan", "--measure", "--rounds", str(options.rounds),
               "--net", net, "--input", options.input, "--batch", str(options.batch),
               "--device", devices, "--schedule", schedule, "--microbatches", str(microbatches),
               "--recompute", recompute]
    if width:
        command += ["--width", str(width)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        return result.stderr.strip().splitlines()[-1]
    return json.loads(result.stdout)


def compared(predicted, measured, unit, digits):
    """"0.412 / 0.420 (-1.9 %)"."""
    off = 100 * (predicted / measured - 1)
    return f"{predicted / unit:.{digits}f} | {measured / unit:.{digits}f} | {off:+.1f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lamp")
    parser.add_argument("--input", default="64,64,64")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one network's name")
    options = parser.parse_args()
    print(f"Batch of {options.batch} volumes of {options.input}, median of {options.rounds} rounds.\n")
    print("| network | devices | schedule | M | recompute | step s, predicted | measured | off by | "
          "peak MiB, predicted | measured | off by |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for net, width in NETS:
        if options.only and options.only != net:
            continue
        for setting in SETTINGS:
            found = plan(options, net, width, setting)
            name = " | ".join([net, setting[0], setting[1], str(setting[2]), setting[3]])
            if isinstance(found, str):
                print(f"| {name} | {found} |", flush=True)
                continue
            measured = found["measured"]
            step = compared(found["step_s"], measured["step_s"], 1, 3)
            peak = compared(found["devices"][0]["peak_bytes"], measured["peak_bytes"][0], 2**20, 0)
            print(f"| {name} | {step} | {peak} |", flush=True)


if __name__ == "__main__":
    main()
