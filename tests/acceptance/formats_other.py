"""O1 and L1 to L3: formats that are not read, names of every kind, links, and files that claim more than they hold."""

import bz2
import gzip
import lzma
import os
import struct
import zlib

import nibabel
import numpy as np
import SimpleITK

import volumes
from format_checks import OBLIQUE, is_read, is_refused, stored
from formats_arrays import IMAGE, prepared
from formats_text import meta, nrrd
from material import fresh

RAS = volumes.RAS_TO_LPS @ OBLIQUE
PLAIN = nibabel.Nifti1Image(stored(), RAS).to_bytes()


def freesurfer(walk, name, dtype="int16", frames=1, cut=0, good_ras=1):
    """An MGH or MGZ file by nibabel."""
    values = np.stack([stored(dtype)] * frames, -1) if frames > 1 else stored(dtype)
    path = walk.path(name)
    nibabel.save(nibabel.MGHImage(values, RAS), path)
    content = gzip.decompress(path.read_bytes()) if name.endswith("z") else path.read_bytes()
    content = content[:28] + struct.pack(">h", good_ras) + content[30:len(content) - cut]
    return walk.write(name, gzip.compress(content) if name.endswith("z") else content)


def formats_that_are_not_read(walk):
    """Files of other programs: refused with the kind and a way out, also under a name that LAMP reads."""
    files = []
    for dtype in ("uint8", "int16", "int32", "float32"):
        for name in ("t.mgh", "t.mgz"):
            files.append((f"{name} {dtype}", freesurfer(walk, f"mgh/{dtype}/{name}", dtype), "FreeSurfer"))
    for claim, options in {"three frames": {"frames": 3}, "cut short": {"cut": 100},
        "no place": {"good_ras": 0}}.items():
        files.append((claim, freesurfer(walk, f"mgh/{claim}/t.mgz", **options), "FreeSurfer"))
    pair = nibabel.Nifti1Pair(stored(), RAS)
    nibabel.save(pair, walk.path("pair/a.hdr"))
    nibabel.save(nibabel.AnalyzeImage(stored(), np.diag([-1.5, 2, 3, 1])), walk.path("analyze/a.hdr"))
    for folder in ("pair", "analyze"):
        files += [(f"{folder} .hdr", walk.path(folder, "a.hdr"), "pair"), (f"{folder} .img", walk.path(folder, "a.img"),
                                                                          "pair")]
    for claim, name, content, says in [
            ("bzip2", "t.nii.bz2", bz2.compress(PLAIN), "packed"), ("xz", "t.nii.xz", lzma.compress(PLAIN), "packed"),
            ("zstd", "t.nii.zst", b"\x28\xb5\x2f\xfd" + bytes(40), "packed"), ("npy", "t.npy", b"\x93NUMPY", "NumPy"),
            ("TIFF", "t.tif", b"II*\0" + bytes(40), "TIFF"), ("PNG", "t.png", b"\x89PNG\r\n\x1a\n", ""),
            ("JPEG", "t.jpg", b"\xff\xd8\xff\xe0" + bytes(40), ""), ("no ending", "t", PLAIN, ""),
            ("a copy", "t.nii.bak", PLAIN, ""), ("a download", "t.nii.gz.part", gzip.compress(PLAIN), "")]:
        files.append((claim, walk.write(name, content), says))
    for claim, path, says in files:
        is_refused(walk, claim, path, says=says)
    for ending, writer in ((".gipl", None), (".vtk", None), (".hdf5", None)):
        image = SimpleITK.GetImageFromArray(stored().transpose(2, 1, 0))
        path = walk.path("itk" + ending)
        try:
            SimpleITK.WriteImage(image, str(path))
        except RuntimeError:
            walk.write(path.name, "a file")
        is_refused(walk, f"SimpleITK's {ending}", path)


