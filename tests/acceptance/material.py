"""Data sets, runs and models that the walks share: small, made here, and with voxels that are known."""

import csv
import json
import shutil

import numpy as np

import known_models
import volumes

TINY = {
    "net": {"name": "unet", "width": 4, "depth": 2},
    "data": {"window": [-200, 300]},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "curriculum": [{"patch": "whole", "batch": 1, "epochs": 2}],
    "validation": {"every_epochs": 1, "fraction": 0.25},
    "loader": {"threads": 1, "cache": "off"},
    "execution": {"device": "cpu", "layout": "contiguous", "costs": "shapes"},
}

# A plan on paper: no device is needed.
PLAN = "plan --net unet --width 4 --depth 1 --input 16,16,16 --devices 1 --device-memory 4GiB".split()


def box_case(seed, size=(24, 24, 24), organ=True):
    """A CT-like image (air -1000 around a body of 0 to 40 HU) and its label map: a box of 150 HU is label 1, of 8
    voxels a side or, where the image has fewer than 18, of 10 fewer than that. `size` is at least 12."""
    random = np.random.default_rng(seed)
    image = np.full(size, -1000, np.int16)
    inside = tuple(slice(3, n - 3) for n in size)
    image[inside] = random.integers(0, 40, [n - 6 for n in size])
    label = np.zeros(size, np.uint8)
    if organ:
        edges = [min(8, n - 10) for n in size]
        low = [int(random.integers(4, n - 5 - edge)) for n, edge in zip(size, edges)]
        label[tuple(slice(at, at + edge) for at, edge in zip(low, edges))] = 1
    image[label == 1] = random.integers(130, 170, int(label.sum()))
    return image, label


def data_set(walk, name, train=4, test=2, sizes=((24, 24, 24),), ending=".nii.gz", organ=lambda case: True, **entries):
    """A Decathlon data set `name` of box cases a0, a1, ... and tests t0, t1, ...; further entries go into its list."""
    folder = walk.path(name)
    cases = [(f"a{i}", "Tr") for i in range(train)] + [(f"t{i}", "Ts") for i in range(test)]
    for seed, (case, part) in enumerate(cases):
        image, label = box_case(seed, sizes[seed % len(sizes)], organ(case))
        volumes.write_nifti(folder / f"images{part}" / (case + ending), image)
        volumes.write_nifti(folder / f"labels{part}" / (case + ending), label)
    content = {
        "name": "boxes",
        "labels": {"0": "background", "1": "box"},
        "modality": {"0": "CT"},
        "numTraining": train,
        "numTest": test,
        "training": [
            {"image": f"imagesTr/{case}{ending}", "label": f"labelsTr/{case}{ending}"}
            for case, part in cases
            if part == "Tr"
        ],
        "test": [f"imagesTs/{case}{ending}" for case, part in cases if part == "Ts"],
        **entries,
    }
    walk.write(f"{name}/dataset.json", content)
    return folder


def settings(**changes):
    """The tiny configuration with changes of top-level keys; an object is merged into the one that is there."""
    merged = json.loads(json.dumps(TINY))
    for key, value in changes.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def config_file(walk, name="tiny.json", **changes):
    """Writes a configuration; returns its path."""
    return walk.write(name, settings(**changes))


def train(walk, run, on="data", timeout=300, **changes):
    """Trains a run, which must succeed; returns its folder."""
    config = config_file(walk, f"{run}.config.json", **changes)
    result = walk.run(["train", "-d", on, "-c", config, "-o", run], timeout=timeout)
    if result.code:
        raise RuntimeError(f"{result.command}: {result.code}: {result.last}")
    return walk.path(run)


def prepare(walk):
    """What most lines need: data/, a finished run/ of two epochs on it, and models of known answer."""
    data_set(walk, "data")
    train(walk, "run")
    walk.write("bright.safetensors", known_models.threshold_model([100], ["background", "bright"]))
    walk.write("three.safetensors", known_models.threshold_model([-500, 100], ["air", "body", "box"]))


def fresh(walk, *names):
    """Removes files or folders that a check will make; returns the paths (one alone if one was named)."""
    paths = [walk.path(name) for name in names]
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.exists() or path.is_symlink():
            path.unlink()
    return paths[0] if len(paths) == 1 else paths


def rows_of(path):
    """The rows of a CSV file as dictionaries."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def dice(a, b):
    """2 |a and b| / (|a| + |b|) of two masks."""
    a, b = np.asarray(a) != 0, np.asarray(b) != 0
    return 2 * (a & b).sum() / (a.sum() + b.sum())
