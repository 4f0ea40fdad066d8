"""Lines A4, A15 and A19: mirroring, windows beyond the volume, and what is saved agrees."""

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


LINES = {
    "A4": [mirroring_uses_the_axes_of_training, one_sided_labels_are_not_mirrored],
    "A15": [a_window_beyond_the_volume_is_the_volume, inference_pads_by_repeating_the_last_slices],
    "A19": [the_label_map_is_the_argmax_of_what_is_saved],
}
