#!/usr/bin/env python3
"""Predicted beside measured step time and peak memory of every network on one device and on two
stages of it: a Markdown table from `lamp plan --measure`. Run it on a calm machine.

The whole table is measured --passes times, and a row shows the medians over the passes, because a
machine whose speed changes between a profile and the run behind it makes a single pass wrong.

With --tries it takes five networks of different sizes instead, measured --passes times each, and
prints JSON: of each try predicted over measured, as the plan was chosen ("step"), in turn with the
rounds ("in_turn") and of memory ("peak"), and how many tries were within 5 % and 3 %.

Usage: bench/plan_table.py build/lamp [--input X,Y,Z] [--batch N] [--rounds R] [--passes P]
                           [--only NET] [--crowded] > table.md
       bench/plan_table.py build/lamp --tries cpu|cpu,cpu [--rounds R] [--passes P] > tries.json
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
# Network, width, input, batch.
TRIES = [("unet", 16, "64,64,64", 1), ("unet", 32, "48,48,48", 2), ("seunet", 16, "64,48,48", 1),
         ("anatomynet", None, "32,32,32", 2), ("unet", 8, "96,96,64", 1)]


def plan(options, net, width, setting):
    """The plan as lamp prints it, or the last line of its message."""
    devices, schedule, microbatches, recompute = setting
    return measured(options, net, width, options.input, options.batch,
                    ["--device", devices, "--schedule", schedule, "--microbatches",
                     str(microbatches), "--recompute", recompute])


def measured(options, net, width, size, batch, setting):
    """One `lamp plan --measure`, or the last line of its message."""
    command = [options.lamp, "--json", "plan", "--measure", "--rounds", str(options.rounds),
               "--net", net, "--input", size, "--batch", str(batch)] + setting
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


def tries(options):
    """Five networks, --passes times each, as JSON. Two stages get four samples, to overlap."""
    rows = []
    for number in range(options.passes):
        for net, width, size, batch in TRIES:
            samples = 4 if "," in options.tries else batch
            found = measured(options, net, width, size, samples, ["--device", options.tries])
            row = {"net": net, "width": width, "input": size, "batch": samples}
            if isinstance(found, str):
                rows.append({**row, "message": found})
                continue
            step = found["measured"]["step_s"]
            row.update(schedule=found["schedule"], microbatches=found["microbatches"],
                       partition=found["partition"], measured_s=step, step=found["step_s"] / step,
                       peak=found["devices"][0]["peak_bytes"] / found["measured"]["peak_bytes"][0])
            if "predicted_s" in found["measured"]:
                row["in_turn"] = found["measured"]["predicted_s"] / step
            rows.append(row)
            print(f"pass {number + 1}: {row}", file=sys.stderr)

    def within(name, limit):
        return sum(abs(row.get(name, 0) - 1) <= limit for row in rows)

    print(json.dumps({"device": options.tries, "rounds": options.rounds, "tries": len(rows),
                      "step_within_5_percent": within("step", 0.05),
                      "in_turn_within_5_percent": within("in_turn", 0.05),
                      "peak_within_3_percent": within("peak", 0.03), "rows": rows}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lamp")
    parser.add_argument("--input", default="64,64,64")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", help="one network's name")
    parser.add_argument("--crowded", action="store_true", help="three and four stages on the cpu")
    parser.add_argument("--tries", metavar="DEVICES", help="JSON of five networks on these")
    options = parser.parse_args()
    if options.tries:
        tries(options)
        return
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
