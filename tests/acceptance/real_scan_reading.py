"""Walks with real scans, first half: what is read. Grids, data sets with faults, formats, DICOM, lists, prepare."""

import gzip
import json

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom.uid import (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian,
                         ImplicitVRLittleEndian, RLELossless)

import real_scan_data as scans
from real_scan_sets import downloaded, equal, facts, has_grid, has_values, same_labels, segmented, trained

READ_SYNTAXES = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "jpeg": "JPEG",
                 "jpeg2000": "JPEG2000"}
REFUSED_SYNTAXES = {"rle": RLELossless, "deflated": DeflatedExplicitVRLittleEndian, "big": ExplicitVRBigEndian}


# R1: the grids of the MR and of the atlases, some of which say two things.

def templates(walk):
    """All NIfTI files beside ch2."""
    return sorted(downloaded(walk, "ch2.nii.gz").parent.glob("*.nii.gz"))


def templates_have_nibabels_grid(walk):
    """Size, spacing, origin and axes of every sound file are nibabel's, and so are its values."""
    for path in (p for p in templates(walk) if not scans.contradicts_itself(p)):
        right = has_grid(scans.nifti_grid(path))
        result = walk.check(f"the grid of {path.name}", ["check", "--json", path], right=right)
        walk.claim(f"the values of {path.name}", result, has_values(path))


def contradictory_atlases_are_refused_or_decided(walk):
    """An atlas whose sform and qform differ is refused; --orientation takes the one that was asked for."""
    for path in filter(scans.contradicts_itself, templates(walk)):
        walk.check(f"{path.name} says two places", ["check", path], code=3, says=["sform", "qform", "--orientation"])
        for form in ("sform", "qform"):
            walk.check(f"{path.name} by {form}", ["check", "--json", path, "--orientation", form],
                       says=form, right=has_grid(scans.nifti_grid(path, form)))


# R2: data sets, sound and faulty.

def label_counts_are_numpys(walk):
    """`label_voxels` of every case is what numpy counts, and the grid is SimpleITK's."""
    for name, ending in (("brain", ".nii.gz"), ("chest", ".nrrd")):
        folder = walk.path(name)
        result = walk.check(f"{name} has no fault", ["check", "--json", folder], says='"ok": true')
        for case, row in facts(result).items():
            part = "Ts" if case.endswith("_t") else "Tr"
            image, label = (folder / (kind + part) / (case + ending) for kind in ("images", "labels"))
            walk.claim(f"grid of {case}", result, scans.grids_differ(scans.facts_grid(row), scans.itk_grid(image)))
            if part == "Tr":
                walk.claim(f"labels of {case}", result, equal(row["label_voxels"], scans.label_counts(label)))


def the_whole_atlas_is_a_label_map(walk):
    """ch2 with all 116 structures of AAL at full resolution is a sound data set; each is counted as numpy does."""
    aal = downloaded(walk, "aal.nii.gz")
    result = walk.check("116 structures", ["check", "--json", walk.path("atlas")], says='"ok": true')
    walk.claim("each structure's voxels", result, lambda r: equal(facts(r)["ch2"]["label_voxels"],
                                                                  scans.label_counts(aal)))
    walk.claim("left structures lie on the left", result, left_lies_at_positive_x(aal))


def left_lies_at_positive_x(aal):
    """Whether the atlas's odd (left) structures lie at higher LPS x than the even ones, as its authors say."""
    array, grid = scans.array_of(aal), scans.itk_grid(aal)
    x = grid.origin[0] + grid.direction[0] * grid.spacing[0] * np.arange(array.shape[2])
    centre = lambda mask: (mask.sum((0, 1)) * x).sum() / mask.sum()
    cerebrum = (array > 0) & (array < 91)
    return [] if centre(cerebrum & (array % 2 == 1)) > centre(cerebrum & (array % 2 == 0)) else "left is on the right"


