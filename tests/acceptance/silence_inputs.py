"""Line A5: every file of a DICOM folder is read, or named with the reason."""

import gzip
import json
import os

import numpy as np

import volumes
from material import fresh

CT_SIZE = (16, 14, 16)


def ct_values():
    """Stored values of a series: a box of 800 in 0 that differs in every plane, with the plane's number as its base."""
    values = volumes.step_volume(CT_SIZE, 0, 800)
    values[2:8, 3:8, 1:15] = 800  # the end planes stay without
    values[0, 0, :] = np.arange(CT_SIZE[2])
    return values


def expected_points():
    """Where values of a series lie above 100 (spacing 1, 1, 2 from 0)."""
    return volumes.points(ct_values() > 100, volumes.affine((1, 1, 2)))


def series_is_right(walk, name, out="out"):
    """The label map of a series, voxel for voxel."""
    return volumes.same_points(walk.path(out, name + ".nii.gz"), expected_points())


def check_and_segment(walk, claim, paths, code, says=None, right=None, not_says=None):
    """`check` and `segment` with the threshold model on the same paths."""
    out = fresh(walk, "out")
    walk.check(
        f"check: {claim}", ["check", *paths], code=0 if code == 0 else 3, says=says, not_says=not_says, keeps=paths
    )
    return walk.check(
        f"segment: {claim}",
        ["segment", "-m", "bright.safetensors", "-i", *paths, "-o", out],
        code=code,
        says=says,
        keeps=paths,
        right=right or ((lambda _: "wrote a label map" if any(out.glob("*.nii.gz")) else None) if code == 3 else None),
    )


