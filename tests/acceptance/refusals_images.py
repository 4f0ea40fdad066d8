"""C, images: what is read as other readers read it, and what is said of what is not."""

import gzip
import shutil
import struct

import nibabel
import numpy as np
import pydicom
import SimpleITK
from crash_data import three_cases
from volumes import RAS_TO_LPS, affine, dicom_slice, meta_bytes, nifti_bytes, save_slice, step_volume, write_nifti, \
    write_series


def value_range(wanted):
    """A check's question: are these the least and the greatest value?"""
    return lambda result: None if np.allclose(result.json["case_facts"][0]["value_range"], wanted) else \
        f"values {result.json['case_facts'][0]['value_range']} instead of {wanted}"


def scaling_of_nifti(walk):
    """A slope that is 0 or no number scales nothing; all others as nibabel scales them."""
    values = step_volume(high=800)
    for slope, intercept in [(np.nan, 0), (np.nan, np.nan), (0, 0), (0, 7), (0, np.nan), (1, 0), (2, -3), (-1, 0),
                             (0.5, 100), (1e-3, 0)]:
        for name in ("scaled.nii", "scaled.nii.gz"):
            file = write_nifti(walk.path(name), values, slope=slope, intercept=intercept)
            other = nibabel.load(file).get_fdata()
            walk.check(f"slope {slope}, intercept {intercept}", ["check", file, "--json"],
                       right=value_range([other.min(), other.max()]))


