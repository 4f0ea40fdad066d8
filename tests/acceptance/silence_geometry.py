"""Lines A6 and A8: each header is read by its definition, and contradictions are told."""

import json

import nibabel
import numpy as np
import SimpleITK

import volumes
from material import data_set, fresh

FLIPS = {"LPS": (1, 1, 1), "RAS": (-1, -1, 1), "LAS": (1, -1, 1)}  # an NRRD space's axes in LPS

LONG = {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior", "LAS": "left-anterior-superior"}

TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def row_of(result):
    """The only row of case_facts of `check --json`."""
    rows = result.json["case_facts"]
    assert len(rows) == 1, f"{len(rows)} rows of case_facts"
    return rows[0]


def geometry_is(result, matrix):
    """What is wrong with size-independent geometry in case_facts, against a voxel -> LPS matrix."""
    row = row_of(result)
    found = np.asarray(row["direction"], float).reshape(3, 3) @ np.diag(row["spacing_mm"])
    return [
        None if np.allclose(found, matrix[:3, :3], atol=1e-4) else f"axes {found.tolist()}",
        None if np.allclose(row["origin_mm"], matrix[:3, 3], atol=1e-3) else f"origin {row['origin_mm']}",
    ]


def segmented_right(walk, path, matrix, claim, values=None, says=None, options=()):
    """`segment` marks what lies above 100, where the matrix (voxel -> LPS) says."""
    out = fresh(walk, "out")
    expected = volumes.points((volumes.step_volume() if values is None else values) > 100, matrix)
    walk.check(
        f"segment: {claim}",
        ["segment", "-m", "bright.safetensors", "-i", path, "-o", out, "--format", "nii.gz", *options],
        says=says,
        keeps=path,
        right=lambda _: volumes.same_points(next(out.glob("*.nii.gz")), expected),
    )


def nrrd_fields(space, directions, origin):
    """Header lines of an NRRD file: space, directions (columns of a matrix), origin."""
    text = lambda vector: "(" + ",".join(repr(float(v)) for v in vector) + ")"
    return [
        f"space: {space}",
        "space directions: " + " ".join(text(directions[:, i]) for i in range(3)),
        f"space origin: {text(origin)}",
    ]


def anatomical_spaces_of_nrrd_are_read_by_definition(walk):
    """All anatomical spaces, long, short and in other letters, straight and turned; raw, gzip and big-endian."""
    image = volumes.step_volume()
    for short, flips in FLIPS.items():
        for name in (short, LONG[short], LONG[short].title(), short.lower()):
            for turn in (np.eye(3), TURN, np.diag([-1, 1, 1])):
                matrix = volumes.affine((1.5, 0.75, 2), (10, -20, 30), turn)
                path = walk.write(
                    "space.nrrd", volumes.nrrd_bytes(image, nrrd_fields(name, matrix[:3, :3], matrix[:3, 3]))
                )
                lps = np.diag([*flips, 1.0]) @ matrix
                walk.check(
                    f"check: NRRD {name}",
                    ["check", path, "--json"],
                    not_says="warning",
                    right=lambda r: geometry_is(r, lps),
                )
                segmented_right(walk, path, lps, f"NRRD {name}")
    for encoding, order in (("gzip", "<"), ("raw", ">"), ("gzip", ">")):
        matrix = volumes.affine((1, 1, 1), (1, 2, 3))
        path = walk.write(
            "space.nrrd", volumes.nrrd_bytes(image, nrrd_fields("RAS", matrix[:3, :3], matrix[:3, 3]), encoding, order)
        )
        segmented_right(walk, path, np.diag([-1.0, -1, 1, 1]) @ matrix, f"NRRD {encoding} {order}")


def other_spaces_of_nrrd_are_warned_of(walk):
    """Spaces that name no left, none, no spacing, no origin: taken as L, P, S, and said."""
    image = volumes.step_volume()
    straight = volumes.affine((1, 2, 3), (4, 5, 6))
    fields = nrrd_fields("LPS", straight[:3, :3], straight[:3, 3])
    for space in ("scanner-xyz", "scanner-XYZ", "3D-right-handed", "3D-left-handed"):
        path = walk.write("space.nrrd", volumes.nrrd_bytes(image, [f"space: {space}", *fields[1:]]))
        walk.check(
            f"check: NRRD {space}",
            ["check", path, "--json"],
            says="left",
            right=lambda r: [
                *geometry_is(r, straight),
                None if "warning" in r.err else "no warning",
            ],
        )
        segmented_right(walk, path, straight, f"NRRD {space}", says="warning")
    lacking = {
        "no space": (["spacings: 1 2 3"], volumes.affine((1, 2, 3))),
        "space dimension": (["space dimension: 3", *fields[1:]], straight),
        "no origin": (fields[:2], volumes.affine((1, 2, 3))),
        "nothing": ([], np.eye(4)),
    }
    path = walk.write("space.nrrd", volumes.nrrd_bytes(image, [*fields, "space dimension: 3"]))
    walk.check(
        "check: NRRD, space and its dimension",
        ["check", path, "--json"],
        right=lambda r: geometry_is(r, straight),
    )
    for name, (lines, matrix) in lacking.items():
        path = walk.write("space.nrrd", volumes.nrrd_bytes(image, lines))
        walk.check(
            f"check: NRRD, {name}",
            ["check", path, "--json"],
            right=lambda r: [*geometry_is(r, matrix), None if "warning" in r.err else "no warning"],
        )
        segmented_right(walk, path, matrix, f"NRRD, {name}", says="warning")


def faulty_headers_of_nrrd_are_refused(walk):
    """Spacings that are no lengths, unknown spaces, contradictions, other units."""
    image, good = volumes.step_volume(), nrrd_fields("LPS", np.eye(3), (0, 0, 0))
    faulty = {
        "spacing nan": ["spacings: 1 nan 1"],
        "spacing 0": ["spacings: 1 0 1"],
        "spacing -1": ["spacings: -1 1 1"],
        "spacing inf": ["spacings: 1 inf 1"],
        "two spacings": ["spacings: 1 1"],
        "text as spacing": ["spacings: a b c"],
        "unknown space": ["space: left-anterior-inferior", *good[1:]],
        "space LPI": ["space: LPI", *good[1:]],
        "space empty": ["space: ", *good[1:]],
        "LPS of 4 dimensions": [*good, "space dimension: 4"],
        "spacings and directions": [*good, "spacings: 2 2 2"],
        "direction nan": [good[0], "space directions: (nan,0,0) (0,1,0) (0,0,1)", good[2]],
        "direction 0": [good[0], "space directions: (0,0,0) (0,1,0) (0,0,1)", good[2]],
        "equal directions": [good[0], "space directions: (1,0,0) (1,0,0) (0,0,1)", good[2]],
        "two directions": [good[0], "space directions: (1,0,0) (0,1,0)", good[2]],
        "origin nan": [*good[:2], "space origin: (nan,0,0)"],
        "origin of two": [*good[:2], "space origin: (0,0)"],
        "units m": [*good, 'space units: "m" "m" "m"'],
        "units cm": [*good, 'space units: "cm" "cm" "cm"'],
        "units mixed": [*good, 'space units: "mm" "mm" "cm"'],
        "the space twice": [good[0], "space: RAS", *good[1:]],
        "dimension twice": [*good, "dimension: 3"],
    }
    for name, fields in faulty.items():
        path = walk.write("bad.nrrd", volumes.nrrd_bytes(image, fields))
        out = fresh(walk, "out")
        walk.check(f"check: NRRD, {name}", ["check", path], code=3, says="bad.nrrd")
        walk.check(
            f"segment: NRRD, {name}",
            ["segment", "-m", "bright.safetensors", "-i", path, "-o", out],
            code=3,
            says="bad.nrrd",
            right=lambda _: "wrote" if any(out.glob("*.nii.gz")) else None,
        )
    path = walk.write("good.nrrd", volumes.nrrd_bytes(image, [*good, 'space units: "mm" "mm" "mm"']))
    walk.check("check: NRRD, units mm", ["check", path])


def prepare_keeps_the_geometry_of_nrrd(walk):
    """What `prepare --from pddca` writes as NIfTI lies where the NRRD says, read by nibabel."""
    image, mask = volumes.step_volume((32, 30, 28)), (volumes.step_volume((32, 30, 28)) > 0).astype(np.uint8)
    for short, flips in FLIPS.items():
        matrix = volumes.affine((1, 1.5, 2), (5, -6, 7))
        fields = nrrd_fields(LONG[short], matrix[:3, :3], matrix[:3, 3])
        fresh(walk, "pddca", "prepared")
        for case in ("0522c0001", "0522c0002"):
            walk.write(f"pddca/{case}/img.nrrd", volumes.nrrd_bytes(image, fields))
            walk.write(f"pddca/{case}/structures/Mandible.nrrd", volumes.nrrd_bytes(mask, fields))
        lps = np.diag([*flips, 1.0]) @ matrix
        walk.check(
            f"prepare --from pddca, {short}",
            ["prepare", "--from", "pddca", "pddca", "--test", "0", "-o", "prepared"],
            right=lambda _: [
                volumes.same_points(path, volumes.points(mask, lps))
                for path in sorted(walk.path("prepared").glob("labelsTr/*.nii.gz"))
            ]
            or "no label map",
        )
        walk.check(f"check of it, {short}", ["check", "prepared"])


def metaimage_agrees_with_simpleitk(walk):
    """MetaImage that SimpleITK wrote, turned and compressed."""
    values = volumes.step_volume()
    for compressed in (False, True):
        for turn in (np.eye(3), TURN):
            image = SimpleITK.GetImageFromArray(values.transpose(2, 1, 0))
            image.SetSpacing((1.5, 0.75, 2))
            image.SetOrigin((1, 2, 3))
            image.SetDirection(turn.ravel().tolist())
            path = walk.path("itk.mha")
            SimpleITK.WriteImage(image, str(path), compressed)
            matrix = volumes.affine((1.5, 0.75, 2), (1, 2, 3), turn)
            walk.check(
                "check: MetaImage of SimpleITK", ["check", path, "--json"], right=lambda r: geometry_is(r, matrix)
            )
            segmented_right(walk, path, matrix, "MetaImage of SimpleITK")


def contradicting_voxel_sizes_of_nifti_are_refused_or_warned_of(walk):
    """pixdim against the affine: silent to 0.1 %, a warning to 1 %, an error beyond."""
    image = volumes.step_volume()
    matrix = volumes.RAS_TO_LPS @ volumes.affine((1, 1, 2), (3, 4, 5))
    lps = volumes.RAS_TO_LPS @ matrix
    for factor in (1.0005, 1.005, 0.995, 1.02, 0.98, 1.5, 2, 0.5, 10, 0.001):
        for axis in (0, 1, 2):
            pixdim = np.array([1.0, 1, 2])
            pixdim[axis] *= factor
            path = volumes.write_nifti(walk.path("sizes.nii.gz"), image, matrix, pixdim=pixdim)
            off = abs(factor - 1)
            claim = f"pixdim {factor} times the affine's along {axis}"
            if off > 0.01:
                fresh(walk, "out")
                walk.check(f"check: {claim}", ["check", path], code=3, says=["sizes.nii.gz", "pixdim"])
                walk.check(
                    f"segment: {claim}",
                    ["segment", "-m", "bright.safetensors", "-i", path, "-o", "out"],
                    code=3,
                    says=["sizes.nii.gz", "--orientation"],
                )
                walk.check(
                    f"--orientation sform: {claim}",
                    ["check", path, "--json", "--orientation", "sform"],
                    right=lambda r: geometry_is(r, lps),
                )
            else:
                walk.check(
                    f"check: {claim}",
                    ["check", path, "--json"],
                    right=lambda r: [
                        *geometry_is(r, lps),
                        None if ("warning: its sform" in r.err) == (off > 0.001) else f"says: {r.err}",
                    ],
                )
    path = volumes.write_nifti(walk.path("sizes.nii.gz"), image, matrix, pixdim=(2, 2, 2))
    segmented_right(
        walk, path, lps, "pixdim 2 mm with --orientation sform", options=["--orientation", "sform"], says="warning"
    )
    fresh(walk, "out")
    walk.run(["segment", "-m", "bright.safetensors", "-i", path, "-o", "out", "--orientation", "sform"])
    walk.claim(
        "segment.json says which held",
        walk.run(["--version"]),
        lambda _: (
            None if json.loads(walk.path("out/segment.json").read_text())["nifti_form"] == "sform" else "it does not"
        ),
    )


def two_places_in_one_nifti_are_refused(walk):
    """sform and qform of one code that differ; of two codes the sform counts; --orientation decides."""
    image = volumes.step_volume()
    sform = volumes.affine((1, 1, 2), (0, 0, 0))
    turned = volumes.affine((1, 1, 2), (0, 0, 0), TURN)
    moved = volumes.affine((1, 1, 2), (5, 0, 0))
    for name, qform in (("turned", turned), ("moved", moved)):
        for code in (1, 2, 4):
            path = volumes.write_nifti(
                walk.path("forms.nii.gz"), image, sform, sform=code, qform=code, qform_matrix=qform
            )
            walk.check(f"check: qform {name}, codes {code}", ["check", path], code=3, says=["sform", "qform"])
            walk.check(
                f"segment: qform {name}, codes {code}",
                ["segment", "-m", "bright.safetensors", "-i", path, "-o", fresh(walk, "out")],
                code=3,
                says="--orientation",
            )
            for form, matrix in (("sform", sform), ("qform", qform)):
                walk.check(
                    f"--orientation {form}, qform {name}",
                    ["check", path, "--json", "--orientation", form],
                    right=lambda r: geometry_is(r, volumes.RAS_TO_LPS @ matrix),
                )
        path = volumes.write_nifti(walk.path("forms.nii.gz"), image, sform, sform=2, qform=1, qform_matrix=qform)
        walk.check(
            f"check: qform {name}, codes 2 and 1",
            ["check", path, "--json"],
            right=lambda r: geometry_is(r, volumes.RAS_TO_LPS @ nibabel.load(path).affine),
        )
        path = volumes.write_nifti(walk.path("forms.nii.gz"), image, sform, sform=0, qform=1, qform_matrix=qform)
        walk.check(
            f"check: qform {name} alone",
            ["check", path, "--json"],
            right=lambda r: geometry_is(r, volumes.RAS_TO_LPS @ nibabel.load(path).affine),
        )
    path = volumes.write_nifti(walk.path("forms.nii.gz"), image, sform, sform=0, qform=0)
    walk.check(
        "check: neither form",
        ["check", path, "--json"],
        right=lambda r: [
            None if "warning: no orientation" in r.err else "no warning",
            *geometry_is(r, volumes.RAS_TO_LPS @ sform),
        ],
    )


def training_and_evaluation_refuse_them_too(walk):
    """A data set and a pair of maps with such a file."""
    data_set(walk, "sizes")
    label = volumes.read_lps(walk.path("sizes/labelsTr/a1.nii.gz"))[0].astype(np.uint8)
    volumes.write_nifti(walk.path("sizes/labelsTr/a1.nii.gz"), label, pixdim=(2, 2, 2))
    walk.check("check of a data set", ["check", "sizes"], code=3, says="a1.nii.gz")
    walk.check(
        "train",
        ["train", "-d", "sizes", "-c", walk.path("run/config.json"), "-o", fresh(walk, "none")],
        code=3,
        says="a1.nii.gz",
        right=lambda _: "made" if walk.path("none").exists() else None,
    )
    walk.check(
        "evaluate",
        ["evaluate", "-p", "data/labelsTr/a1.nii.gz", "-r", "sizes/labelsTr/a1.nii.gz", "-o", fresh(walk, "none")],
        code=3,
        says="a1.nii.gz",
    )
    walk.check(
        "evaluate --orientation sform",
        [
            "evaluate",
            "-p",
            "data/labelsTr/a1.nii.gz",
            "-r",
            "sizes/labelsTr/a1.nii.gz",
            "-o",
            fresh(walk, "none"),
            "--orientation",
            "sform",
            "--json",
        ],
        right=lambda r: None if r.json["mean"]["1"]["Dice"] == 1 else "Dice is not 1",
    )


LINES = {
    "A6": [
        anatomical_spaces_of_nrrd_are_read_by_definition,
        other_spaces_of_nrrd_are_warned_of,
        faulty_headers_of_nrrd_are_refused,
        prepare_keeps_the_geometry_of_nrrd,
        metaimage_agrees_with_simpleitk,
    ],
    "A8": [
        contradicting_voxel_sizes_of_nifti_are_refused_or_warned_of,
        two_places_in_one_nifti_are_refused,
        training_and_evaluation_refuse_them_too,
    ],
}
