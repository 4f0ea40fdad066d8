"""Walks with real scans, second half: what is made. Runs, label maps, metrics, warnings of values, pictures."""

import csv
import hashlib
import json

import nibabel as nib
import numpy as np
import SimpleITK as sitk

import real_scan_data as scans
from real_scan_sets import BRAIN_EPOCHS, downloaded, equal, has_grid, near, same_labels, segmented, trained


# R5: train and info.

def a_run_folder_is_complete(walk):
    """The files that the page of commands lists, a row an epoch, every case either trained on or held out."""
    run = trained(walk, "brain")
    result = walk.check("info of a run", ["info", "--json", run], says="Cerebrum_L")
    expected = {"run.json", "config.json", "data_fingerprint.json", "split.json", "intensities.json", "metrics.csv",
                "best.safetensors", "last.safetensors", "plan.json", "train.log", "state"}
    walk.claim("its files", result, equal(sorted(expected - {p.name for p in run.iterdir()}), []))
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    walk.claim("a row an epoch", result, equal([row["epoch"] for row in rows], [str(i + 1) for i in range(BRAIN_EPOCHS)]))
    walk.claim("the loss falls", result, [] if float(rows[-1]["loss"]) < float(rows[2]["loss"]) / 2 else "does not")
    split = json.loads((run / "split.json").read_text())
    walk.claim("training and held-out cases", result, equal(
        (sorted(split["training"] + split["validation"]), len(split["validation"])),
        (["head_a", "head_b", "head_c", "head_d"], 1)))
    walk.claim("digests of the data", result, wrong_digests(walk.path("brain"), run))


def wrong_digests(folder, run):
    """Files of the fingerprint whose SHA-256 is not that of their bytes."""
    fingerprint = json.loads((run / "data_fingerprint.json").read_text())
    files = [f for part in ("training", "validation") for row in fingerprint[part] for f in row["files"]]
    wrong = [f["path"] for f in files
             if hashlib.sha256((folder / f["path"]).read_bytes()).hexdigest() != f["sha256"]]
    return wrong if len(files) == 8 else [f"{len(files)} files instead of 8"]


def info_is_what_the_model_holds(walk):
    """Parameters, labels, network and preprocessing of `info` are those that the file's own header has."""
    run = trained(walk, "brain")
    tensors, config = scans.model_header(run / "best.safetensors")
    result = walk.check("info of a model", ["info", "--json", run / "best.safetensors"])
    trainable = sum(int(np.prod(shape)) for name, shape in tensors.items()
                    if "running_" not in name and "num_batches" not in name)
    walk.claim("parameters", result, lambda r: equal(r.json["parameters"], trainable))
    walk.claim("labels", result, lambda r: equal(r.json["labels"], scans.BRAIN_LABELS))
    walk.claim("network", result, lambda r: equal((r.json["net"], r.json["net"]["classes"]), (config["net"], 4)))
    walk.claim("preprocessing", result, equal((config["data"]["spacing_mm"], config["data"]["window"]),
                                              ([6, 6, 6], [0, 160])))
    walk.check("info of a net that is not there", ["info", "--json", "--width", "8", "--depth", "2", "--classes", "4"],
               right=lambda r: equal(r.json["parameters"], trainable))


def the_validation_is_dice(walk):
    """The last Dice in metrics.csv is that of the label map which the last network makes of the held-out case."""
    run = trained(walk, "brain")
    with open(run / "metrics.csv", newline="") as file:
        told = list(csv.DictReader(file))[-1]
    case = json.loads((run / "split.json").read_text())["validation"][0] + ".nii.gz"
    output = walk.path("held_out", case)
    result = segmented(walk, run / "last.safetensors", walk.path("brain/imagesTr", case), output)
    for label, name in list(scans.BRAIN_LABELS.items())[1:]:
        dice = scans.overlap(output, walk.path("brain/labelsTr", case), int(label))["Dice"]
        walk.claim(f"Dice of {name}", result, near(float(told["dice_" + name]), dice, 0.03))