def faults_are_named(walk):
    """Label maps on other grids, turned, with unlisted values or in layers: each is called what it is."""
    fault = lambda name, says, spoil: (spoil(walk.copy(walk.path("brain"), name)),
                                       walk.check(name, ["check", walk.path(name)], code=3, says=says))
    label = "labelsTr/head_a.nii.gz"
    fault("other_grid", ["head_a", "another size"],
          lambda d: walk.copy(downloaded(walk, "brodmann.nii.gz"), f"other_grid/{label}"))
    fault("flipped", ["the same place, but axes that run the other way", "its axis x runs", "do not copy"],
          lambda d: scans.reordered(d / label, "LAS", d / label))
    fault("turned_axes", ["the same place, but another order of axes", "do not copy"],
          lambda d: scans.reordered(d / label, "SAR", d / label))
    fault("unlisted", ["head_a", "4"],
          lambda d: sitk.WriteImage(sitk.ReadImage(str(d / label)) * 2, str(d / label)))
    layers = sitk.ReadImage(str(downloaded(walk, "SegmentationOverlapping.seg.nrrd")))
    fault("layers", ["head_a", "layers"], lambda d: sitk.WriteImage(layers, str(d / label)))
    fault("cut_short", ["head_a"], lambda d: (d / label).write_bytes((d / label).read_bytes()[:2000]))
    fault("in_both_parts", ["head_t", "test"],
          lambda d: walk.copy(d / "imagesTr/head_a.nii.gz", "in_both_parts/imagesTs/head_t.nii.gz"))


def what_is_left_out_is_named(walk):
    """Files beside the volumes are named with a reason: another format, an Analyze pair, a note, a hidden file."""
    folder = walk.path("mixed")
    walk.copy(walk.path("brain/imagesTs/head_t.nii.gz"), "mixed/head_t.nii.gz")
    head = nib.load(folder / "head_t.nii.gz")
    nib.save(nib.MGHImage(np.asanyarray(head.dataobj), head.affine), folder / "other.mgz")
    nib.save(nib.Spm2AnalyzeImage(np.asanyarray(head.dataobj).astype(np.int16), None), folder / "pair.img")
    walk.write("mixed/notes.txt", "a note")
    walk.write("mixed/.hidden.nii.gz", "x")
    result = walk.check("files beside an image", ["check", "--json", folder], says="head_t")
    named = lambda r: {row["file"].split("/")[-1] for row in r.json["ignored"] if row["reason"]}
    for name in ("other.mgz", "pair.img", "pair.hdr", "notes.txt", ".hidden.nii.gz"):
        walk.claim(f"{name} is named", result, lambda r, name=name: [] if name in named(r) else f"not in {named(r)}")
    result = segmented(walk, trained(walk, "brain"), folder, "mixed_out")
    walk.claim("segment names the same files", result, lambda r: equal(
        sorted(named(r)), [".hidden.nii.gz", "notes.txt", "other.mgz", "pair.hdr", "pair.img"]))


def series_in_time_are_no_volume(walk):
    """A 4-D series given for one channel is not taken for a volume."""
    head = nib.load(walk.path("brain/imagesTs/head_t.nii.gz"))
    voxels = np.stack([np.asanyarray(head.dataobj)] * 3, -1)
    nib.save(nib.Nifti1Image(voxels, head.affine), walk.path("time/bold.nii.gz"))
    walk.check("4-D image", ["segment", "-m", trained(walk, "brain"), "-i", walk.path("time"), "-o",
                             walk.path("time_out")], code=3, says=["bold.nii.gz", "channel"])


# R3: one scan in every format.

def formats_hold_the_same_scan(walk):
    """The CT in six forms has SimpleITK's grid and values, and one label map comes back in all of them."""
    ct = sitk.ReadImage(str(walk.path("chest/imagesTr/chest_a.nrrd")))
    model, maps = trained(walk, "chest"), []
    for ending in ("nii.gz", "nii", "nrrd", "nhdr", "mha", "mhd"):
        image = walk.path("forms", ending.replace(".", "_"), f"ct.{ending}")
        sitk.WriteImage(ct, str(image), useCompression=ending == "mha")
        result = walk.check(f"check {ending}", ["check", "--json", image], right=has_grid(scans.itk_grid(ct)))
        walk.claim(f"values of {ending}", result, has_values(image))
        written = ending if ending in ("nii.gz", "nii", "nrrd", "mha") else "nrrd"
        maps.append(walk.path("forms_out", ending.replace(".", "_"), f"ct.{written}"))
        result = segmented(walk, model, image, maps[-1])
        walk.claim(f"grid of the label map of {ending}", result,
                   scans.grids_differ(scans.itk_grid(maps[-1]), scans.itk_grid(ct)))
        walk.claim(f"labels of {ending}", result, same_labels(maps[-1], maps[0], 0.9999))


