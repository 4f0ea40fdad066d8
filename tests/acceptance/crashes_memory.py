"""B5, B9 and B16: what cannot fit is refused before it is begun, in little memory.

Limits of the address space stand for small machines: a training is refused before its first step or runs to its end.
"""

import gzip
import re
import struct

import numpy as np
from crash_data import CONFIG, config_with
from volumes import meta_bytes, nifti_bytes, nrrd_bytes, step_volume, RAS_TO_LPS

SMALL = "ulimit -v 3000000; exec {}"
BIG = ["--set", "net.width=16", "--set", "curriculum.0.epochs=1"]


def refused_or_done(run, epochs=1):
    """Either refused before anything was written, with what would fit, or trained to the end."""
    def right(result):
        if result.code == 5:
            words = [word for word in ("does not fit", "loaded") if word in result.last]
            return [None if words else "says neither 'does not fit' nor that nothing could be loaded",
                    "the folder of the run is there" if run.exists() else None,
                    "advises --patch, which train has not" if "--patch" in result.text else None]
        rows = (run / "metrics.csv").read_text().splitlines()[1:]
        return None if len(rows) == epochs else f"{len(rows)} epochs instead of {epochs}"
    return right


def trainings_near_the_limit(walk):
    """Several devices and sizes around the least address space that a training needs."""
    place = 0
    for device in ("cpu", "cpu,cpu", "cpu,cpu,cpu"):
        for megabytes in (450, 600, 650, 700, 750, 800, 850, 900, 1000):
            place += 1
            run = walk.path(f"tight_{place}")
            args = ["train", "-d", "data", "-c", "c.json", "-o", run, "--device", device, *BIG, "--set",
                    "curriculum.0.batch=24", "--set", "curriculum.0.patch=[32,32,32]"]
            walk.check(f"{megabytes} MB on {device}", args, code=(0, 5), right=refused_or_done(run),
                       wrap=f"ulimit -v {megabytes}000; exec {{}}")
    for device, batch, patch in [("cpu", 64, "[16,16,16]"), ("cpu,cpu", 64, "[16,16,16]"), ("cpu,cpu", 3, '"whole"'),
                                 ("cpu", 3, '"whole"'), ("cpu,cpu", 96, "[32,32,32]"), ("cpu", 96, "[32,32,32]")]:
        for megabytes in (620, 800):
            place += 1
            run = walk.path(f"tight_{place}")
            args = ["train", "-d", "data", "-c", "c.json", "-o", run, "--device", device, *BIG, "--set",
                    f"curriculum.0.batch={batch}", "--set", f"curriculum.0.patch={patch}"]
            walk.check(f"{batch} of {patch} in {megabytes} MB", args, code=(0, 5), right=refused_or_done(run),
                       wrap=f"ulimit -v {megabytes}000; exec {{}}")


def trainings_that_no_machine_holds(walk):
    """Batches and widths far beyond the memory: exit 5 with what would fit, and no folder."""
    for place, changes in enumerate((["curriculum.0.batch=100000", "curriculum.0.patch=[32,32,32]"],
                                     ["net.width=1024"], ["curriculum.0.batch=64", "net.width=512"],
                                     ["execution.memory=\"1100KiB\"", "curriculum.0.patch=\"whole\""])):
        for device in ("cpu", "cpu,cpu"):
            settings = [word for change in changes for word in ("--set", change)]
            run = walk.path(f"huge_{place}_{device.count('cpu')}")
            walk.check("does not fit", ["train", "-d", "data", "-c", "c.json", "-o", run, "--device", device,
                                        *settings], code=5, says="does not fit", not_says="--patch", keeps=run,
                       wrap=SMALL)


def later_stages_are_judged_first(walk):
    """A curriculum whose third stage cannot fit is refused before its first."""
    stage = CONFIG["curriculum"][0]
    config = config_with(curriculum=[stage, stage, {**stage, "patch": "whole", "batch": 1_000_000}])
    walk.check("the third stage", ["train", "-d", "data", "-c", walk.write("stages.json", config), "-o", "third"],
               code=5, says=["does not fit", "stage 3"], keeps=walk.path("third"))


