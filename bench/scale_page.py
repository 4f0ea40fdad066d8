#!/usr/bin/env python3
"""How far networks, inputs and devices go together: a Markdown table from `lamp plan --json`.

Usage: bench/scale_page.py build/lamp > table.md
"""
import json
import subprocess
import sys

NETS = [(net, width) for net in ("unet", "seunet") for width in (32, 64, 128)]
INPUTS = [(128, 128, 128), (192, 192, 192), (256, 352, 288), (512, 512, 704)]
MEMORY_GIB = [16, 32, 80, 141]
MOST_DEVICES = 8


def plan(lamp, net, width, size, batch, gib, devices, *more):
    command = [lamp, "--json", "plan", "--net", net, "--width", str(width), "--classes", "10",
               "--input", ",".join(map(str, size)), "--batch", str(batch),
               "--devices", str(devices), "--device-memory", f"{gib}GiB",
               "--flops", "50T", "--bandwidth", "25GB/s", *more]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode not in (0, 5):
        raise SystemExit(f"{' '.join(command)}: {result.stderr}")
    return json.loads(result.stdout)


def least_devices(lamp, net, width, size, batch, gib):
    """The fewest of 1, 2, 4, 8 devices that hold it, and the plan."""
    devices = 1
    while devices <= MOST_DEVICES:
        found = plan(lamp, net, width, size, batch, gib, devices)
        if found["fits"]:
            return found
        devices *= 2
    return None


def fullest_gib(found):
    return max(device["peak_bytes"] for device in found["devices"]) / 2**30


def cell(found):
    if found is None:
        return "no"
    stages = len(found["stages"])
    again = sum(rule != "never" for rule in found["recompute"])
    text = f"{stages} dev" + (f", {again} recompute" if again else "")
    return f"{text}, {fullest_gib(found):.0f} GiB, {found['step_s']:.2f} s"


def by_microbatches(lamp):
    """What M does on up to four devices, with the recomputation that it needs."""
    print("\nBatch 16 on up to four devices of 80 GiB, 1f1b, by the number of micro-batches M: "
          "volumes a second in simulation, fullest device (stages, of which recompute).\n")
    counts = [1, 2, 4, 8, 16]
    print("| network | input | " + " | ".join(f"M = {m}" for m in counts) + " |")
    print("|---|---|" + "---|" * len(counts))
    for net, width in NETS:
        for size in INPUTS[:3]:
            row = []
            for m in counts:
                found = plan(lamp, net, width, size, 16, 80, 4, "--microbatches", str(m),
                             "--schedule", "1f1b", "--partition", "auto")
                again = sum(rule != "never" for rule in found["recompute"])
                row.append(f"{16 / found['step_s']:.1f}, {fullest_gib(found):.0f} GiB "
                           f"({len(found['stages'])}, {again})" if found["fits"] else "no")
            print(f"| {net} {width} | {'x'.join(map(str, size))} | " + " | ".join(row) + " |",
                  flush=True)


def main():
    lamp = sys.argv[1]
    print("Batch 1: fewest devices that hold a training step (of 1, 2, 4, 8), fullest device, "
          "simulated step.\n")
    print("| network | input | " + " | ".join(f"{gib} GiB" for gib in MEMORY_GIB) + " |")
    print("|---|---|" + "---|" * len(MEMORY_GIB))
    for net, width in NETS:
        for size in INPUTS:
            row = [cell(least_devices(lamp, net, width, size, 1, gib)) for gib in MEMORY_GIB]
            print(f"| {net} {width} | {'x'.join(map(str, size))} | " + " | ".join(row) + " |",
                  flush=True)
    print("\nBatch 16, 80 GiB: volumes a second in simulation on up to K devices "
          "(stages used, schedule, micro-batches).\n")
    counts = [1, 2, 4, 8]
    print("| network | input | " + " | ".join(f"K = {k}" for k in counts) + " |")
    print("|---|---|" + "---|" * len(counts))
    for net, width in NETS:
        for size in INPUTS[:2]:
            row = []
            for k in counts:
                found = plan(lamp, net, width, size, 16, 80, k)
                row.append(f"{16 / found['step_s']:.1f} ({len(found['stages'])}, "
                           f"{found['schedule']}, {found['microbatches']})"
                           if found["fits"] else "no")
            print(f"| {net} {width} | {'x'.join(map(str, size))} | " + " | ".join(row) + " |",
                  flush=True)
    by_microbatches(lamp)


main()