def other_contents_under_read_names(walk):
    """What lies under a name that LAMP reads, and is something else."""
    read = lambda name: walk.path(name).read_bytes()
    freesurfer(walk, "mgh/t.mgh")
    contents = {
        "MGH": read("mgh/t.mgh"), "MGZ": gzip.compress(read("mgh/t.mgh")), "a pair's head": read("pair/a.hdr"),
        "a pair's voxels": read("pair/a.img"), "Analyze": read("analyze/a.hdr") + read("analyze/a.img"),
        "bzip2": bz2.compress(PLAIN), "xz": lzma.compress(PLAIN), "zlib": zlib.compress(PLAIN), "zip": b"PK\3\4" +
        bytes(100), "HTML": b"<!DOCTYPE html><html>404</html>", "a pointer": b"version https://git-lfs.github.com/spec/"
        b"v1\noid sha256:" + b"0" * 64 + b"\nsize 1000\n", "a picture": b"\x89PNG\r\n\x1a\n" + bytes(300),
        "zeros": bytes(4096), "nothing": b"", "packed twice": gzip.compress(gzip.compress(PLAIN)), "JSON": b"{}",
        "UTF-16": "NRRD0005\ntype: short\n".encode("utf-16"), "an order mark": b"\xef\xbb\xbf" + nrrd(),
    }
    for claim, content in contents.items():
        for name in ("t.nii", "t.nii.gz", "t.nrrd", "t.mha"):
            is_refused(walk, f"{claim} as {name}", walk.write(name, content))


def names_of_every_kind(walk):
    """Names that are long, strange or in other scripts are read, and the label map is found under them."""
    stems = ["a b", "  leading", "trailing ", "it's", 'a "quote"', "naïve", "naïve".encode().decode(), "患者一", "👩‍⚕️",
             "a\nb", "a\tb", "-x", "--output", "*", "%s%n", "$(touch x)", "a;b", "CON", "a.nii", "a.b.c", ".", "..x",
             "x" * 190, "é" * 90, "\\", "a\\b", "#", "?", "@", "{}", "[1]", "~"]
    for stem in stems:
        folder = fresh(walk, "names")
        path = walk.write(f"names/{stem}.nii.gz", gzip.compress(PLAIN))
        out = fresh(walk, "out")
        result = walk.run(["segment", "-m", "levels.safetensors", "-o", out, "-i", f"./names/{stem}.nii.gz"])

        def right(_):
            if result.code:
                return None if result.code in (2, 3) and result.last.startswith("lamp: ") else "no plain refusal"
            wanted = out / path.name
            return None if wanted.is_file() else f"{path.name!r} was not written but {os.listdir(out)}"
        walk.claim(f"the name {stem[:20]!r}", result, right)
        walk.claim("a refused name is printed in one line", result, lambda r: None if r.code == 0 or len(
            r.err.strip().splitlines()) == 1 else "several lines")
        walk.check(f"the folder of {stem[:20]!r}", ["check", folder], code=(0, 3))
    raw = os.fsencode(walk.path("names")) + b"/\xff\xfe.nii.gz"
    fresh(walk, "names").mkdir()
    with open(raw, "wb") as file:
        file.write(gzip.compress(PLAIN))
    walk.check("a name that is no UTF-8", ["check", "names", "--json"], code=(0, 3), right=lambda r: r.json and None)
    walk.check("a name that is no UTF-8", ["segment", "-m", "levels.safetensors", "-i", "names", "-o", fresh(walk,
        "out"),
                                           "--json"], code=(0, 2, 3),
                                           right=lambda r: None if r.code else r.json and None)