def damage(path, kind):
    """Makes of a slice what a broken download or copy leaves; returns the name that must be told."""
    content = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(content[:-200])
    elif kind == "head only":
        path.write_bytes(content[:200])
    elif kind == "html":
        path.write_bytes(b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n")
    elif kind == "broken link":
        path.unlink()
        path.symlink_to("nowhere.dcm")
    elif kind == "gz":
        path.unlink()
        path = path.with_name(path.name + ".gz")
        path.write_bytes(gzip.compress(content))
    elif kind == "sub-folder":
        path.rename(fresh_folder(path.parent / "sub") / path.name)
        return "sub: 1 slice of the series in a folder below"
    elif kind == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif kind == "unreadable":
        path.chmod(0)
    elif kind == "zeros":
        path.write_bytes(b"\0" * len(content))
    return path.name


def fresh_folder(path):
    """Makes a folder if it is missing."""
    path.mkdir(exist_ok=True)
    return path


def a_series_that_may_be_cut_short_is_an_error(walk):
    """First, middle and last slice, damaged in every way that a copy or a download damages."""
    kinds = ["empty", "cut", "head only", "html", "broken link", "gz", "sub-folder", "fifo", "zeros"]
    kinds += ["unreadable"] if os.geteuid() else []
    for kind in kinds:
        for index in (0, 7, 15):
            folder = volumes.write_series(fresh(walk, "ct"), ct_values())
            name = damage(folder / f"slice{index:02d}.dcm", kind)
            check_and_segment(walk, f"slice {index} is {kind}", [folder], 3, says=name)
    for kind in ("empty", "html", "cut"):
        folder = volumes.write_series(fresh(walk, "ct"), ct_values())
        names = [damage(folder / f"slice{index:02d}.dcm", kind) for index in (14, 15)]
        check_and_segment(walk, f"two end slices are {kind}", [folder], 3, says=names[0])
    folder = volumes.write_series(fresh(walk, "ct"), ct_values())
    (folder / "slice07.dcm").unlink()
    check_and_segment(walk, "a slice is missing in the middle", [folder], 3, says="slice")


def files_that_are_slices_are_read(walk):
    """With or without preamble, meta information and ending; under any name; implicit and explicit VR."""
    forms = {
        "Part 10": {},
        "no preamble": {"preamble": False},
        "implicit VR": {"implicit": True},
        "no ending": {"name": "IM{:04d}"},
        "uids as names": {"name": "1.2.3.4.{}"},
        "upper": {"name": "S{}.DCM"},
        "partial names": {"name": "slice{}.dcm.part"},
        "downloads": {"name": "s{}.crdownload"},
        "no preamble, implicit": {"preamble": False, "implicit": True},
        "ima": {"name": "s{}.ima"},
    }
    for form, options in forms.items():
        folder = volumes.write_series(fresh(walk, "ct"), ct_values(), **options)
        check_and_segment(walk, form, [folder], 0, right=lambda _: series_is_right(walk, "ct"))
    for index in (0, 8, 15):
        folder = volumes.write_series(fresh(walk, "ct"), ct_values())
        target = folder / f"slice{index:02d}.dcm"
        target.write_bytes(target.read_bytes()[132:])
        check_and_segment(
            walk, f"slice {index} lacks its preamble", [folder], 0, right=lambda _: series_is_right(walk, "ct")
        )
        content = target.read_bytes()
        group = int.from_bytes(content[8:12], "little")
        target.write_bytes(content[12 + group :])
        check_and_segment(
            walk, f"slice {index} lacks its meta information", [folder], 0, right=lambda _: series_is_right(walk, "ct")
        )
    folder = volumes.write_series(fresh(walk, "ct"), ct_values())
    for k in range(8):
        (folder / f"slice{k:02d}.dcm").rename(folder / f"z{20 - k}.dcm")
    check_and_segment(walk, "names in another order", [folder], 0, right=lambda _: series_is_right(walk, "ct"))


def other_files_of_a_series_are_named(walk):
    """Texts, pictures, hidden files and objects that are no slices: left out, and named."""
    beside = {
        "notes.txt": b"a note\n",
        "picture.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        ".DS_Store": b"\0\0\0\1Bud1",
        "report.pdf": b"%PDF-1.4\n",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "LICENSE": b"text\n",
        "table.csv": b"a,b\n1,2\n",
    }
    for name, content in beside.items():
        folder = volumes.write_series(fresh(walk, "ct"), ct_values())
        (folder / name).write_bytes(content)
        check_and_segment(
            walk,
            f"{name} beside a series",
            [folder],
            0,
            says=name,
            right=lambda _: [series_is_right(walk, "ct"), ignored_in(walk, name)],
        )
    objects = {
        "RTDOSE": "1.2.840.10008.5.1.4.1.1.481.2",
        "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
        "RTPLAN": "1.2.840.10008.5.1.4.1.1.481.5",
        "SR": "1.2.840.10008.5.1.4.1.1.88.11",
        "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    }
    for modality, uid in objects.items():
        folder = volumes.write_series(fresh(walk, "ct"), ct_values())
        other = volumes.dicom_slice(
            np.zeros((4, 4), np.int16), 0, series="1.2.3.99", SOPClassUID=uid, Modality=modality
        )
        if modality in ("RTSTRUCT", "RTPLAN", "SR"):
            del other.PixelData, other.Rows, other.Columns
        volumes.save_slice(other, folder / "other.dcm")
        check_and_segment(
            walk,
            f"{modality} beside a series",
            [folder],
            0,
            says="other.dcm",
            right=lambda _: [series_is_right(walk, "ct"), ignored_in(walk, "other.dcm")],
        )


def ignored_in(walk, *names):
    """None if out/segment.json names these files as ignored, each with a reason."""
    listed = json.loads(walk.path("out/segment.json").read_text())["ignored"]
    named = {entry["file"].rstrip("/").split("/")[-1] for entry in listed if entry["reason"]}
    missing = set(names) - named
    return f"segment.json does not name {sorted(missing)}" if missing else None


def a_folder_of_folders_hides_no_series(walk):
    """PARENT with series, with and without preamble, beside volume files."""
    for preamble in (True, False):
        parent = fresh(walk, "parent")
        volumes.write_series(parent / "ct1", ct_values(), preamble=preamble)
        volumes.write_series(parent / "ct2", ct_values(), series="1.2.3.5")
        check_and_segment(
            walk,
            f"two series in a folder, preamble {preamble}",
            [parent],
            0,
            right=lambda _: [series_is_right(walk, "ct1"), series_is_right(walk, "ct2")],
        )
        volumes.write_nifti(parent / "vol.nii.gz", ct_values(), volumes.RAS_TO_LPS @ volumes.affine((1, 1, 2)))
        check_and_segment(
            walk,
            f"and a volume file beside, preamble {preamble}",
            [parent],
            0,
            right=lambda _: [series_is_right(walk, name) for name in ("ct1", "ct2", "vol")],
        )
    parent = fresh(walk, "parent")
    volumes.write_series(parent, ct_values())
    volumes.write_nifti(parent / "vol.nii.gz", ct_values(), volumes.RAS_TO_LPS @ volumes.affine((1, 1, 2)))
    check_and_segment(
        walk,
        "a volume file among slices",
        [parent],
        0,
        right=lambda _: [series_is_right(walk, name) for name in ("parent", "vol")],
    )
    for index in (0, 15):
        parent = fresh(walk, "parent")
        volumes.write_series(parent / "ct1", ct_values())
        volumes.write_series(parent / "ct2", ct_values(), series="1.2.3.5")
        name = damage(parent / "ct2" / f"slice{index:02d}.dcm", "empty")
        out = fresh(walk, "out")
        walk.check(f"check: one of two series lacks slice {index}", ["check", parent], code=3, says=name)
        walk.check(
            f"segment: one of two series lacks slice {index}",
            ["segment", "-m", "bright.safetensors", "-i", parent, "-o", out],
            code=4,
            says=name,
            right=lambda _: [series_is_right(walk, "ct1"), "wrote ct2" if (out / "ct2.nii.gz").exists() else None],
        )


def several_series_are_listed_and_chosen(walk):
    """Two series of one folder: refused with a list, chosen by UID, place or number; an ambiguous number is refused.
    The list is in the order of the files' names."""
    folder = volumes.write_series(fresh(walk, "ct"), ct_values(), SeriesNumber=2, SeriesDescription="thin")
    volumes.write_series(
        folder, ct_values()[:, :, :8], name="other{:02d}.dcm", series="1.2.9", SeriesNumber=7, SeriesDescription="thick"
    )
    check_and_segment(walk, "two series", [folder], 3, says=["thin", "thick", "1.2.3.4", "1.2.9", "--series"])
    base = ["segment", "-m", "bright.safetensors", "-i", folder, "-o"]
    short = volumes.points(ct_values()[:, :, :8] > 100, volumes.affine((1, 1, 2)))
    for choice, expected in (("1.2.3.4", expected_points()), ("1.2.9", short), ("7", short)):
        out = fresh(walk, "out")
        walk.check(
            f"--series {choice}",
            [*base, out, "--series", choice],
            right=lambda _: volumes.same_points(out / "ct.nii.gz", expected),
        )
        walk.check(f"check --series {choice}", ["check", folder, "--series", choice])
    for choice in ("9", "0", "-1", "1.2.8", "thin", ""):
        walk.check(f"--series {choice!r}", [*base, fresh(walk, "out"), f"--series={choice}"], code=(2, 3))
    out = fresh(walk, "out")
    walk.check(
        "--series 1: a place whose series has number 7",
        [*base, out, "--series", "1"],
        says="SeriesNumber 7",
        right=lambda _: volumes.same_points(out / "ct.nii.gz", short),
    )
    for claim, numbers, choices in (
        ("place of one, number of another", (1, 2), ("1", "2")),
        ("number of two", (3, 3), ("3",)),
    ):
        folder = volumes.write_series(fresh(walk, "ct"), ct_values(), SeriesNumber=numbers[0])
        volumes.write_series(
            folder, ct_values()[:, :, :8], name="other{:02d}.dcm", series="1.2.9", SeriesNumber=numbers[1]
        )
        for choice in choices:
            walk.check(
                f"--series {choice}: {claim}",
                [*base, fresh(walk, "out"), "--series", choice],
                code=(2, 3),
                says=["1.2.9", "1.2.3.4"],
            )


LINES = {
    "A5": [
        a_series_that_may_be_cut_short_is_an_error,
        files_that_are_slices_are_read,
        other_files_of_a_series_are_named,
        a_folder_of_folders_hides_no_series,
        several_series_are_listed_and_chosen,
    ],
}