def a_run_is_not_trained_over(walk):
    """A second training into the run is refused and changes nothing; a resume finds nothing left; faulty data too."""
    run, new = trained(walk, "brain"), walk.path("faulty_run")
    train = ["train", "-d", walk.path("brain"), "-c", walk.path("brain.json"), "-o"]
    walk.check("a second run", [*train, run], code=2, says="--resume", keeps=run)
    walk.check("nothing left to do", ["train", "--json", "-o", run, "--resume"],
               right=lambda r: equal(r.json["epochs"], BRAIN_EPOCHS), keeps=run / "best.safetensors")
    faulty = walk.copy(walk.path("brain"), "faulty")
    scans.reordered(faulty / "labelsTr/head_a.nii.gz", "LAS", faulty / "labelsTr/head_a.nii.gz")
    walk.check("faulty data", ["train", "-d", faulty, "-c", walk.path("brain.json"), "-o", new], code=3,
               says="head_a", keeps=new)


def all_structures_of_the_atlas_can_be_trained(walk):
    """A network of 117 classes, one epoch."""
    run = walk.path("atlas_run")
    walk.check("117 classes", ["train", "-d", walk.path("atlas"), "-c", walk.path("brain.json"), "-o", run, "--set",
                               "data.spacing_mm=[8,8,8]", "--set", 'curriculum=[{"patch":[16,16,16],"epochs":1}]',
                               "--set", "validation.fraction=0"])
    walk.check("info of 117 classes", ["info", "--json", run], right=lambda r: equal(
        (r.json["net"]["classes"], r.json["labels"]["116"]), (117, "Vermis_10")))


# R6: segment.

def a_label_map_lies_on_its_image(walk):
    """Of the head MR as it was handed out: grid and orientation fields bit for bit, volumes, whole numbers."""
    head, output = downloaded(walk, "ch2.nii.gz"), walk.path("ch2_out/ch2.nii.gz")
    result = segmented(walk, trained(walk, "brain"), head, "ch2_out", "--preview")
    header, made = nib.load(head).header, nib.load(output).header
    fields = ["dim", "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
              "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"]
    walk.claim("orientation fields", result, [f for f in fields if header[f].tobytes() != made[f].tobytes()])
    walk.claim("grid by SimpleITK", result, scans.grids_differ(scans.itk_grid(output), scans.itk_grid(head)))
    walk.claim("volumes", result, lambda r: wrong_volumes(r.json["cases"][0], output))
    walk.claim("segment.json is what was printed", result, lambda r: equal(
        json.loads((output.parent / "segment.json").read_text()), {**r.json, "written_by": "lamp segment"}))
    for label, name in list(scans.BRAIN_LABELS.items())[1:]:
        dice = scans.overlap(output, walk.path("whole_label.nii.gz"), int(label))["Dice"]
        walk.claim(f"{name} is found", result, [] if dice > 0.6 else f"Dice {dice:.3f}")


def wrong_volumes(case, path):
    """Labels whose volume in segment.json is not their voxels times a voxel's volume."""
    voxel = float(np.prod(scans.itk_grid(path).spacing))
    counts = scans.label_counts(path)
    expected = {name: counts.get(label, 0) * voxel for label, name in scans.BRAIN_LABELS.items() if label != "0"}
    return [f"{n}: {case['volume_mm3'][n]} mm3 instead of {v}" for n, v in expected.items()
            if abs(case["volume_mm3"][n] - v) > 1e-4 * max(v, 1)]


