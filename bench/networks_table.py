#!/usr/bin/env python3
"""Seconds and peak memory of one training step and one whole-volume inference for every network, in
fp32 and bf16: a Markdown table from `lamp bench`.

Usage: bench/networks_table.py build/lamp [--step X,Y,Z] [--segment X,Y,Z] > table.md
"""
import argparse
import json
import subprocess

NETS = [("unet", 32), ("unet", 64), ("unet", 128), ("seunet", 32), ("seunet", 64), ("seunet", 128),
        ("anatomynet", 28)]


def bench(lamp, what, net, width, size, precision):
    """Best seconds of three rounds and GiB at most."""
    command = [lamp, "--json", "bench", what, "--net", net, "--input", size, "--rounds", "3",
               "--precision", precision]
    if net != "anatomynet":
        command += ["--width", str(width)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        return "-", result.stderr.strip().splitlines()[-1]
    found = json.loads(result.stdout)
    return f"{min(found['seconds']):.3f}", f"{max(found['peak_bytes']) / 2**30:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lamp")
    parser.add_argument("--step", default="64,64,64")
    parser.add_argument("--segment", default="96,96,96")
    options = parser.parse_args()
    print(f"Training step of one {options.step} volume; inference of one {options.segment} volume.\n")
    print("| network | precision | step s | step GiB | inference s | inference GiB |")
    print("|---|---|---|---|---|---|")
    for net, width in NETS:
        for precision in ("fp32", "bf16"):
            step = bench(options.lamp, "step", net, width, options.step, precision)
            segment = bench(options.lamp, "segment", net, width, options.segment, precision)
            print(f"| {net} {width} | {precision} | {step[0]} | {step[1]} | {segment[0]} | "
                  f"{segment[1]} |", flush=True)


if __name__ == "__main__":
    main()