def other_commands_judge_first_too(walk):
    """plan, bench and segment refuse what cannot fit, with what would."""
    for args in (["plan", "--net", "unet", "--width", "64", "--input", "256,256,256", "--batch", "8", "--devices", "1",
                  "--device-memory", "1GiB"],
                 ["plan", "--net", "unet", "--width", "64", "--input", "256,256,256", "--device", "cpu", "--costs",
                  "shapes", "--device-memory", "1GiB"],
                 ["bench", "step", "--width", "64", "--input", "256,256,256", "--device", "cpu"],
                 ["bench", "step", "--width", "64", "--input", "128,128,128", "--batch", "64", "--device", "cpu,cpu"],
                 ["bench", "segment", "--width", "32", "--input", "512,512,512", "--device", "cpu"],
                 ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", "huge.nii.gz", "--memory", "2MiB"]):
        walk.check("does not fit", args, code=5, says="fit", keeps=walk.path("huge.nii.gz"), wrap=SMALL)
    walk.check("what just fits", ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", "fits.nii.gz", "--memory",
                                  "1GiB"], wrap=SMALL)
    walk.check("one word for a slip", ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", "huge.nii.gz", "--memory",
                                       "8"], code=2, says="--memory", keeps=walk.path("huge.nii.gz"))


def advice_of_plan_holds(walk):
    """The smaller input and the larger devices that a refusal names do fit when they are asked for."""
    ask = ["plan", "--net", "unet", "--width", "64", "--devices", "1", "--batch", "8"]
    refused = walk.check("8 of 256^3 in 2 GiB", [*ask, "--input", "256,256,256", "--device-memory", "2GiB"], code=5)
    smaller, larger = re.search(r"--input ([\d,]+) would", refused.last), re.search(r"devices of ([\d.]+ GiB) would",
                                                                                   refused.last)
    walk.claim("it names both", refused, None if smaller and larger else "no advice")
    walk.check("that input", [*ask, "--input", smaller.group(1), "--device-memory", "2GiB"])
    walk.check("those devices", [*ask, "--input", "256,256,256", "--device-memory", larger.group(1).replace(" ", "")])


def claimed_sizes_are_held_against_the_file(walk):
    """Headers that claim far more than the file has are refused before memory is taken."""
    volume = step_volume()
    nifti = bytearray(nifti_bytes(volume, RAS_TO_LPS))
    for sides in [(32767,) * 3, (20, 18, 32767), (2000, 2000, 2000), (20, 18, 17)]:
        struct.pack_into("<3h", nifti, 42, *sides)
        for name, content in [("big.nii", bytes(nifti)), ("big.nii.gz", gzip.compress(bytes(nifti)))]:
            unreadable(walk, f"{name} claims {sides}", walk.write(name, content))
    for sides in ["9999999 9999999 9999999", "4294967296 2 2", "18446744073709551615 1 1", "20 18 17"]:
        for encoding in ("raw", "gzip"):
            nrrd = nrrd_bytes(volume, ["space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,1)",
                                       "space origin: (0,0,0)"], encoding).replace(b"20 18 16", sides.encode())
            unreadable(walk, f"NRRD ({encoding}) claims {sides}", walk.write("big.nrrd", nrrd))
        meta = meta_bytes(volume).replace(b"20 18 16", sides.encode())
        unreadable(walk, f"MetaImage claims {sides}", walk.write("big.mha", meta))


def unreadable(walk, claim, file):
    """`check` and `segment` refuse this image in little memory, and leave nothing."""
    walk.check(claim, ["check", file], code=3, says=file.name, wrap=SMALL, timeout=30)
    walk.check(claim, ["segment", "-m", "run", "-i", file, "-o", "big_out.nrrd"], code=(3, 5), says=file.name,
               keeps=walk.path("big_out.nrrd"), wrap=SMALL, timeout=30)