def probabilities_agree_with_the_labels(walk):
    """They sum to 1, and their argmax is the label map, also where pieces were taken away."""
    for name, options in (("prob", []), ("prob_clean", ["--keep-largest", "--min-volume-mm3", "5000"])):
        result = segmented(walk, trained(walk, "brain"), walk.path("brain/imagesTs"), name, "--save-probabilities",
                           *options)
        labels = np.asanyarray(nib.load(walk.path(name, "head_t.nii.gz")).dataobj)
        scores = np.asanyarray(nib.load(walk.path(name, "head_t_prob.nii.gz")).dataobj)
        walk.claim(f"{name}: shape", result, equal(scores.shape, labels.shape + (4,)))
        walk.claim(f"{name}: sum", result, near(float(np.abs(scores.sum(-1) - 1).max()), 0, 1e-5))
        walk.claim(f"{name}: argmax", result, equal(int((scores.argmax(-1) != labels).sum()), 0))
    pieces = [components(walk.path("prob_clean/head_t.nii.gz"), label) for label in (1, 2, 3)]
    walk.claim("one piece of each label", result, [] if max(map(len, pieces)) <= 1 else str(pieces))


def components(path, label):
    """Voxels of each piece of a label, joined over faces, edges and corners."""
    pieces = sitk.ConnectedComponent(sitk.ReadImage(str(path)) == label, True)
    return np.unique(scans.array_of(pieces), return_counts=True)[1][1:].tolist()


def outputs_are_replaced_only_if_they_are_lamps(walk):
    """A second call replaces its own label map; one that was corrected by hand stays and is named."""
    model, image = trained(walk, "brain"), walk.path("brain/imagesTs/head_t.nii.gz")
    output = walk.path("again/head_t.nii.gz")
    segmented(walk, model, image, "again")
    segmented(walk, model, image, "again", "--patch", "24,24,24", right=lambda r: equal(r.json["cases"][0]["patch"],
                                                                                       [24, 24, 24]))
    corrected = nib.load(output)
    nib.save(nib.Nifti1Image(np.asanyarray(corrected.dataobj) * 0, corrected.affine, corrected.header), output)
    segmented(walk, model, image, "again", code=2, says="head_t.nii.gz", keeps=output)
    walk.check("the image as output", ["segment", "-m", model, "-i", image, "-o", image], code=2, keeps=image)
    walk.check("a format that is not written", ["segment", "-m", model, "-i", image, "-o", walk.path("x.dcm")], code=2)


# R7: orders of axes.

def every_order_of_axes_gives_one_segmentation(walk):
    """The head stored along other axes: same grid as nibabel says, and, stored back, the same label map."""
    source, model = walk.path("brain/imagesTs/head_t.nii.gz"), trained(walk, "brain")
    segmented(walk, model, source, "axes/as_it_was.nii.gz")
    here = axes_of(source)
    for axes in ("RAS", "LPS", "LAS", "PIR", "ASL", "SLP", "IRA"):
        image, output, back = (walk.path("axes", axes, n) for n in ("head.nii.gz", "label.nii.gz", "back.nii.gz"))
        scans.reordered(source, axes, image)
        result = walk.check(f"grid in {axes}", ["check", "--json", image], right=has_grid(scans.nifti_grid(image)))
        result = segmented(walk, model, image, output)
        walk.claim(f"the label map is in {axes}", result, equal(axes_of(output), axes))
        scans.reordered(output, here, back)
        walk.claim(f"{axes} stored back", result, same_labels(back, walk.path("axes/as_it_was.nii.gz")))


def axes_of(path):
    """The order of a NIfTI file's axes by nibabel, such as "RAS"."""
    return "".join(nib.aff2axcodes(nib.load(path).affine))


