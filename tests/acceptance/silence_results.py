"""Lines A4, A15, A19 and A20: mirroring, padding at inference, saved probabilities, values unlike those of training."""

import json

import nibabel
import numpy as np
import SimpleITK

import known_models
import volumes
from material import config_file, data_set, fresh, train

SIDED = ["background", "Parotid_L"]
TWINS = ["background", "Parotid_L", "Parotid_R"]


def slab_image(axis):
    """A bright slab across one axis, with dark borders: it rises at one place and falls at another."""
    values = np.zeros((20, 18, 16), np.int16)
    lines = [slice(4, -4)] * 3
    lines["xyz".index(axis)] = slice(6, 11)
    values[tuple(lines)] = 1000
    return values


def edges(axis):
    """Label 1 where slab_image rises along the axis, 2 where it falls: half of 1000 between the neighbours."""
    values = np.pad(slab_image(axis).astype(float), 1)
    after, before = (np.roll(values, shift, "xyz".index(axis))[1:-1, 1:-1, 1:-1] for shift in (-1, 1))
    return np.where(after - before > 500, 1, np.where(before - after > 500, 2, 0))


def wrong_map(walk, expected, case="slab"):
    """How many voxels of a label map differ from what they must be."""
    found = volumes.read_lps(walk.path("out", case + ".nii.gz"))[0]
    wrong = int((found != expected).sum())
    return f"{wrong} voxels differ" if wrong else None


def mirroring_uses_the_axes_of_training(walk):
    """An edge model knows one side: mirroring an axis that training did not mirror would lose it."""
    for axis in "xyz":
        volumes.write_nifti(walk.path("slab.nii.gz"), slab_image(axis))
        one, two = np.where(edges(axis) == 1, 1, 0), edges(axis)
        for mirrored in ([], *[[other] for other in "xyz" if other != axis]):
            walk.write(
                "edge.safetensors", known_models.edge_model(["background", "rise"], axis, mirrored_axes=mirrored)
            )
            for tta in (["--tta"], ["--tta", axis], ["--tta", "x,y,z"], []):
                fresh(walk, "out")
                asked = tta[1:] and tta[1].replace(",", "")
                result = walk.check(
                    f"edge along {axis}, trained with {mirrored}, {' '.join(tta) or 'no --tta'}",
                    ["segment", "-m", "edge.safetensors", "-i", "slab.nii.gz", "-o", "out", *tta],
                    says="warning" if asked and set(asked) - set(mirrored) else None,
                    right=lambda _: wrong_map(walk, one),
                )
                used = json.loads(walk.path("out/segment.json").read_text())["mirroring"]
                walk.claim(
                    "segment.json says which axes", result, None if set(used["axes"]) <= set(mirrored) else str(used)
                )
        walk.write("edge.safetensors", known_models.edge_model(["background", "rise"], axis))
        fresh(walk, "out")
        walk.check(
            f"edge along {axis}, training unknown",
            ["segment", "-m", "edge.safetensors", "-i", "slab.nii.gz", "-o", "out", "--tta", axis],
            says="warning",
        )
        for labels in (
            TWINS,
            ["background", "kidney left", "kidney right"],
            ["bg", "Kidney (L)", "Kidney (R)"],
            ["bg", "lh_cortex", "rh_cortex"],
            ["bg", "Parotis links", "Parotis rechts"],
        ):
            walk.write("twins.safetensors", known_models.edge_model(labels, axis, mirrored_axes=[axis]))
            fresh(walk, "out")
            walk.check(
                f"{labels[1]} along {axis}, --tta",
                ["segment", "-m", "twins.safetensors", "-i", "slab.nii.gz", "-o", "out", "--tta"],
                right=lambda _: wrong_map(walk, two),
            )


