"""Line A12: no two outputs collide, and their names decide their formats."""

import os

import numpy as np

import volumes
from material import fresh


def names_of_outputs_never_collide(walk):
    """Cases whose files would have one name are refused before anything is written."""
    image = volumes.step_volume()
    for folder, names in {"two": ("a", "a_prob"), "three": ("b", "b_prob", "c")}.items():
        fresh(walk, folder)
        for name in names:
            volumes.write_nifti(walk.path(folder, name + ".nii.gz"), image)
        base = ["segment", "-m", "bright.safetensors", "-i", folder, "-o"]
        out = fresh(walk, "out")
        walk.check(
            "NAME and NAME_prob with --save-probabilities",
            [*base, out, "--save-probabilities"],
            code=2,
            says="_prob",
            right=lambda _: "wrote" if out.exists() and any(out.rglob("*.nii.gz")) else None,
        )
        walk.check(
            "NAME and NAME_prob without",
            [*base, out],
            right=lambda _: [None if (out / f"{name}.nii.gz").exists() else f"no {name}.nii.gz" for name in names],
        )
    for first, second in (("x.nii.gz", "x.nii"), ("x.nii.gz", "x.nrrd"), ("x.mha", "x.nrrd")):
        fresh(walk, "same")
        for name in (first, second):
            content = {
                "nii": volumes.nifti_bytes(image, volumes.RAS_TO_LPS),
                "nrrd": volumes.nrrd_bytes(
                    image, ["space: LPS", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)"]
                ),
                "mha": volumes.meta_bytes(image),
            }
            if name.endswith(".gz"):
                volumes.write_nifti(walk.path("same", name), image)
            else:
                walk.write(f"same/{name}", content[name.split(".")[-1]])
        out = fresh(walk, "out")
        walk.check(
            f"{first} beside {second}",
            ["segment", "-m", "bright.safetensors", "-i", "same", "-o", out],
            code=2,
            right=lambda _: "wrote" if out.exists() and any(out.rglob("x*")) else None,
        )
    out = fresh(walk, "out")
    walk.check(
        "one file given by two paths",
        ["segment", "-m", "bright.safetensors", "-i", "two/a.nii.gz", "./two/../two/a.nii.gz", "-o", out],
        code=(0, 2),
    )
    volumes.write_nifti(walk.path("elsewhere", "a.nii.gz"), image)
    walk.check(
        "two files of one name",
        ["segment", "-m", "bright.safetensors", "-i", "two/a.nii.gz", "elsewhere/a.nii.gz", "-o", fresh(walk, "out")],
        code=2,
        right=lambda _: "wrote" if walk.path("out", "a.nii.gz").exists() else None,
    )


def the_name_of_an_output_decides_its_format(walk):
    """Endings in any case; other formats, several inputs and contradictions are refused."""
    one = ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs/t0.nii.gz", "-o"]
    for name in ("one.nii.gz", "one.nii", "one.nrrd", "one.mha", "one.NII.GZ", "one.Nii", "one.NRRD", "one.MHA"):
        target = fresh(walk, name)
        walk.check(f"-o {name}", [*one, name], right=lambda _: None if target.is_file() else "is no file")
    for name in (
        "one.nhdr",
        "one.mhd",
        "one.hdr",
        "one.img",
        "one.mgz",
        "one.npy",
        "one.dcm",
        "one.png",
        "one.nii.bz2",
        "one.json",
    ):
        target = fresh(walk, name)
        walk.check(f"-o {name}", [*one, name], code=2, right=lambda _: "was made" if target.exists() else None)
    for name in ("two.nii.gz", "two.mha", "two.NRRD"):
        target = fresh(walk, name)
        walk.check(
            f"-o {name} for two cases",
            ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs", "-o", name],
            code=2,
            right=lambda _: "was made" if target.exists() else None,
        )
    for name, kind in (("one.nrrd", "mha"), ("one.nii", "nii.gz"), ("one.nii.gz", "nii"), ("one.mha", "nrrd")):
        target = fresh(walk, name)
        walk.check(
            f"--format {kind} -o {name}",
            [*one, name, "--format", kind],
            code=2,
            says=kind,
            right=lambda _: "was made" if target.exists() else None,
        )
    for kind in ("nhdr", "mhd", "png", "dicom", ""):
        walk.check(f"--format {kind!r}", [*one, fresh(walk, "out"), "--format", kind], code=2)


def every_case_is_evaluated_or_named(walk):
    """References named pat_prob, channels of one-channel networks, accents; a missing prediction fails the case."""
    image, label = volumes.step_volume(), (volumes.step_volume() > 0).astype(np.uint8)
    for names in (("pat", "pat_prob"), ("q_0000", "q_0001"), ("s_prob", "t_prob"), ("ä", "b.c")):
        fresh(walk, "in", "refs", "out")
        for name in names:
            volumes.write_nifti(walk.path("in", name + ".nii.gz"), image)
            volumes.write_nifti(walk.path("refs", name + ".nii.gz"), label)
        walk.check(f"segment {names}", ["segment", "-m", "bright.safetensors", "-i", "in", "-o", "out"])
        result = walk.check(
            f"evaluate {names}",
            ["evaluate", "-p", "out", "-r", "refs", "--json"],
            right=lambda r: [
                None if len(r.json["metric_per_case"]) == 2 else f"{len(r.json['metric_per_case'])} cases of 2",
                None if r.json["mean"]["1"]["Dice"] == 1 else "the Dice of equal maps is not 1",
            ],
        )
        walk.claim("no file is left out", result, lambda r: "warns" if "warning" in r.err.lower() else None)
        os.remove(walk.path("out", names[1] + ".nii.gz"))
        walk.check(
            f"without the prediction of {names[1]}", ["evaluate", "-p", "out", "-r", "refs"], code=4, says=names[1]
        )


LINES = {
    "A12": [
        names_of_outputs_never_collide,
        the_name_of_an_output_decides_its_format,
        every_case_is_evaluated_or_named,
    ],
}