def a_contradictory_image_is_decided_for_segmentation(walk):
    """An image whose qform was set to another place is refused, and with --orientation its header returns."""
    image = nib.load(walk.path("brain/imagesTs/head_t.nii.gz"))
    image.set_qform(np.diag([-3, 4, 5, 1.0]), code=int(image.header["sform_code"]))
    nib.save(image, walk.path("two_places/head.nii.gz"))
    command = ["segment", "-m", trained(walk, "brain"), "-i", walk.path("two_places"), "-o",
               walk.path("two_places_out")]
    walk.check("two places", command, code=3, says=["sform", "qform", "--orientation"])
    for form in ("sform", "qform"):
        result = walk.check(f"by {form}", [*command, "--json", "--orientation", form], says=form,
                            right=lambda r, form=form: equal(r.json["nifti_form"], form))
        made = nib.load(walk.path("two_places_out/head.nii.gz")).header
        walk.claim(f"both forms return by {form}", result, [] if np.array_equal(made.get_qform(), image.get_qform()) and
                   np.array_equal(made.get_sform(), image.get_sform()) else "a form differs")


# R8: evaluate.

def metrics_are_those_of_their_definitions(walk):
    """Counts, Dice, IoU, volumes of five cases by numpy; their means; distances by SimpleITK."""
    model, predictions, references = trained(walk, "brain"), walk.path("predictions"), walk.path("references")
    segmented(walk, model, walk.path("brain/imagesTr"), predictions)
    segmented(walk, model, walk.path("brain/imagesTs"), "predictions_t")
    walk.copy(walk.path("brain/labelsTr"), "references")
    walk.copy(walk.path("predictions_t/head_t.nii.gz"), "predictions/head_t.nii.gz")
    walk.copy(walk.path("brain/labelsTs/head_t.nii.gz"), "references/head_t.nii.gz")
    result = walk.check("evaluate", ["evaluate", "--json", "-p", predictions, "-r", references, "-d",
                                     walk.path("brain"), "-o", walk.path("scores/brain.json")])
    for row in result.json["metric_per_case"]:
        prediction, reference = row["prediction_file"], row["reference_file"]
        name = prediction.split("/")[-1]
        walk.claim(f"overlap of {name}", result, wrong_overlaps(row["metrics"], prediction, reference))
        walk.claim(f"distances of {name}", result, wrong_distances(row["metrics"], prediction, reference))
    walk.claim("means", result, lambda r: wrong_means(r.json))
    walk.claim("NAME_metrics.csv", result, wrong_table(walk.path("scores/brain_metrics.csv"), result.json))
    parts = {label: name for label, name in scans.BRAIN_LABELS.items() if label != "0"}
    walk.claim("names of the labels", result, lambda r: equal(r.json["labels"], parts))


def wrong_overlaps(metrics, prediction, reference):
    """Counts and shares of a case that are not those of their definitions."""
    voxel, problems = float(np.prod(scans.itk_grid(reference).spacing)), []
    for label in (1, 2, 3):
        found, expected = metrics[str(label)], scans.overlap(prediction, reference, label)
        expected["IoU"] = expected["TP"] / (expected["TP"] + expected["FP"] + expected["FN"])
        expected["n_pred"], expected["n_ref"] = (expected["TP"] + expected[n] for n in ("FP", "FN"))
        expected["volume_pred_mm3"], expected["volume_ref_mm3"] = (voxel * expected[n] for n in ("n_pred", "n_ref"))
        problems += [f"{label} {name}: {found[name]} instead of {value}" for name, value in expected.items()
                     if abs(found[name] - value) > 1e-5 * max(1, abs(value))]
    return problems


def wrong_distances(metrics, prediction, reference):
    """Distances further than half a voxel from those between the voxels of the two contours."""
    half, problems = max(scans.itk_grid(reference).spacing) / 2, []
    for label in (1, 2, 3):
        ways = scans.surface_distances(prediction, reference, label)
        expected = {"HD95": max(np.percentile(way, 95) for way in ways), "ASSD": np.concatenate(ways).mean()}
        problems += [f"{label} {n}: {metrics[str(label)][n]} and {v}" for n, v in expected.items()
                     if abs(metrics[str(label)][n] - v) > half]
    return problems