def packed_bytes_that_blow_up(walk):
    """gzip makes 1,000 bytes of one: more than the header claims, or more than the memory."""
    volume = step_volume()
    plain = nifti_bytes(volume, RAS_TO_LPS)
    bomb = gzip.compress(plain + bytes(300_000_000), 9)
    unreadable(walk, "300 MB of zeros behind a small volume", walk.write("bomb.nii.gz", bomb))
    claims = bytearray(plain[:352])
    struct.pack_into("<3h", claims, 42, 2000, 2000, 2000)
    honest = gzip.compress(bytes(claims) + bytes(400_000_000), 9)
    unreadable(walk, "16 GB claimed, 400 MB there", walk.write("bomb.nii.gz", honest))
    head = ["space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)"]
    nrrd = nrrd_bytes(volume, head, "gzip")
    start = nrrd.index(b"\n\n") + 2
    unreadable(walk, "NRRD with zeros behind", walk.write("bomb.nrrd", nrrd[:start] + gzip.compress(
        volume.tobytes(order="F") + bytes(300_000_000), 9)))


def npy_sizes_are_judged(walk):
    """Arrays of prepare whose header claims more than there is, objects, and absurd shapes."""
    for kind, head in {"huge": "{'descr': '<i2', 'fortran_order': False, 'shape': (99999, 99999, 99999), }",
                       "too long": "{'descr': '<i2', 'fortran_order': False, 'shape': (17, 18, 20), }",
                       "overflow": f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({2**32}, {2**32}, 2), }}",
                       "negative": "{'descr': '<i2', 'fortran_order': False, 'shape': (-1, 18, 20), }",
                       "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (16, 18, 20), }",
                       "flat": "{'descr': '<i2', 'fortran_order': False, 'shape': (16, 18), }",
                       "no header": "", "deep": "(" * 5000 + ")" * 5000}.items():
        text = head.encode() + b"\n"
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + step_volume().tobytes(order="F")
        folder = walk.path("npy_set")
        walk.write("npy_set/one/img_crp_v2.npy", content)
        np.save(walk.path("npy_set/one/structures/Chiasm_crp_v2.npy"), np.ones((16, 18, 20), "uint8"))
        walk.check(f"npy: {kind}", ["prepare", "--from", "han-npy", folder, "-o", "npy_out"], code=3,
                   says="img_crp_v2.npy", wrap=SMALL, timeout=30)


def plans_beyond_two_to_the_31(walk):
    """By shapes: bytes of a layer's output are right on both sides of 2^31 elements, and nothing is negative."""
    for width, sides in [(16, (512, 512, 511)), (16, (512, 512, 512)), (16, (512, 512, 516)), (32, (512, 512, 256)),
                         (16, (1024, 512, 256)), (1, (2048, 1024, 1024)), (64, (512, 512, 512)), (4, (64, 64, 64))]:
        def right(result, width=width, sides=sides):
            layers = result.json["layers"]
            negative = [l["name"] for l in layers for key, value in l.items() if key != "name" and value < 0]
            # The first convolution halves every side: width channels of float32.
            half = [-(-side // 2) for side in sides]
            return [f"negative: {negative}" if negative else None,
                    None if layers[0]["output_bytes"] >= 4 * width * int(np.prod(half, dtype=object)) else
                    f"first output {layers[0]['output_bytes']}"]
        walk.check(f"width {width}, {sides}", ["plan", "--json", "--net", "unet", "--width", width, "--input",
                                               ",".join(map(str, sides)), "--devices", "1", "--device-memory", "64TiB"],
                   right=right, wrap=SMALL)


LINES = {
    "B5": [trainings_near_the_limit, trainings_that_no_machine_holds, later_stages_are_judged_first,
           other_commands_judge_first_too, advice_of_plan_holds],
    "B9": [claimed_sizes_are_held_against_the_file, packed_bytes_that_blow_up, npy_sizes_are_judged],
    "B16": [plans_beyond_two_to_the_31],
}
