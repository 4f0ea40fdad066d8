"""Lines A7 and A18: channels go by their numbers, and what a folder holds is done or named."""

import os

import numpy as np

import known_models
import volumes
from material import fresh
from silence_inputs import ct_values, ignored_in


def channel_file(walk, folder, name, value):
    """A channel of 12³ voxels of one value with a corner of 0."""
    values = np.full((12, 12, 12), value, np.int16)
    values[:4, :4, :4] = 0
    return volumes.write_nifti(walk.path(folder, name), values)


def channels_are_taken_by_their_numbers(walk):
    """A network of two or three channels: every number from 0 once, in any order of the arguments."""
    walk.write("ch2.safetensors", known_models.channel_model([1, -1], 100))
    walk.write("ch3.safetensors", known_models.channel_model([1, -1, -1], 100))
    for names, model in (
        (("0000", "0002"), 2),
        (("0001", "0002"), 2),
        (("0001",), 2),
        (("0000",), 2),
        (("0000", "0001", "0003"), 3),
        (("0000", "0001"), 3),
        (("0000", "0002", "0003"), 3),
        (("0001", "0002", "0003"), 3),
        (("0000", "0001", "0002"), 2),
    ):
        fresh(walk, "ch", "out")
        files = [channel_file(walk, "ch", f"q_{name}.nii.gz", 500) for name in names]
        for shown, inputs in (("folder", ["ch"]), ("files", files)):
            walk.check(
                f"{names} for {model} channels, {shown}",
                ["segment", "-m", f"ch{model}.safetensors", "-i", *inputs, "-o", "out"],
                code=(2, 3),
                says="q",
                right=lambda _: "wrote" if any(walk.path("out").glob("*.nii.gz")) else None,
            )
    fresh(walk, "ch")
    for name, value in (("q_0000", 600), ("q_0001", 200), ("r_0000", 200), ("r_0001", 600)):
        channel_file(walk, "ch", name + ".nii.gz", value)
    for inputs in (["ch"], ["ch/q_0000.nii.gz", "ch/q_0001.nii.gz"], ["ch/q_0001.nii.gz", "ch/q_0000.nii.gz"]):
        fresh(walk, "out")
        walk.check(
            f"channels of {inputs}",
            ["segment", "-m", "ch2.safetensors", "-i", *inputs, "-o", "out"],
            right=lambda _: [labelled(walk, "q", 12**3 - 64), labelled(walk, "r", 0) if inputs == ["ch"] else None],
        )
    fresh(walk, "ch", "out")
    for name in ("q_0000.nii.gz", "q_0000.nii", "q_0001.nii.gz"):
        channel_file(walk, "ch", name, 500)
    walk.check("channel 0 twice", ["segment", "-m", "ch2.safetensors", "-i", "ch", "-o", "out"], code=(2, 3), says="q")
    fresh(walk, "ch", "out")
    channel_file(walk, "ch", "q.nii.gz", 500)
    walk.check(
        "no channel numbers at all",
        ["segment", "-m", "ch2.safetensors", "-i", "ch", "-o", "out"],
        code=(2, 3),
        says="q",
    )
    fresh(walk, "ch", "out")
    channel_file(walk, "ch", "q_0000.nii.gz", 500)
    volumes.write_nifti(walk.path("ch/q_0001.nii.gz"), np.zeros((12, 12, 14), np.int16))
    walk.check(
        "channels of two sizes",
        ["segment", "-m", "ch2.safetensors", "-i", "ch", "-o", "out"],
        code=(2, 3),
        says="q_0001",
    )


def labelled(walk, case, count):
    """None if a label map has this many voxels of label 1."""
    found = int((volumes.read_lps(walk.path("out", case + ".nii.gz"))[0] == 1).sum())
    return None if found == count else f"{case}: {found} voxels instead of {count}"