def slicers_own_files_are_read(walk):
    """CT and segmentation as 3D Slicer wrote them."""
    for name in ("CTChest4.nrrd", "Segmentation.seg.nrrd"):
        path = downloaded(walk, name)
        result = walk.check(f"the grid of {name}", ["check", "--json", path], right=has_grid(scans.itk_grid(path)))
        walk.claim(f"the values of {name}", result, has_values(path))


# R4: DICOM.

def dicom_is_the_same_scan(walk):
    """The CT as a DICOM series under shuffled names, in four transfer syntaxes: grid, values and label map."""
    source = walk.path("chest/imagesTr/chest_a.nrrd")
    ct, model = sitk.ReadImage(str(source)), trained(walk, "chest")
    segmented(walk, model, source, "dicom_out/nrrd.nii.gz")
    for name, syntax in READ_SYNTAXES.items():
        folder = walk.path("dicom", name)
        scans.write_series(folder, ct, syntax)
        result = walk.check(f"check DICOM {name}", ["check", "--json", folder], right=has_grid(scans.itk_grid(ct)))
        walk.claim(f"values of {name}", result, has_values(source))
        output = walk.path(f"dicom_out/{name}.nii.gz")
        result = segmented(walk, model, folder, output)
        walk.claim(f"grid of the label map of {name}", result,
                   scans.grids_differ(scans.itk_grid(output), scans.itk_grid(ct)))
        walk.claim(f"labels of {name}", result, same_labels(output, walk.path("dicom_out/nrrd.nii.gz"), 0.9999))


