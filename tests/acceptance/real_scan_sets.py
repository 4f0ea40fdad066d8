"""What the walks with real scans share: the data sets, a trained network for each, and answers to questions.

An answer is a list of texts that say what is wrong; it is empty where nothing is. Questions about a command's result
are functions of a Result of walk.py.
"""

import numpy as np
import SimpleITK as sitk

import real_scan_data as scans

BRAIN_EPOCHS = 202  # about half a minute, enough to find all three parts

BRAIN_CONFIG = {"net": {"name": "unet", "width": 8, "depth": 2}, "data": {"spacing_mm": [6, 6, 6], "window": [0, 160]},
                "optimizer": {"name": "adamw", "lr": 4e-3, "schedule": "cosine"},
                "curriculum": [{"patch": [24, 24, 24], "batch": 2, "epochs": 2}, {"epochs": BRAIN_EPOCHS - 2}],
                "loader": {"cache": "off"}, "validation": {"every_epochs": 50}}
CHEST_CONFIG = {"net": {"name": "unet", "width": 8, "depth": 2},
                "data": {"spacing_mm": [8, 8, 10], "window": [-1000, 400]}, "curriculum": [{"epochs": 2}],
                "optimizer": {"name": "adamw", "lr": 4e-3}, "loader": {"cache": "off"}}


def downloaded(walk, name):
    """A file of the folder with the downloads."""
    return scans.file_of(walk.inputs["scans"], name)


def make_data(walk):
    """The data sets `brain` (NIfTI) and `chest` (NRRD), coarse copies of the two scans on turned grids, and `atlas`."""
    make_brain(walk)
    make_chest(walk)
    make_atlas(walk)
    walk.write("brain.json", BRAIN_CONFIG)
    walk.write("chest.json", CHEST_CONFIG)


def make_brain(walk):
    """Four heads to train on and one to test, with three parts of the brain; `whole_label.nii.gz` at full size."""
    head, label = sitk.ReadImage(str(downloaded(walk, "ch2.nii.gz"))), scans.brain_label(downloaded(walk, "aal.nii.gz"))
    sitk.WriteImage(label, str(walk.path("whole_label.nii.gz")))
    case = lambda name, spacing, degrees, axis: (name + ".nii.gz", scans.resampled(head, spacing, False, degrees, axis),
                                                 scans.resampled(label, spacing, True, degrees, axis))
    scans.write_dataset(walk.path("brain"), scans.BRAIN_LABELS,
                        [case("head_a", (4, 4, 4), 0, 2), case("head_b", (4, 4, 4), 8, 2),
                         case("head_c", (3, 3, 6), -6, 0), case("head_d", (5, 4, 4), 5, 1)],
                        [case("head_t", (3, 4, 5), 4, 2)])


def make_chest(walk):
    """The CT as it is and turned, with the seven organs that its segmentation names."""
    ct = sitk.Cast(sitk.ReadImage(str(downloaded(walk, "CTChest4.nrrd"))), sitk.sitkInt16)
    organs = sitk.ReadImage(str(downloaded(walk, "Segmentation.seg.nrrd")))
    names = {organs.GetMetaData(f"Segment{i}_LabelValue"): organs.GetMetaData(f"Segment{i}_Name") for i in range(7)}
    case = lambda name, spacing, degrees: (name + ".nrrd", scans.resampled(ct, spacing, False, degrees),
                                           scans.resampled(organs, spacing, True, degrees))
    scans.write_dataset(walk.path("chest"), {"0": "background", **names},
                        [("chest_a.nrrd", ct, organs), case("chest_b", (5, 5, 10), 5), case("chest_c", (4, 4, 8), -5)],
                        [case("chest_t", (6, 6, 9), 3)])


def make_atlas(walk):
    """The head at full resolution with all 116 structures of AAL."""
    aal = downloaded(walk, "aal.nii.gz")
    lines = [line.split() for line in aal.with_name("aal.nii.txt").read_text(errors="replace").splitlines()]
    names = {words[0]: words[1] for words in lines if len(words) > 1 and 0 < int(words[0]) <= 116}
    scans.write_dataset(walk.path("atlas"), {"0": "background", **names},
                        [("ch2.nii.gz", sitk.ReadImage(str(downloaded(walk, "ch2.nii.gz"))), sitk.ReadImage(str(aal)))])


def trained(walk, name):
    """The run folder of the data set of this name, trained at its first use."""
    run = walk.path(name + "_run")
    if not run.exists():
        walk.check(f"a network learns from {name}", ["train", "-d", walk.path(name), "-c", walk.path(name + ".json"),
                                                     "-o", run], timeout=300)
    return run


def segmented(walk, model, image, folder, *options, **more):
    """One check that `image` is segmented into a folder; returns the Result."""
    return walk.check(f"segment {folder}", ["segment", "--json", "-m", model, "-i", image, "-o", walk.path(folder),
                                            *options], **more)


def facts(result):
    """`case_facts` by the cases' names."""
    return {row["name"]: row for row in result.json["case_facts"]}


def has_grid(grid):
    """What is wrong with the grid of the only image that `check --json` read."""
    return lambda result: scans.grids_differ(scans.facts_grid(result.json["case_facts"][0]), grid)


def has_values(path):
    """What is wrong with the least and the greatest value that `check --json` tells of one image."""
    values = scans.array_of(path)
    expected = [float(values.min()), float(values.max())]
    return lambda result: [] if np.allclose(result.json["case_facts"][0]["value_range"], expected, rtol=1e-6) else \
        f"value_range {result.json['case_facts'][0]['value_range']} instead of {expected}"


def equal(found, expected):
    """Nothing if two values are equal, else a text of both."""
    return [] if found == expected else [f"{found} instead of {expected}"]


def near(found, expected, tolerance=1e-6):
    """Nothing if two numbers are within a tolerance, else a text of both."""
    return [] if abs(found - expected) <= tolerance else [f"{found} instead of {expected}"]


def same_labels(found, expected, share=1.0):
    """Nothing if this share of the voxels of two label maps of one grid is equal."""
    alike = float((scans.array_of(found) == scans.array_of(expected)).mean())
    return [] if alike >= share else [f"{alike:.6f} of the voxels of {found} are those of {expected}"]
