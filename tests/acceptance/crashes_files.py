"""B8, B12 and B15: data sets from strangers, outputs that would replace a file, and how the program was built."""

import os
import shutil
import struct

from crash_data import data_set, entry, named_case
from volumes import meta_bytes, nrrd_bytes, step_volume, write_nifti
from walk import Result

NAMES = ["../../victim", "..", ".", "", "a/b", "a\\b", "/absolute", "a\nb", "a\tb", "a\0b", "a\x1b[31m", "a\x7f",
         "n" * 201, "a\u202eb", "a\u200bb", "..\\victim"]
LEFT = ["space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)"]


def victims(walk):
    """Files of the user outside every data set, which nothing may touch."""
    volume = step_volume()
    return [write_nifti(walk.path("victim/scan.nii.gz"), volume), walk.write("victim/id_rsa", "secret"),
            walk.write("victim.nii.gz", "mine")]


def names_of_cases_are_judged(walk):
    """Names of nnU-Net's `dataset` table and of lists that lead out or deceive are faults in every command."""
    kept = victims(walk)
    for name in NAMES:
        folder = named_case(walk, "hostile", name)
        walk.check(f"the case {name!r:.20}", ["check", folder], code=3, keeps=[folder, *kept])
        walk.check(f"the case {name!r:.20}", ["prepare", "--from", "decathlon", folder, "-o", "hostile_out"],
                   code=(2, 3), keeps=[folder, walk.path("hostile_out"), *kept])


def paths_of_images_stay_inside(walk):
    """`..`, absolute paths and links to files outside in a list: a fault unless --allow-outside is said."""
    kept = victims(walk)
    for path in ["../victim/scan.nii.gz", str(kept[0]), "imagesTr/../../victim/scan.nii.gz", "./../victim/scan.nii.gz",
                 "..\\victim\\scan.nii.gz"]:
        folder = data_set(walk, "outside", [{**entry("a"), "image": path}, entry("b"), entry("c")])
        walk.check(f"image {path[-30:]}", ["check", folder], code=3, says="scan.nii.gz", keeps=[folder, *kept])
        walk.check(f"image {path[-30:]}", ["train", "-d", folder, "-c", "c.json", "-o", "outside_run"], code=3,
                   says="scan.nii.gz", keeps=[folder, walk.path("outside_run"), *kept])
        walk.check(f"image {path[-30:]}", ["prepare", "--from", "decathlon", folder, "-o", walk.path("outside_out",
                   path[-5:].strip("/"))], code=(3, 4), says="scan.nii.gz", keeps=[folder, *kept])
        walk.check(f"image {path[-30:]} if allowed", ["check", folder, "--allow-outside"], says="no faults",
                   keeps=[folder, *kept])
    folder = data_set(walk, "outside", [{**entry("a"), "label": "../victim/id_rsa"}, entry("b"), entry("c")])
    walk.check("a label outside", ["check", folder], code=3, says="id_rsa", not_says="secret", keeps=[folder, *kept])
    walk.check("a secret is never shown", ["check", folder, "--allow-outside"], code=3, not_says="secret", keeps=kept)


def missing_images_remove_nothing(walk):
    """Where an image is missing, `prepare` once deleted the file of that name elsewhere."""
    kept = victims(walk)
    for image in ["../victim/absent.nii.gz", "imagesTr/absent.nii.gz"]:
        training = [{"image": image, "label": "labelsTr/a.nii.gz"}, entry("b"), entry("c")]
        folder = data_set(walk, "absent", training)
        walk.check("a missing image", ["prepare", "--from", "decathlon", folder, "-o", "absent_" + image[0]],
                   code=(3, 4), says="absent.nii.gz", keeps=[folder, *kept])