def dicom_that_cannot_be_trusted_is_refused(walk):
    """Other syntaxes, a missing slice, a slice at another angle, a half loaded file."""
    ct = sitk.ReadImage(str(walk.path("chest/imagesTs/chest_t.nrrd")))
    refused = lambda name, says: walk.check(f"DICOM {name}", ["check", walk.path("bad", name)], code=3, says=says)
    for name, syntax in REFUSED_SYNTAXES.items():
        scans.write_series(walk.path("bad", name), ct, syntax)
        refused(name, [str(syntax), "not supported"])
    scans.write_series(walk.path("bad/gap"), ct, without=[5])
    refused("gap", "missing")
    scans.write_series(walk.path("bad/tilted"), ct, change=tilt)
    refused("tilted", "tilt")
    scans.write_series(walk.path("bad/half"), ct)
    half = sorted(walk.path("bad/half").iterdir())[3]
    half.write_bytes(half.read_bytes()[:700])
    refused("half", half.name)
    scans.write_series(walk.path("bad/packed"), ct)
    packed = sorted(walk.path("bad/packed").iterdir())[3]
    packed.with_suffix(".dcm.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    refused("packed", packed.name)


def tilt(dataset, k):
    """Moves slice k as a tilted gantry does: 2 mm along the rows more for each slice."""
    x, y, z = map(float, dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [f"{x:.8g}", f"{y + 2 * k:.8g}", f"{z:.8g}"]


def of_several_series_one_is_chosen(walk):
    """Two series in one folder: refused with a list; --series takes number or UID. Localizer and texts are named."""
    ct = sitk.ReadImage(str(walk.path("chest/imagesTs/chest_t.nrrd")))
    coarse = scans.resampled(ct, (9, 9, 12))
    folder = walk.path("two")
    scans.write_series(folder, ct, number=11)
    uid = scans.write_series(folder, coarse, number=12)
    walk.write("two/report.txt", "no slice")
    walk.check("two series", ["check", folder], code=3, says=["11", "12", uid, "--series"])
    walk.check("by number", ["check", "--json", folder, "--series", "11"], right=has_grid(scans.itk_grid(ct)))
    walk.check("by UID", ["check", "--json", folder, "--series", uid], says="report.txt",
               right=has_grid(scans.itk_grid(coarse)))
    segmented(walk, trained(walk, "chest"), folder, "two_out/b.nii.gz", "--series", "12", right=lambda r:
              scans.grids_differ(scans.itk_grid(walk.path("two_out/b.nii.gz")), scans.itk_grid(coarse)))
    walk.check("a series that is not there", ["check", folder, "--series", "99"], code=[2, 3], says="99")


# R10: other lists of cases, several channels.

def lists_of_other_programs_are_read(walk):
    """nnU-Net v2 and a MONAI datalist of the same files give the facts that the Decathlon's list gives."""
    expected = facts(walk.check("the Decathlon's list", ["check", "--json", walk.path("brain")]))
    cases = [f"head_{x}" for x in "abcd"]
    names = {name: int(label) for label, name in scans.BRAIN_LABELS.items()}
    for case in cases:
        walk.copy(walk.path(f"brain/imagesTr/{case}.nii.gz"), f"nnunet/imagesTr/{case}_0000.nii.gz")
        walk.copy(walk.path(f"brain/labelsTr/{case}.nii.gz"), f"nnunet/labelsTr/{case}.nii.gz")
    walk.write("nnunet/dataset.json", {"channel_names": {"0": "T1"}, "labels": names, "numTraining": 4,
                                       "file_ending": ".nii.gz"})
    walk.copy(walk.path("brain"), "monai")
    entry = lambda i, case: {"image": f"imagesTr/{case}.nii.gz", "label": f"labelsTr/{case}.nii.gz", "fold": i % 2}
    walk.write("monai/dataset.json", {"labels": scans.BRAIN_LABELS,
                                      "training": [entry(i, case) for i, case in enumerate(cases)]})
    for name in ("nnunet", "monai"):
        result = walk.check(f"a list of {name}", ["check", "--json", walk.path(name)], says='"ok": true')
        walk.claim(f"facts of {name}", result, lambda r: [case for case in cases
                                                          if facts(r)[case] != expected[case]])
    run = walk.path("fold_run")
    walk.check("train fold 1", ["train", "-d", walk.path("monai"), "-c", walk.path("brain.json"), "-o", run, "--fold",
                                "1", "--set", 'curriculum=[{"patch":[24,24,24],"epochs":1}]'],
               right=lambda r: equal(json.loads((run / "split.json").read_text())["validation"], ["head_b", "head_d"]))


def two_channels(walk):
    """The head and its stripped copy as two channels: of a 4-D file, and as _0000 and _0001 to segment."""
    head, bare = (sitk.ReadImage(str(downloaded(walk, n))) for n in ("ch2.nii.gz", "ch2bet.nii.gz"))
    label = scans.brain_label(downloaded(walk, "aal.nii.gz"))
    pair = lambda n, d: [scans.resampled(image, (5, 5, 5), False, d) for image in (head, bare)]
    cases = [(f"head_{n}.nii.gz", sitk.JoinSeries(pair(n, d)), scans.resampled(label, (5, 5, 5), True, d))
             for n, d in enumerate((0, 6, -6))]
    folder = scans.write_dataset(walk.path("pairs"), scans.BRAIN_LABELS, cases, modality={"0": "T1", "1": "stripped"})
    walk.check("4-D images", ["check", "--json", folder], right=lambda r: equal(
        [row["channels"] for row in r.json["case_facts"]], [2, 2, 2]))
    run = walk.path("pairs_run")
    walk.check("train two channels", ["train", "-d", folder, "-c", walk.path("brain.json"), "-o", run, "--set",
                                      'curriculum=[{"epochs":2}]', "--set", "data.window=null"])
    for k, image in enumerate(pair(3, 3)):
        sitk.WriteImage(image, str(walk.path(f"two_files/head_{k:04d}.nii.gz")))
    segmented(walk, run, walk.path("two_files"), "two_files_out", right=lambda r: scans.grids_differ(
        scans.itk_grid(walk.path("two_files_out/head.nii.gz")), scans.itk_grid(pair(3, 3)[0])))
    walk.path("two_files/head_0001.nii.gz").unlink()
    segmented(walk, run, walk.path("two_files"), "one_file_out", code=3, says="head")


# R11: prepare.

def a_decathlon_folder_is_copied(walk):
    """Every labelled case arrives byte for byte; test labels lie in labelsTs."""
    target = walk.path("prepared")
    result = walk.check("prepare a Decathlon", ["prepare", "--json", "--from", "decathlon", walk.path("brain"), "-o",
                                                target, "--test-cases", "head_b"])
    walk.claim("its counts", result, lambda r: equal([r.json[k] for k in ("cases", "training", "test")], [4, 3, 1]))
    for kind in ("images", "labels"):
        for case in ("head_a", "head_b", "head_c", "head_d"):
            part = "Ts" if case == "head_b" else "Tr"
            copy, source = target / (kind + part) / f"{case}.nii.gz", walk.path("brain", kind + "Tr", f"{case}.nii.gz")
            walk.claim(f"bytes of {kind} {case}", result,
                       lambda _: [] if copy.read_bytes() == source.read_bytes() else "differ")
    walk.check("it is a data set", ["check", target])


def masks_become_one_label_map(walk):
    """A scan with a mask file for each organ, as PDDCA is handed out: labels, overlaps and what was not drawn."""
    ct = sitk.ReadImage(str(walk.path("chest/imagesTr/chest_a.nrrd")))
    organs = scans.array_of(downloaded(walk, "Segmentation.seg.nrrd"))
    masks = {"Parotid_L": organs == 6, "Parotid_R": organs == 5, "BrainStem": (organs == 3) | (organs == 2),
             "Mandible": organs == 2}
    for case in ("0522c0001", "0522c0002"):
        for name, mask in masks.items():
            path = walk.path("pddca", case, "structures", name + ".nrrd")
            sitk.WriteImage(scans.with_voxels(mask.astype(np.uint8), ct), str(path))
        sitk.WriteImage(ct, str(walk.path("pddca", case, "img.nrrd")))
    result = walk.check("prepare PDDCA", ["prepare", "--json", "--from", "pddca", walk.path("pddca"), "-o",
                                          walk.path("pddca_out"), "--test-cases", "0522c0002"])
    lost = int((organs == 2).sum())
    walk.claim("overlaps", result, lambda r: equal(
        [(o["kept"], o["lost"], o["voxels"]) for o in r.json["overlaps"]], [("Mandible", "BrainStem", lost)] * 2))
    counts = {"1": int((organs == 3).sum()), "3": lost, "6": int((organs == 6).sum()), "7": int((organs == 5).sum())}
    listed = json.loads(walk.path("pddca_out/dataset.json").read_text())["training"][0]
    label = walk.path("pddca_out", listed["label"])
    counts["0"] = organs.size - sum(counts.values())
    walk.claim("labels", result, equal(scans.label_counts(label), counts))
    walk.claim("grid", result, scans.grids_differ(scans.itk_grid(label), scans.itk_grid(ct)))
    walk.claim("what was drawn", result, equal(listed["annotated"], [1, 3, 6, 7]))


GROUPS = {
    "R1": [templates_have_nibabels_grid, contradictory_atlases_are_refused_or_decided],
    "R2": [label_counts_are_numpys, the_whole_atlas_is_a_label_map, faults_are_named, what_is_left_out_is_named,
           series_in_time_are_no_volume],
    "R3": [formats_hold_the_same_scan, slicers_own_files_are_read],
    "R4": [dicom_is_the_same_scan, dicom_that_cannot_be_trusted_is_refused, of_several_series_one_is_chosen],
    "R10": [lists_of_other_programs_are_read, two_channels],
    "R11": [a_decathlon_folder_is_copied, masks_become_one_label_map],
}