def gzip_members_and_padding(walk):
    """Members of any length and zeros behind the last are read; other bytes and cuts are not."""
    content = nifti_bytes(step_volume(), RAS_TO_LPS)
    whole = gzip.compress(content)
    for cut in (1, 10, 347, 348, 351, 352, 353, 4000):
        file = walk.write("members.nii.gz", gzip.compress(content[:cut]) + gzip.compress(content[cut:]))
        walk.check(f"a first member of {cut} bytes", ["check", file, "--json"], right=value_range([0, 800]))
    many = b"".join(gzip.compress(content[at:at + 200]) for at in range(0, len(content), 200))
    walk.check("members of 200 bytes", ["check", walk.write("members.nii.gz", many), "--json"],
               right=value_range([0, 800]))
    walk.check("an empty member first", ["check", walk.write("members.nii.gz", gzip.compress(b"") + whole), "--json"],
               right=value_range([0, 800]))
    for zeros in (1, 511, 512, 100_000):
        walk.check(f"{zeros} zeros behind", ["check", walk.write("padded.nii.gz", whole + bytes(zeros)), "--json"],
                   right=value_range([0, 800]))
    for kind, damaged in {"letters behind": whole + b"abc", "a cut": whole[:-1], "no checksum": whole[:-8],
                          "another checksum": whole[:-8] + b"\1\2\3\4" + whole[-4:],
                          "another length": whole[:-4] + b"\0\0\0\1", "half": whole[:len(whole) // 2]}.items():
        walk.check(kind, ["check", walk.write("damaged.nii.gz", damaged)], code=3, says="damaged.nii.gz")


def forms_of_nifti(walk):
    """sform and qform that differ under one code: refused with the option, which then decides."""
    first, second = affine((1, 1, 1), (5, 6, 7)), affine((1, 1, 1), (0, 0, 0))
    for code in (1, 2, 3, 4):
        file = write_nifti(walk.path("atlas.nii.gz"), step_volume(), first, sform=code, qform=code,
                           qform_matrix=second)
        walk.check(f"code {code}", ["check", file], code=3, says=["atlas.nii.gz", "--orientation"])
        walk.check("segment refuses too", ["segment", "-m", "run", "-i", file, "-o", "atlas_out"], code=3,
                   says="--orientation")
        for form, matrix in (("sform", first), ("qform", second)):
            origin = (RAS_TO_LPS @ matrix)[:3, 3]
            walk.check(f"--orientation {form}", ["check", file, "--json", "--orientation", form], right=lambda r:
                       None if np.allclose(r.json["case_facts"][0]["origin_mm"], origin) else "another origin")
    walk.check("segment.json keeps it", ["segment", "-m", "run", "-i", file, "-o", "atlas_out", "--orientation",
                                         "qform", "--json"], right=lambda r: None if r.json["nifti_form"] == "qform" else "no")


def meta_image_spacing(walk):
    """ElementSpacing counts, else ElementSize with a warning, else 1 mm with a warning; as SimpleITK where it can."""
    plain = meta_bytes(step_volume(), spacing=(2, 3, 4))
    size = plain.replace(b"ElementSpacing", b"ElementSize")
    for name, content, spacing, says in [("spacing", plain, [2, 3, 4], []), ("size", size, [2, 3, 4], "ElementSize"),
                                         ("neither", plain.replace(b"ElementSpacing = 2 3 4\n", b""), [1, 1, 1], "1"),
                                         ("both", plain.replace(b"ElementSpacing = 2 3 4", b"ElementSize = 9 9 9\n"
                                          b"ElementSpacing = 2 3 4"), [2, 3, 4], [])]:
        file = walk.write(f"meta_{name}.mha", content)
        walk.check(name, ["check", file, "--json"], says=says, right=lambda r: None if np.allclose(
            r.json["case_facts"][0]["spacing_mm"], spacing) else r.json["case_facts"][0]["spacing_mm"])
    walk.claim("SimpleITK reads the same spacing", walk.run(["check", "meta_spacing.mha"]), lambda _: None
               if SimpleITK.ReadImage(str(walk.path("meta_spacing.mha"))).GetSpacing() == (2, 3, 4) else "not so")


def maps_on_another_grid(walk):
    """Each way to be off the image's grid is said with two different texts."""
    flip = np.diag([-1.0, 1, 1, 1])
    changes = {"flipped": flip @ RAS_TO_LPS, "moved": RAS_TO_LPS + np.eye(4)[:, [3, 0, 1, 2]] * 0 + np.array(
        [[0, 0, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), "coarser": RAS_TO_LPS @ np.diag([2, 2, 2, 1]),
        "turned": RAS_TO_LPS[:, [1, 0, 2, 3]]}
    for kind, matrix in changes.items():
        folder = three_cases(walk, "grids")
        write_nifti(folder / "labelsTr/b.nii.gz", (step_volume() > 0).astype("uint8"), matrix)

        def different(result):
            fault = result.json["faults"][0]
            return None if fault["found"] != fault["expected"] and fault["expected"] else f"twice {fault['found']}"
        walk.check(f"a {kind} map", ["check", folder, "--json"], code=3, says="labelsTr/b.nii.gz", right=different)
        walk.check(f"a {kind} map in train", ["train", "-d", folder, "-c", "c.json", "-o", "grid_run"], code=3,
                   says="b.nii.gz", keeps=[folder, walk.path("grid_run")])
    folder = three_cases(walk, "grids")
    write_nifti(folder / "labelsTr/b.nii.gz", (step_volume((20, 18, 17)) > 0).astype("uint8"))
    walk.check("a map of another size", ["check", folder], code=3, says=["labelsTr/b.nii.gz", "16", "17"])


def phases_and_rounded_positions(walk):
    """Two phases at one place are called so; rounded positions are no gap; a missing slice is one."""
    values = step_volume((12, 10, 8))
    folder = write_series(walk.path("phases"), values)
    for k in range(8):
        save_slice(dicom_slice(np.asfortranarray(values[:, :, k]), k + 8, AcquisitionNumber=2,
                               ImagePositionPatient=[0, 0, 2 * k]), folder / f"second{k}.dcm")
    walk.check("two phases", ["check", folder], code=3, says="phase", not_says="missing slice")
    rounded = walk.path("rounded")
    for k in range(8):
        save_slice(dicom_slice(np.asfortranarray(values[:, :, k]), k, spacing=(1, 1, 2.5), ImagePositionPatient=[
            0, 0, round(2.5 * k, 1)]), rounded / f"{k}.dcm")
    walk.check("rounded positions", ["check", rounded], says="no faults")
    for missing in (1, 4, 6):
        gap = walk.path(f"gap{missing}")
        write_series(gap, values)
        (gap / f"slice{missing:02d}.dcm").unlink()
        walk.check(f"without slice {missing}", ["check", gap], code=3, says=f"gap{missing}")


def an_export_of_radiotherapy(walk):
    """RTDOSE, RTSTRUCT, RTPLAN and a localizer beside a CT are left out by name; the CT is read."""
    values = step_volume((12, 10, 8))
    for kind, uid, modality in [("dose", "1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"),
                                ("structures", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"),
                                ("plan", "1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN"),
                                ("report", "1.2.840.10008.5.1.4.1.1.88.11", "SR")]:
        folder = write_series(walk.path("export_" + kind), values)
        other = dicom_slice(np.asfortranarray(values[:, :, 0]), 0, series="1.2.9", SOPClassUID=uid, Modality=modality)
        save_slice(other, folder / f"{kind}.dcm")
        walk.check(f"{modality} beside a CT", ["check", folder, "--json"], right=lambda r: [
            value_range([0, 800])(r),
            None if any(f"{kind}.dcm" in i["file"] for i in r.json["ignored"]) else "unnamed"])
    folder = write_series(walk.path("export_scout"), values)
    scout = dicom_slice(np.asfortranarray(values[:, :, 0]), 0, series="1.2.8", ImageType=["ORIGINAL", "PRIMARY",
                        "LOCALIZER"], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    save_slice(scout, folder / "scout.dcm")
    walk.check("a localizer beside a CT", ["check", folder], says="scout.dcm")
    two = write_series(walk.path("two_series"), values)
    write_series(two, values, name="other{:02d}.dcm", series="1.2.7", SeriesDescription="late phase", SeriesNumber=5)
    walk.check("two series", ["check", two], code=3, says=["late phase", "8", "--series", "1.2.7"])
    for series in ("1.2.7", "1.2.3.4", "5"):
        walk.check(f"--series {series}", ["check", two, "--series", series, "--json"], right=value_range([0, 800]))
    walk.check("a series that is not there", ["check", two, "--series", "9.9"], code=(2, 3), says="9.9")
    walk.claim("pydicom reads what was written", walk.run(["--version"]), lambda _: None if pydicom.dcmread(
        two / "other00.dcm").SeriesDescription == "late phase" else "not so")


def failed_cases_leave_no_older_map(walk):
    """A scan that was segmented and is damaged later: its old map is gone, and segment.json says so."""
    for name, content in [("cut", b"cut"), ("empty", b""), ("text", b"<html>no scan</html>")]:
        folder = walk.path(f"later_{name}")
        shutil.rmtree(folder, ignore_errors=True)
        write_nifti(folder / "a.nii.gz", step_volume())
        write_nifti(folder / "b.nii.gz", step_volume())
        maps = walk.path(f"later_maps_{name}")
        walk.check("both are there", ["segment", "-m", "run", "-i", folder, "-o", maps])
        walk.write(f"later_{name}/a.nii.gz", content)
        walk.check(f"then one is {name}", ["segment", "-m", "run", "-i", folder, "-o", maps, "--json"], code=4,
                   says="a.nii.gz", right=lambda r: [
                       None if not (maps / "a.nii.gz").exists() else "the old map is there",
                       None if (maps / "b.nii.gz").exists() else "the other map is gone",
                       None if r.json["failed"][0]["removed_older"] else "not said"])


def big_endian_and_types(walk):
    """Byte orders and types of NIfTI give the values that nibabel reads."""
    for dtype in ("uint8", "int16", "uint16", "int32", "float32", "float64"):
        for order in "<>":
            content = nifti_bytes(step_volume(high=200, dtype=dtype), RAS_TO_LPS, order=order)
            file = walk.write("types.nii", content)
            other = nibabel.load(file).get_fdata()
            walk.check(f"{dtype} {order}", ["check", file, "--json"], right=value_range([other.min(), other.max()]))
    nan = step_volume(dtype="float32")
    nan[3, 4, 5] = np.nan
    walk.check("a NaN", ["check", write_nifti(walk.path("nan.nii.gz"), nan)], code=3, says=["nan.nii.gz", "NaN"])
    head = bytearray(nifti_bytes(step_volume(), RAS_TO_LPS))
    struct.pack_into("<f", head, 80, np.nan)
    walk.check("a voxel size of nan", ["check", walk.write("nan.nii", bytes(head))], code=(0, 3), says="nan.nii")


LINES = {"C-images": [scaling_of_nifti, gzip_members_and_padding, forms_of_nifti, meta_image_spacing,
                      maps_on_another_grid, phases_and_rounded_positions, an_export_of_radiotherapy,
                      failed_cases_leave_no_older_map, big_endian_and_types]}