def detached_voxels_stay_inside(walk):
    """A .nhdr or .mhd whose voxels lie elsewhere is refused, whatever is allowed."""
    volume = step_volume()
    secret = walk.write("voxels.raw", volume.tobytes(order="F"))
    for path in ["../voxels.raw", str(secret), "below/../../voxels.raw", "link.raw", "LIST", "%03d.raw 1 16 1"]:
        head = nrrd_bytes(volume, LEFT).split(b"\n\n")[0] + f"\ndata file: {path}\n".encode()
        for name, content in [("scan.nhdr", head), ("scan.mhd", meta_bytes(volume).split(b"LOCAL")[0] + path.encode()
                                                    + b"\n")]:
            folder = walk.path("detached")
            shutil.rmtree(folder, ignore_errors=True)
            file = walk.write("detached/" + name, content)
            os.symlink(secret, folder / "link.raw")
            for args in (["check", file], ["segment", "-m", "run", "-i", file, "-o", "detached_out.nii.gz"]):
                walk.check(f"{name}: {path[-25:]}", args, code=3, says=name, keeps=[secret, walk.path(
                    "detached_out.nii.gz")])
    walk.write("detached/voxels.raw", volume.tobytes(order="F"))
    for name, content in [("scan.nhdr", head.replace(path.encode(), b"voxels.raw")),
                          ("scan.mhd", content.replace(path.encode(), b"voxels.raw"))]:
        walk.check(f"{name}: voxels beside it", ["check", walk.write("detached/" + name, content)], says="no faults")


def links_in_outputs_are_not_followed(walk):
    """`prepare` and `synth` write nothing through links that lie in their output folder."""
    kept = walk.write("elsewhere/file.txt", "mine")
    for name in ("imagesTr", "labelsTr", "dataset.json"):
        folder = walk.path("linked_" + name)
        folder.mkdir(exist_ok=True)
        (folder / name).symlink_to(kept.parent if "." not in name else kept)
        for args in (["synth", "--kind", "liver", "-o", folder, "--train", "1", "--test", "0", "--size", "32,32,32"],
                     ["prepare", "--from", "decathlon", "data", "-o", folder],
                     ["train", "-d", "data", "-c", "c.json", "-o", folder]):
            walk.check(f"a link {name} in the output", args, code=2, says=folder.name, keeps=[folder, kept.parent])


def outputs(walk, target):
    """Commands with an option that names this file as their output."""
    plan = ["plan", "--devices", "1", "--device-memory", "8GiB"]
    simulate = ["simulate", "--stages", "2", "--microbatches", "2"]
    return [["evaluate", "-p", "made", "-r", "data/labelsTs", "-o", target], [*plan, "-o", target],
            [*plan, "--svg", target], [*plan, "--trace", target], [*simulate, "--svg", target],
            [*simulate, "--trace", target], ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", target],
            ["check", "data", "--preview", target], ["train", "-d", "data", "-c", "c.json", "-o", target],
            ["synth", "--kind", "liver", "-o", target, "--train", "1", "--test", "0"],
            ["prepare", "--from", "decathlon", "data", "-o", target],
            ["experiment", "--preset", "context", "-o", target]]


def foreign_files_are_never_replaced(walk):
    """An image, a label map, a list, an image of the run's data and files of other programs, as any output."""
    data = walk.copy(walk.path("data"), "own")
    label = sorted((data / "labelsTr").iterdir())[0]
    image = sorted((data / "imagesTr").iterdir())[0]
    foreign = [label, image, data / "dataset.json", walk.write("notes.json", "{}"), walk.write("figure.svg", "<svg/>"),
               walk.write("empty.json", ""), walk.write("plain", "text")]
    for target in foreign:
        for args in outputs(walk, target):
            walk.check(f"{target.name} as an output", args, code=(1, 2), says=target.name, keeps=[data, *foreign])


