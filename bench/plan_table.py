#!/usr/bin/env python3
"""Predicted beside measured step time and peak memory of every network on one device and on two
stages of it: a Markdown table from `lamp plan --measure`. Run it on a calm machine.

The whole table is measured --passes times, and a row shows the medians over the passes, because a
machine whose speed changes between a profile and the run behind it makes a single pass wrong.

Usage: bench/plan_table.py build/lamp [--input X,Y,Z] [--batch N] [--rounds R] [--passes P]
                           [--only NET] [--crowded] > table.md
"""
import argparse
import json
import statistics
import subprocess
import sys

NETS = [("unet", 32), ("seunet", 32), ("anatomynet", None)]
# Devices, schedule, micro-batches, recomputation.
SETTINGS = [("cpu", "1f1b", 1, "never"), ("cpu", "1f1b", 2, "never"),
            ("cpu,cpu", "gpipe", 1, "never"), ("cpu,cpu", "gpipe", 2, "never"),
            ("cpu,cpu", "1f1b", 2, "never"), ("cpu,cpu", "1f1b", 2, "always"),
            ("cpu,cpu", "naive", 2, "always")]
# More stages at work than a machine of two cores has threads.
CROWDED = [(",".join(["cpu"] * stages), schedule, 4, "never")
           for stages in (3, 4) for schedule in ("gpipe", "1f1b")]


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
    """"0.412 | 0.420 | -1.9 %"."""
    off = 100 * (predicted / measured - 1)
    return f"{predicted / unit:.{digits}f} | {measured / unit:.{digits}f} | {off:+.1f} %"


def row_of(name, passes):
    """One line of the table from what each pass found."""
    broken = [found for found in passes if isinstance(found, str)]
    if broken:
        return f"| {name} | {broken[0]} |"

    def median(value):
        return statistics.median(value(found) for found in passes)

    step = compared(median(lambda found: found["step_s"]),
                    median(lambda found: found["measured"]["step_s"]), 1, 3)
    peak = compared(median(lambda found: found["devices"][0]["peak_bytes"]),
                    median(lambda found: found["measured"]["peak_bytes"][0]), 2**20, 0)
    apart = [found["step_s"] / found["measured"]["step_s"] - 1 for found in passes]
    return f"| {name} | {step} | {100 * min(apart):+.1f} to {100 * max(apart):+.1f} % | {peak} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lamp")
    parser.add_argument("--input", default="64,64,64")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", help="one network's name")
    parser.add_argument("--crowded", action="store_true", help="three and four stages on the cpu")
    options = parser.parse_args()
    rows = [(net, width, setting) for net, width in NETS
            for setting in (CROWDED if options.crowded else SETTINGS)
            if not options.only or options.only == net]
    found = {row: [] for row in rows}
    for number in range(options.passes):
        print(f"pass {number + 1} of {options.passes}", file=sys.stderr)
        for row in rows:
            found[row].append(plan(options, *row))
    print(f"Batch of {options.batch} volumes of {options.input}; medians of {options.passes} passes, "
          f"in each the median of {options.rounds} rounds.\n")
    print("| network | devices | schedule | M | recompute | step s, predicted | measured | off by | "
          "single passes | peak MiB, predicted | measured | off by |")
    print("|---" * 12 + "|")
    for net, width, setting in rows:
        name = " | ".join([net, setting[0], setting[1], str(setting[2]), setting[3]])
        print(row_of(name, found[net, width, setting]))


if __name__ == "__main__":
    main()
