"""Line A20: values unlike those of training are told, with numbers."""

import json

import numpy as np

import known_models
import volumes
from material import config_file, fresh, train


def head_like(seed, size=(48, 44, 40)):
    """A CT of a ball of soft tissue (20 to 60 HU) with fat (-100), bone (700) and an organ (label 1), in air."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    image = np.full(size, -1000.0)
    image[radius < 0.85] = -100
    image[radius < 0.75] = 40
    image[(radius < 0.62) & (radius > 0.55)] = 700
    centre = random.uniform(-0.25, 0.25, 3).reshape(3, 1, 1, 1)
    label = (np.sqrt(((grid - centre) ** 2).sum(0)) < 0.2).astype(np.uint8)
    image[label == 1] = 60
    return np.clip(image + random.normal(0, 12, size), -1024, 3000).astype(np.int16), label


def head_set(walk, name, change=lambda image, case: image, train=5):
    """A data set of such heads; `change` makes of an image what a case holds."""
    for case in range(train):
        image, label = head_like(case)
        volumes.write_nifti(
            walk.path(name, "imagesTr", f"h{case}.nii.gz"), change(image.astype(float), case).astype(np.int16)
        )
        volumes.write_nifti(walk.path(name, "labelsTr", f"h{case}.nii.gz"), label)
    return walk.write(
        f"{name}/dataset.json",
        {
            "labels": {"0": "background", "1": "organ"},
            "training": [
                {"image": f"imagesTr/h{case}.nii.gz", "label": f"labelsTr/h{case}.nii.gz"} for case in range(train)
            ],
        },
    )


OTHER_VALUES = {
    "half": lambda v: v * 0.5,
    "twice": lambda v: v * 2,
    "a tenth": lambda v: v * 0.1,
    "ten times": lambda v: np.clip(v * 10, -32000, 32000),
    "plus 1000": lambda v: v + 1000,
    "plus 3000": lambda v: v + 3000,
    "inverted": lambda v: -v,
    "MR-like": lambda v: np.clip((v + 1000) * 0.3, 0, 600) * (v > -500),
    "constant": lambda v: v * 0 + 40,
    "0 to 1": lambda v: (v > 0) * 1.0,
    "8 bits": lambda v: np.clip((v + 200) / 2, 0, 255),
}

USUAL_VALUES = {
    "the same": lambda v: v,
    "noisier": lambda v: v + np.random.default_rng(0).normal(0, 8, v.shape),
    "another case": lambda v: head_like(77)[0].astype(float),
    "cropped": lambda v: v[4:-4, 4:-4, 4:-4],
    "padded with air": lambda v: np.pad(v, 6, constant_values=-1000),
    "flipped": lambda v: v[::-1],
}


def values_unlike_those_of_training_are_warned_of(walk):
    """`check -m` and `segment` on the same head in other units, contrasts and offsets: numbers in the warning."""
    head_set(walk, "heads")
    train(walk, "head_run", on="heads", curriculum=[{"patch": "whole", "batch": 1, "epochs": 1}])
    for kinds, warned in ((OTHER_VALUES, True), (USUAL_VALUES, False)):
        for name, change in kinds.items():
            values = change(head_like(50)[0].astype(float)).astype(np.int16)
            volumes.write_nifti(walk.path("scan.nii.gz"), values)
            right = lambda warnings: None if bool(warnings) == warned else f"warnings: {warnings}"
            walk.check(
                f"check -m: {name}",
                ["check", "scan.nii.gz", "-m", "head_run", "--json"],
                right=lambda r: [
                    right(r.json["intensities"]["scan"]["warnings"]),
                    numbers_in(r.json["intensities"]["scan"]),
                ],
            )
            fresh(walk, "out")
            walk.check(
                f"segment: {name}",
                ["segment", "-m", "head_run", "-i", "scan.nii.gz", "-o", "out", "--json"],
                says="warning" if warned else None,
                right=lambda r: right(r.json["cases"][0]["intensities"]["warnings"]),
            )


def numbers_in(intensities):
    """Warnings carry numbers."""
    return [f"no number in: {text}" for text in intensities["warnings"] if not any(c.isdigit() for c in text)]


def the_distribution_is_kept_with_the_model(walk):
    """The percentiles in the model are those of numpy over the labelled voxels; without them nothing is compared."""
    config = json.loads(known_models.read_safetensors(walk.path("head_run/best.safetensors"))[1]["config"])
    held = json.loads(walk.path("head_run/split.json").read_text())
    inside = np.concatenate(
        [
            volumes.read_lps(walk.path("heads/imagesTr", case + ".nii.gz"))[0][
                volumes.read_lps(walk.path("heads/labelsTr", case + ".nii.gz"))[0] == 1
            ]
            for case in held["training"]
        ]
    )
    kept = config["intensities"]["channels"][0]["inside"]
    result = walk.run(["info", "head_run"])
    walk.claim("voxels", result, None if kept["voxels"] == inside.size else f"{kept['voxels']} for {inside.size}")
    walk.claim("mean", result, None if abs(kept["mean"] - inside.mean()) < 0.5 else f"{kept['mean']}, {inside.mean()}")
    walk.claim("standard deviation", result, None if abs(kept["sd"] - inside.std()) < 0.5 else str(kept["sd"]))
    wanted = np.percentile(inside, [0.5, 5, 25, 50, 75, 95, 99.5])
    found = kept["percentiles"]
    found = list(found.values()) if isinstance(found, dict) else found
    walk.claim("percentiles", result, None if np.allclose(found, wanted, atol=2) else f"{found} for {wanted}")
    fresh(walk, "out")
    walk.check(
        "a model without them",
        ["segment", "-m", "bright.safetensors", "-i", "scan.nii.gz", "-o", "out", "--json"],
        right=lambda r: "intensities" if "intensities" in r.json["cases"][0] else None,
    )


def training_and_check_warn_of_a_wrong_window_and_of_odd_cases(walk):
    """An MR-like set with a CT's window; one case of five in other units."""
    head_set(walk, "mr", lambda image, _: OTHER_VALUES["MR-like"](image) * 6)
    for preset in ("han", "liver"):
        walk.check(f"check of an MR set -c {preset}", ["check", "mr", "-c", preset], says="window")
    head_set(walk, "ct")
    walk.check("check of a CT set -c demo", ["check", "ct", "-c", "demo"], not_says="window")
    config = config_file(walk, "window.json", curriculum=[{"patch": "whole", "epochs": 1}])
    walk.check(
        "train of an MR set with a CT's window",
        ["train", "-d", "mr", "-c", config, "-o", fresh(walk, "none")],
        says=["warning", "window"],
    )
    for name in ("half", "ten times", "plus 3000", "inverted"):
        head_set(walk, "odd", lambda image, case: OTHER_VALUES[name](image) if case == 2 else image)
        walk.check(f"check of a set with one case {name}", ["check", "odd"], says="h2")
        walk.check(
            f"train on a set with one case {name}",
            ["train", "-d", "odd", "-c", config, "-o", fresh(walk, "none")],
            says=["warning", "h2"],
        )


LINES = {
    "A20": [
        values_unlike_those_of_training_are_warned_of,
        the_distribution_is_kept_with_the_model,
        training_and_check_warn_of_a_wrong_window_and_of_odd_cases,
    ],
}