def one_sided_labels_are_not_mirrored(walk):
    """Parotid_L without Parotid_R: refused, or the map of no mirroring; in training a refusal."""
    volumes.write_nifti(walk.path("slab.nii.gz"), slab_image("x"))
    for labels in (SIDED, ["background", "kidney_right"], ["background", "Lung left"]):
        for more in ({}, {"mirrored_axes": []}, {"mirrored_axes": ["y"]}):
            walk.write("sided.safetensors", known_models.edge_model(labels, "x", **more))
            for tta in (["--tta"], ["--tta", "x"], ["--tta", "x,y"]):
                fresh(walk, "out")
                walk.check(
                    f"{labels[1]}, {more or 'training unknown'}, {' '.join(tta)}",
                    ["segment", "-m", "sided.safetensors", "-i", "slab.nii.gz", "-o", "out", *tta],
                    code=(0, 2, 3),
                    right=lambda r: None if r.code else wrong_map(walk, edges("x") == 1),
                    says=labels[1] if not more else None,
                )
    data_set(walk, "sided", labels={"0": "background", "1": "Parotid_L"})
    for axes in (["x"], ["x", "y"], ["y", "z"]):
        config = config_file(walk, "flip.json", augment={"flip": {"axes": axes, "probability": 0.5}})
        walk.check(
            f"train with flips along {axes}, one-sided",
            ["train", "-d", "sided", "-c", config, "-o", fresh(walk, "none")],
            code=(2, 3),
            says="Parotid_L",
            right=lambda _: "made" if walk.path("none").exists() else None,
        )


def probabilities_of(walk, case, folder="out"):
    """The saved softmax of a case as x, y, z, class."""
    values = np.asarray(nibabel.load(walk.path(folder, case + "_prob.nii.gz")).dataobj)
    return values.reshape(*values.shape[:3], values.shape[-1])


def a_window_beyond_the_volume_is_the_volume(walk):
    """Windows longer than the volume give the probabilities of the volume in one piece."""
    for size in ((24, 24, 24), (20, 24, 32), (17, 24, 31)):
        image = np.random.default_rng(1).integers(-200, 300, size).astype(np.int16)
        volumes.write_nifti(walk.path("v.nii.gz"), image)
        base = ["segment", "-m", "run", "-i", "v.nii.gz", "--save-probabilities", "-o"]
        fresh(walk, "whole")
        walk.check(f"whole volume of {size}", [*base, "whole", "--patch", "whole"])
        for patch in ("64,64,64", "32,32,32", ",".join(map(str, size)), f"{size[0]},{size[1]},64", "100,40,33"):
            fresh(walk, "out")
            walk.check(
                f"window {patch} on {size}",
                [*base, "out", "--patch", patch],
                right=lambda _: far_apart(probabilities_of(walk, "v"), probabilities_of(walk, "v", "whole")),
            )
            fresh(walk, "out")
            walk.check(
                f"window {patch} on {size}, constant",
                [*base, "out", "--patch", patch, "--blend", "constant"],
                right=lambda _: far_apart(probabilities_of(walk, "v"), probabilities_of(walk, "v", "whole")),
            )


def far_apart(found, expected, bound=1e-5):
    """What is wrong with two arrays that must be nearly equal."""
    if found.shape != expected.shape:
        return f"shape {found.shape} instead of {expected.shape}"
    worst = float(np.abs(found - expected).max())
    return f"probabilities differ by {worst:.2g}" if worst > bound else None


def inference_pads_by_repeating_the_last_slices(walk):
    """An odd volume gives what numpy's edge padding to a multiple of 8, segmented and cut again, gives."""
    for size in ((23, 21, 19), (24, 24, 17), (9, 30, 24), (33, 16, 16)):
        image = np.random.default_rng(2).integers(-200, 300, size).astype(np.int16)
        padded = np.pad(image, [(0, -n % 8) for n in size], mode="edge")
        for name, values in (("odd", image), ("padded", padded)):
            volumes.write_nifti(walk.path(name + ".nii.gz"), values)
        fresh(walk, "out")
        walk.check(
            f"odd volume {size} and its padded copy {padded.shape}",
            [
                "segment",
                "-m",
                "run",
                "-i",
                "odd.nii.gz",
                "padded.nii.gz",
                "--save-probabilities",
                "--patch",
                "whole",
                "-o",
                "out",
            ],
            right=lambda _: far_apart(
                probabilities_of(walk, "odd"), probabilities_of(walk, "padded")[: size[0], : size[1], : size[2]]
            ),
        )