def data_sets_take_channels_by_their_numbers_too(walk):
    """nnU-Net v2: the same rule in `check` and `train`."""
    listed = {
        "channel_names": {"0": "a", "1": "b"},
        "labels": {"background": 0, "x": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    for names, code in (
        (("0000", "0001"), 0),
        (("0000", "0002"), 3),
        (("0001",), 3),
        (("0001", "0002"), 3),
        (("0000",), 3),
        (("0000", "0001", "0002"), 3),
    ):
        fresh(walk, "nn")
        for name in names:
            channel_file(walk, "nn/imagesTr", f"q_{name}.nii.gz", 500)
        label = np.zeros((12, 12, 12), np.uint8)
        label[5:9, 5:9, 5:9] = 1
        volumes.write_nifti(walk.path("nn/labelsTr/q.nii.gz"), label)
        walk.write("nn/dataset.json", listed)
        walk.check(f"check of channels {names}", ["check", "nn"], code=code, says="q" if code else None)


def what_a_folder_holds_is_done_or_named(walk):
    """`check` and `segment` count alike; the rest is named on the screen and in segment.json."""
    others = {
        "x.mgz": b"mgz",
        "x.hdr": b"\0" * 348,
        "x.img": b"\0" * 10,
        "y.nii.bz2": b"BZh",
        "readme.txt": b"text",
        "p.png": b"\x89PNG",
        "x.npy": b"\x93NUMPY",
        "x.mat": b"MATLAB",
        "list.json": b"{}",
        ".x.nii.gz": b"mac",
        "._t.nii.gz": b"mac",
        "x.nii.gz.part": b"half",
        "x.mnc": b"CDF",
        "x.zip": b"PK",
        "x": b"no ending",
    }
    for name, content in {**others, "all of them": None}.items():
        parent = fresh(walk, "mixed")
        volumes.write_nifti(parent / "a.nii.gz", ct_values())
        volumes.write_nifti(parent / "b.nii", ct_values())
        volumes.write_series(parent / "ct", ct_values())
        names = [name] if content is not None else list(others)
        for other in names:
            (parent / other).write_bytes(others[other])
        counted_alike(walk, f"{name} beside", parent, names)
    for kind in ("fifo", "broken link", "deep"):
        parent = fresh(walk, "mixed")
        volumes.write_nifti(parent / "a.nii.gz", ct_values())
        volumes.write_nifti(parent / "b.nii", ct_values())
        volumes.write_series(parent / "ct", ct_values())
        if kind == "fifo":
            os.mkfifo(parent / "x.nii.gz")
        elif kind == "broken link":
            (parent / "x.nii.gz").symlink_to("nowhere")
        else:
            volumes.write_nifti(parent / "deeper" / "c.nii.gz", ct_values())
        counted_alike(walk, f"a {kind} one beside", parent, ["deeper" if kind == "deep" else "x.nii.gz"])
    fresh(walk, "mixed").mkdir()
    for command in (
        ["check", "mixed"],
        ["segment", "-m", "bright.safetensors", "-i", "mixed", "-o", fresh(walk, "out")],
    ):
        walk.check("an empty folder", command, code=3, says="mixed")


def counted_alike(walk, claim, parent, ignored):
    """Three cases in `check` and in `segment`, and these names among what was left out of both."""
    last = lambda path: path.rstrip("/").split("/")[-1]
    walk.check(
        f"check: {claim}",
        ["check", parent, "--json"],
        right=lambda r: [
            None if r.json["cases"] == 3 else f"{r.json['cases']} cases instead of 3",
            *[
                None if name in [last(e["file"]) for e in r.json["ignored"]] else f"{name} is not in ignored"
                for name in ignored
            ],
        ],
    )
    out = fresh(walk, "out")
    walk.check(
        f"segment: {claim}",
        ["segment", "-m", "bright.safetensors", "-i", parent, "-o", out],
        says=ignored,
        keeps=parent / "a.nii.gz",
        right=lambda _: [
            ignored_in(walk, *ignored),
            *[None if (out / f"{n}.nii.gz").exists() else f"{n} was not done" for n in ("a", "b", "ct")],
        ],
    )


LINES = {
    "A7": [channels_are_taken_by_their_numbers, data_sets_take_channels_by_their_numbers_too],
    "A18": [what_a_folder_holds_is_done_or_named],
}