def links_of_every_kind(walk):
    """Links to files and folders are followed; loops and links to nothing are named, and nothing hangs."""
    folder = fresh(walk, "links")
    walk.write("links/scan.nii.gz", gzip.compress(PLAIN))
    for name, target in {"one.nii.gz": "scan.nii.gz", "two.nii.gz": "one.nii.gz", "loop.nii.gz": "loop.nii.gz",
                         "a.nii.gz": "b.nii.gz", "b.nii.gz": "a.nii.gz", "nothing.nii.gz": "absent.nii.gz",
                         "up": "..", "self": ".", "loop": "loop"}.items():
        (folder / name).symlink_to(target)
    for name in ("one.nii.gz", "two.nii.gz"):
        is_read(walk, f"a link {name}", folder / name)
    for name in ("loop.nii.gz", "a.nii.gz", "nothing.nii.gz", "loop", "loop/x.nii.gz", "scan.nii.gz/x.nii.gz"):
        is_refused(walk, f"a link {name}", folder / name, code=(2, 3))
    walk.check("a folder of links", ["check", folder], code=(0, 3), says="loop.nii.gz")
    for name in ("self/self/self/scan.nii.gz", "up/links/scan.nii.gz"):
        is_read(walk, f"through folders: {name}", folder / name)
    prepared(walk, IMAGE)
    outputs = {
        "segment": ["segment", "-m", "levels.safetensors", "-i", folder / "scan.nii.gz", "-o"],
        "synth": ["synth", "--kind", "liver", "--train", "1", "--test", "0", "--size", "32,32,32", "-o"],
        "experiment": ["experiment", "--preset", "context", "-o"],
        "prepare": ["prepare", "--from", "han-npy", "arrays", "-o"],
        "evaluate": ["evaluate", "-p", folder / "scan.nii.gz", "-r", folder / "scan.nii.gz", "-o"],
        "plan": ["plan", "--devices", "1", "--device-memory", "8GiB", "-o"],
        "preview": ["check", folder / "scan.nii.gz", "--preview"],
    }
    for command, args in outputs.items():
        for target in ("loop", "a.nii.gz", "loop/below", "scan.nii.gz/below"):
            walk.check(f"{command} -o {target}", [*args, folder / target], code=(1, 2, 3), says=target.split("/")[0],
                       keeps=folder, not_says=["filesystem error", "symlink_status", "status:"])
    for args in (["train", "-d", folder / "loop", "-c", "demo", "-o", "links_run"], ["info", folder / "loop"],
        ["segment", "-m",
                 folder / "loop", "-i", folder / "scan.nii.gz", "-o", "links_out"], ["train", "-d", folder, "-c",
                 folder / "loop", "-o", "links_run"], ["plan", "-c", folder / "loop"], ["evaluate", "-p", folder /
                 "loop", "-r", folder / "loop"], ["prepare", "--from", "decathlon", folder / "loop", "-o",
                 "links_made"],
                 ["bench", "input", "-c", "demo", "-d", folder / "loop"]):
        walk.check(f"{args[0]} of a link to itself", args, code=(2, 3), says="loop", not_says=["filesystem error",
                                                                                             "symlink_status"])


def claims_beyond_the_memory(walk):
    """Sparse files of many GiB, and heads that claim more than a host has: refused before memory is taken."""
    sizes = {"2 GiB and more": (1300, 1300, 1300), "40 GiB": (2800, 2800, 2800), "64 TiB": (32767, 32767, 32767)}
    for claim, size in sizes.items():
        head = bytearray(PLAIN[:352])
        struct.pack_into("<4h", head, 40, 3, *size)
        short = walk.write("claim.nii", bytes(head) + bytes(1000))
        is_refused(walk, f"{claim}, short", short)
        text = " ".join(map(str, size))
        for name, content in (("claim.nrrd", nrrd(bytes(1000), sizes=text)), ("claim.mha", meta(bytes(1000),
            DimSize=text)),
                              ("claim.nii.gz", gzip.compress(bytes(head) + bytes(1000)))):
            is_refused(walk, f"{claim}, {name}", walk.write(name, content))
    for name, content, start in (("sparse.nii", bytes(head), 352), ("sparse.nrrd", nrrd(b"", sizes="2800 2800 2800"),
        None),
                                 ("sparse.mha", meta(b"", DimSize="2800 2800 2800"), None)):
        if start:
            struct.pack_into("<4h", head, 40, 3, 2800, 2800, 2800)
            content = bytes(head)
        path = walk.write(name, content)
        os.truncate(path, len(content) + 2 * 2800**3)
        walk.check(f"{name} of 41 GiB", ["check", path], code=3, says=[name, "memory"], wrap="ulimit -v 12000000; {}")
        walk.check(f"segment: {name}", ["segment", "-m", "levels.safetensors", "-i", path, "-o", fresh(walk, "out")],
                   code=(3, 5), says=name, wrap="ulimit -v 12000000; {}")
        path.unlink()


LINES = {"O1": [formats_that_are_not_read, other_contents_under_read_names], "L1": [names_of_every_kind],
         "L2": [links_of_every_kind], "L3": [claims_beyond_the_memory]}