def the_label_map_is_the_argmax_of_what_is_saved(walk):
    """With and without resampling, windows, mirroring, clean-up, several models; every format; sums are 1."""
    for name, seed in (("resampled", 0), ("twin", 1)):
        train(walk, name, data={"spacing_mm": [1.7, 1.3, 2.1]}, seed=seed)
    walk.write(
        "cut.safetensors",
        known_models.threshold_model([-500, 100], ["air", "body", "box"], sharpness=3, data={"spacing_mm": [2, 2, 2]}),
    )
    for case, spacing in (("a", (1, 1, 1)), ("b", (0.8, 1.1, 2.5)), ("c", (2.4, 2.4, 2.4))):
        values = np.random.default_rng(5).integers(-1000, 400, (23, 20, 18)).astype(np.int16)
        volumes.write_nifti(
            walk.path("spaced", case + ".nii.gz"), values, volumes.RAS_TO_LPS @ volumes.affine(spacing, (3, 4, 5))
        )
    forms = [
        [],
        ["--patch", "16,16,16"],
        ["--patch", "whole"],
        ["--tta"],
        ["--keep-largest"],
        ["--min-volume-mm3", "50"],
        ["--patch", "16,16,16", "--overlap", "0.25", "--blend", "constant"],
        ["--precision", "bf16"],
    ]
    for models in (["resampled"], ["cut.safetensors"], ["three.safetensors"], ["twin", "resampled"]):
        for form in forms:
            fresh(walk, "out", "plain")
            base = ["segment", "-m", *models, "-i", "spaced", *form, "-o"]
            walk.check(
                f"{models} {' '.join(form)} --save-probabilities",
                [*base, "out", "--save-probabilities"],
                right=lambda _: [disagreement(walk, case) for case in "abc"],
            )
            walk.check(
                f"{models} {' '.join(form)} alone gives the same maps",
                [*base, "plain"],
                right=lambda _: [
                    (
                        None
                        if np.array_equal(
                            volumes.read_lps(walk.path("plain", f"{case}.nii.gz"))[0],
                            volumes.read_lps(walk.path("out", f"{case}.nii.gz"))[0],
                        )
                        else f"{case} differs"
                    )
                    for case in "abc"
                ],
            )
    for ending in ("nrrd", "mha", "nii"):
        out = fresh(walk, "out")
        walk.check(
            f"--format {ending}",
            ["segment", "-m", "resampled", "-i", "spaced", "-o", out, "--format", ending, "--save-probabilities"],
            right=lambda _: [disagreement_by_simpleitk(out, case, ending) for case in "abc"],
        )


def disagreement(walk, case):
    """What is wrong with the saved probabilities of a case beside its label map, by nibabel and numpy."""
    labels = volumes.read_lps(walk.path("out", case + ".nii.gz"))[0]
    return disagreement_of(case, labels, probabilities_of(walk, case))


def disagreement_of(case, labels, shares):
    """The same from arrays: labels x, y, z and shares x, y, z, class."""
    wrong = int((shares.argmax(axis=-1) != labels).sum())
    return [
        f"{case}: {wrong} voxels are not the argmax" if wrong else None,
        None if shares.dtype == np.float32 else f"{case}: {shares.dtype}",
        None if np.allclose(shares.sum(axis=-1), 1, atol=1e-4) else f"{case}: sums {shares.sum(axis=-1).min()}",
    ]


def disagreement_by_simpleitk(out, case, ending):
    """The same for a format that SimpleITK reads."""
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(out / f"{case}.{ending}")))
    shares = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(out / f"{case}_prob.{ending}")))
    if shares.ndim == 4 and shares.shape[:3] != labels.shape:
        shares = np.moveaxis(shares, 0, -1)
    return next(filter(None, disagreement_of(case, labels, shares)), None)


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
    "A4": [mirroring_uses_the_axes_of_training, one_sided_labels_are_not_mirrored],
    "A15": [a_window_beyond_the_volume_is_the_volume, inference_pads_by_repeating_the_last_slices],
    "A19": [the_label_map_is_the_argmax_of_what_is_saved],
    "A20": [
        values_unlike_those_of_training_are_warned_of,
        the_distribution_is_kept_with_the_model,
        training_and_check_warn_of_a_wrong_window_and_of_odd_cases,
    ],
}