def folders_of_others_are_never_filled(walk):
    """A data set, its folders, a run and a folder of notes as `-o`."""
    data, run = walk.copy(walk.path("data"), "own"), walk.copy(walk.path("run"), "own_run")
    walk.write("mine/notes.txt", "mine")
    # Results in a folder of their owner's are in nobody's way, nor is a summary beside dataset.json.
    free = [("mine", "segment"), ("mine", "evaluate"), ("own", "evaluate")]
    for target in (data, data / "imagesTr", data / "labelsTr", run, run / "state", walk.path("mine")):
        for args in outputs(walk, target):
            if args[0] in ("plan", "simulate") or (target.name, args[0]) in free:
                continue
            walk.check(f"the folder {target.name} as an output", args, code=(1, 2), says=target.name,
                       keeps=[data, run, walk.path("mine")])


def own_outputs_are_replaced(walk):
    """The same call twice writes its own file again."""
    for place, name in [(0, "summary.json"), (1, "plan.json"), (2, "plan.svg"), (3, "trace.json"), (4, "step.svg"),
                        (5, "step.json"), (6, "map.nii.gz")]:
        args = outputs(walk, walk.path("again", name))[place]
        walk.check("the first time", args)
        walk.check("the second time", args)


def dynamic_section(content):
    """Tag -> values of a 64-bit ELF file's dynamic section, and its text of names."""
    start, count = struct.unpack_from("<Q", content, 32)[0], struct.unpack_from("<H", content, 56)[0]
    heads = [struct.unpack_from("<IIQQQQQQ", content, start + 56 * i) for i in range(count)]
    dynamic = next(head for head in heads if head[0] == 2)
    tags = {}
    for at in range(dynamic[2], dynamic[2] + dynamic[5], 16):
        tag, value = struct.unpack_from("<qQ", content, at)
        tags.setdefault(tag, []).append(value)
    loads = [head for head in heads if head[0] == 1]
    place = next(tags[5][0] - head[3] + head[2] for head in loads if head[3] <= tags[5][0] < head[3] + head[5])
    return tags, content[place:place + tags[10][0]], heads


def the_program_is_hardened(walk):
    """From the ELF file itself: stack protector, FORTIFY, BIND_NOW, RELRO, PIE, no executable stack, RUNPATH."""
    content = walk.program.read_bytes()
    tags, names, heads = dynamic_section(content)
    text = lambda at: names[at:names.index(b"\0", at)].decode()
    paths = [path for tag in (15, 29) for value in tags.get(tag, []) for path in text(value).split(":")]
    stack = next(head for head in heads if head[0] == 0x6474E551)
    result = Result("(the ELF file)", 0, "RUNPATH " + ":".join(paths), "", 0)
    for claim, wrong in {
            "a stack protector": b"__stack_chk_fail" not in names,
            "FORTIFY": not any(name in names for name in (b"__memcpy_chk", b"__snprintf_chk", b"__vsnprintf_chk")),
            "BIND_NOW": not tags.get(24) and not tags.get(30, [0])[0] & 8 and not tags.get(0x6FFFFFFB, [0])[0] & 1,
            "RELRO": not any(head[0] == 0x6474E552 for head in heads),
            "a position that is not fixed": struct.unpack_from("<H", content, 16)[0] != 3,
            "no executable stack": bool(stack[1] & 1), "no empty RUNPATH": "" in paths,
            "a relative RUNPATH": not all(path.startswith("$ORIGIN") for path in paths)}.items():
        walk.claim(claim, result, f"not so: {paths}" if wrong else None)


def no_library_comes_from_the_current_folder(walk):
    """Files named as libraries in the folder where a user stands are not loaded."""
    for name in ("libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libstdc++.so.6", "libc.so.6"):
        walk.write("trap/" + name, "no library")
    walk.check("in a folder of traps", ["--version"], cwd=walk.path("trap"), says="lamp")


LINES = {
    "B8": [names_of_cases_are_judged, paths_of_images_stay_inside, missing_images_remove_nothing,
           detached_voxels_stay_inside, links_in_outputs_are_not_followed],
    "B12": [foreign_files_are_never_replaced, folders_of_others_are_never_filled, own_outputs_are_replaced],
    "B15": [the_program_is_hardened, no_library_comes_from_the_current_folder],
}