def wrong_means(summary):
    """Means and medians of the labels that numpy does not find, and the mean of the labels' means."""
    problems = []
    for label in ("1", "2", "3"):
        values = [row["metrics"][label]["Dice"] for row in summary["metric_per_case"]]
        problems += near(summary["mean"][label]["Dice"], np.mean(values))
        problems += near(summary["median"][label]["Dice"], np.median(values))
        problems += equal(summary["mean"][label]["n_cases"], 5)
    return problems + near(summary["foreground_mean"]["Dice"],
                           np.mean([summary["mean"][label]["Dice"] for label in ("1", "2", "3")]))


def wrong_table(path, summary):
    """Rows of metrics.csv whose Dice is not the summary's."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    dice = {(row["prediction_file"].split("/")[-1].removesuffix(".nii.gz"), label): metrics["Dice"]
            for row in summary["metric_per_case"] for label, metrics in row["metrics"].items()}
    return equal(len(rows), 15) + [p for r in rows for p in near(float(r["Dice"]), dice[r["case"], r["label"]], 1e-5)]


def maps_that_cannot_be_compared_are_named(walk):
    """A missing prediction counts as failed; one on other axes is refused; a map against itself is perfect."""
    references = walk.path("brain/labelsTr")
    command = ["evaluate", "--json", "-d", walk.path("brain"), "-r", references, "-o", walk.path("scores/odd"), "-p"]
    perfect = lambda m: (m["Dice"], m["HD95"], m["ASSD"], m["NSD_2mm"])
    walk.check("against itself", [*command, references], right=lambda r: [
        problem for row in r.json["metric_per_case"] for metrics in row["metrics"].values()
        for problem in equal(perfect(metrics), (1, 0, 0, 1))])
    fewer = walk.copy(references, "fewer")
    (fewer / "head_b.nii.gz").unlink()
    walk.check("a missing prediction", [*command, fewer], code=4, says="head_b",
               right=lambda r: equal([row["case"] for row in r.json["failed"]], ["head_b"]))
    scans.reordered(fewer / "head_c.nii.gz", "LAS", fewer / "head_c.nii.gz")
    walk.check("a flipped prediction", [*command, fewer], code=4, says=["head_c", "run the other way"])
    for name in ("head_a", "head_c", "head_d"):
        walk.copy(references / "head_b.nii.gz", f"nothing/{name}_x.nii.gz")
    walk.check("no pair at all", [*command, walk.path("nothing")], code=3)


# R9: values unlike those of training.

def foreign_values_are_told(walk):
    """The same brain times 0.5, times 2 and inverted, a CT for an MR network and the reverse; no false alarm."""
    source, brain, chest = walk.path("brain/imagesTs/head_t.nii.gz"), trained(walk, "brain"), trained(walk, "chest")
    warned = lambda expected: lambda r: equal(bool(next(iter(r.json["intensities"].values()))["warnings"]), expected)
    ct = walk.path("chest/imagesTs/chest_t.nrrd")
    rows = [("as trained", source, brain, False), ("CT as trained", ct, chest, False),
            ("the MR for a CT network", source, chest, True), ("the CT for an MR network", ct, brain, True)]
    for name, factor, offset in (("half", 0.5, 0), ("double", 2, 0), ("inverted", -1, 254), ("tenth", 0.1, 0)):
        rows.append((name, scans.scaled(source, factor, walk.path(f"values/{name}.nii.gz"), offset), brain, True))
    rows.append(("CT plus 1024", scans.scaled(ct, 1, walk.path("values/raw.nrrd"), 1024), chest, True))
    for name, image, model, expected in rows:
        walk.check(f"values: {name}", ["check", "--json", "-m", model, image], right=warned(expected))
    segmented(walk, brain, walk.path("values/half.nii.gz"), "half_out", says="warning: ", right=lambda r: [] if
              r.json["cases"][0]["intensities"]["warnings"] else "no warning in segment.json")


def a_case_unlike_the_others_is_told(walk):
    """Of four training cases, the one whose values were doubled."""
    folder = walk.copy(walk.path("brain"), "doubled")
    scans.scaled(folder / "imagesTr/head_c.nii.gz", 2, folder / "imagesTr/head_c.nii.gz")
    unlike = lambda r: [note for note in r.json["notes"] if "head_c" in note and "unlike" in note]
    walk.check("one case doubled", ["check", "--json", folder], right=lambda r: [] if unlike(r) else "not told")
    walk.check("no case doubled", ["check", "--json", walk.path("brain")],
               right=lambda r: [note for note in r.json["notes"] if "unlike" in note])


# R12: pictures.

def pictures_are_whole(walk):
    """`check`, `segment` and `evaluate` draw every case, as whole PNGs of the promised size."""
    walk.check("pictures of check", ["check", walk.path("brain"), "--preview", walk.path("seen/check")])
    walk.check("pictures of a CT", ["check", walk.path("chest"), "--preview", walk.path("seen/chest")])
    walk.check("pictures of the atlas", ["check", walk.path("atlas"), "--preview", walk.path("seen/atlas")])
    segmented(walk, trained(walk, "brain"), walk.path("brain/imagesTs"), "seen/segment", "--preview")
    result = walk.check("pictures of evaluate", ["evaluate", "-p", walk.path("seen/segment"), "-r",
                                                 walk.path("brain/labelsTs"), "-o", walk.path("seen/evaluate"),
                                                 "--preview"])
    pictures = sorted(walk.path("seen").rglob("*.png"))
    walk.claim("their number", result, equal(len(pictures), 5 + 4 + 1 + 1 + 1))
    for picture in pictures:
        walk.claim(f"{picture.parent.name}/{picture.name}", result, scans.png_faults(picture))


def left_is_drawn_on_the_right(walk):
    """Only the left cerebrum is outlined: in the axial picture its colour lies right of the middle, in every order of
    the file's axes."""
    for axes in ("RAS", "LPS", "SLP"):
        folder = walk.path("left", axes)
        for kind in ("images", "labels"):
            path = walk.path("left", axes, kind + "Tr", "head_a.nii.gz")
            label = nib.load(walk.path("brain", kind + "Tr", "head_a.nii.gz"))
            keep = np.asanyarray(label.dataobj)
            nib.save(nib.Nifti1Image(np.where(keep == 1, 1, 0).astype(np.uint8) if kind == "labels" else keep,
                                     label.affine), path)
            scans.reordered(path, axes, path)
        walk.write(f"left/{axes}/dataset.json", {"labels": {"0": "background", "1": "Cerebrum_L"}, "training": [
            {"image": "imagesTr/head_a.nii.gz", "label": "labelsTr/head_a.nii.gz"}]})
        result = walk.check(f"left in {axes}", ["check", folder, "--preview", folder / "seen"])
        walk.claim(f"its side in {axes}", result, lambda r: wrong_side(folder / "seen/head_a.png"))


def wrong_side(picture):
    """Whether coloured pixels of the axial plane, the leftmost third, lie left of its middle."""
    columns, width = scans.coloured_columns(picture), scans.array_of(picture).shape[1]
    axial = columns[columns < width / 3]
    return [] if axial.size and axial.mean() > width / 6 else f"mean column {axial.mean():.0f} of {width}"


GROUPS = {
    "R5": [a_run_folder_is_complete, info_is_what_the_model_holds, the_validation_is_dice, a_run_is_not_trained_over,
           all_structures_of_the_atlas_can_be_trained],
    "R6": [a_label_map_lies_on_its_image, probabilities_agree_with_the_labels,
           outputs_are_replaced_only_if_they_are_lamps],
    "R7": [every_order_of_axes_gives_one_segmentation, a_contradictory_image_is_decided_for_segmentation],
    "R8": [metrics_are_those_of_their_definitions, maps_that_cannot_be_compared_are_named],
    "R9": [foreign_values_are_told, a_case_unlike_the_others_is_told],
    "R12": [pictures_are_whole, left_is_drawn_on_the_right],
}
