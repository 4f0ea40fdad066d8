#!/usr/bin/env python3
"""Does bf16 train the demo as well as fp32? Trains `demo` on the head-and-neck phantoms in both
precisions over several seeds, segments the test volumes whole with each model in its precision,
evaluates, and prints the mean Dice coefficients: JSON on stdout, a Markdown table with --table.

What is finished is kept: a rerun repeats only what is missing, and a stopped training goes on.
Usage: bench/bf16_demo.py build/lamp FOLDER [--seeds 0,1,2] [--device cpu] [--table]
"""
import argparse
import json
import math
import pathlib
import shlex
import subprocess
import sys

PRECISIONS = ("fp32", "bf16")
LEAST_VOXELS = 200  # organs smaller than this are a matter of a few voxels
STOPPED = (124, 130, 143)  # by the prefix's time limit or a signal: the state is saved


class Program:
    def __init__(self, lamp, prefix):
        self.lamp = lamp
        self.prefix = shlex.split(prefix)

    def run(self, *arguments, prefix=()):
        command = [*prefix, self.lamp, *map(str, arguments)]
        code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        while code in STOPPED and prefix:
            code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        if code != 0:
            sys.exit(f"exit {code}: lamp {' '.join(map(str, arguments))}")

    def train(self, *arguments):
        """Again until the prefix does not stop it any more; it goes on where it was."""
        self.run("train", *arguments, "--resume", prefix=self.prefix)


def train_and_score(program, folder, phantoms, run, options):
    """summary.json of one seed in one precision."""
    seed, precision = run
    here = folder / f"seed{seed}_{precision}"
    if not (here / "trained").exists():
        program.train("-d", phantoms, "-c", "demo", "-o", here / "run", "--device", options.device,
                      "--set", f"seed={seed}", "--set", f"execution.precision={precision}")
        (here / "trained").touch()
    if not (here / "summary.json").exists():
        program.run("segment", "-m", here / "run", "-i", phantoms / "imagesTs", "-o",
                    here / "segmented", "--patch", "whole", "--precision", precision)
        program.run("evaluate", "-p", here / "segmented", "-r", phantoms / "labelsTs", "-d",
                    phantoms / "dataset.json", "-o", here / "summary.json")
    return json.loads((here / "summary.json").read_text())


def voxels(summary):
    """Mean number of reference voxels of each label over the cases."""
    cases = summary["metric_per_case"]
    labels = cases[0]["metrics"].keys()
    return {label: sum(c["metrics"][label]["n_ref"] for c in cases) / len(cases)
            for label in labels if label != "0"}


def mean_dice(summary, labels):
    """Over the labels' means over the cases."""
    found = [summary["mean"][label]["Dice"] for label in labels]
    found = [value for value in found if not math.isnan(value)]
    return sum(found) / len(found)


def table(result):
    lines = ["| seed | fp32, large organs | bf16, large organs | difference | fp32, all | bf16, all "
             "| difference |", "|---|---|---|---|---|---|---|"]
    for row in result["seeds"] + [dict(result["mean"], seed="mean")]:
        cells = [str(row["seed"])]
        for kind in ("large", "all"):
            fp32, bf16 = row["fp32"][kind], row["bf16"][kind]
            cells += [f"{fp32:.4f}", f"{bf16:.4f}", f"{bf16 - fp32:+.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lamp")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prefix", default="",
                        help='each training runs under it, such as "nice" or "timeout -s INT 200"')
    parser.add_argument("--table", action="store_true", help="Markdown instead of JSON")
    options = parser.parse_args()
    program = Program(options.lamp, options.prefix)
    phantoms = options.folder / "phantoms"
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (phantoms / "dataset.json").exists():
        program.run("synth", "--kind", "han", "-o", phantoms, "--train", "16", "--test", "4",
                    "--seed", "1")
    result = {"seeds": []}
    for seed in map(int, options.seeds.split(",")):
        row = {"seed": seed}
        for precision in PRECISIONS:
            summary = train_and_score(program, options.folder, phantoms, (seed, precision), options)
            sizes = voxels(summary)
            large = [label for label, size in sizes.items() if size >= LEAST_VOXELS]
            row[precision] = {"large": mean_dice(summary, large),
                              "all": mean_dice(summary, sizes)}
        row["large_organs"] = len(large)
        result["seeds"].append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    result["mean"] = {
        precision: {kind: sum(row[precision][kind] for row in result["seeds"]) /
                    len(result["seeds"]) for kind in ("large", "all")}
        for precision in PRECISIONS}
    print(table(result) if options.table else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
