"""The ten rules of docs/reliability.md, R1 to R9 (R10, "did you mean", stands in refusals_words.py)."""

import json
import shutil
import signal
import socket

import nibabel
import numpy as np
import SimpleITK
from crash_data import CONFIG, checksum, entry, read_tensors, three_cases
from crashes_signals import finished, long_training, rows_of, wait_for
from known_models import model_bytes, threshold_model
from volumes import RAS_TO_LPS, affine, nrrd_bytes, step_volume, write_nifti, write_series

CORNERS = [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1), (-1, -1, -1)]
ORDERS = [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)]


def one_run_one_job(walk):
    """A second job in a run's folder is refused with host and process; a stale lock is taken over with a line."""
    long_training(walk)
    run = walk.path("locked")
    args = ["train", "-d", "data", "-c", "long.json", "-o", run]
    job = walk.start(args)
    wait_for(lambda: rows_of(run) >= 1)
    for second in ([*args, "--resume"], ["train", "--resume", "-o", run], args):
        walk.check("a second job", second, code=(1, 2), says=run.name)
    walk.check("it names host and process", ["train", "--resume", "-o", run], code=1,
               says=[socket.gethostname(), str(job.pid)])
    job.send_signal(signal.SIGKILL)
    finished(job, "")
    rows = rows_of(run)
    walk.check("a stale lock", ["train", "--resume", "-o", run, "--set", f"curriculum.0.epochs={rows + 2}"],
               says=str(job.pid), right=lambda _: None if not (run / "lock").exists() else "the lock is there")


def changed_results_stay(walk):
    """A label map that somebody corrected is not replaced; an untouched one is."""
    maps = walk.path("corrected")
    args = ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", maps]
    walk.check("the first time", args)
    walk.check("again", args)
    image = nibabel.load(maps / "scan.nii.gz")
    values = np.asanyarray(image.dataobj).copy()
    values[0, 0, 0] = 1 - min(int(values[0, 0, 0]), 1)
    nibabel.save(nibabel.Nifti1Image(values, image.affine, image.header), maps / "scan.nii.gz")
    walk.check("after a correction", args, code=2, says="scan.nii.gz", keeps=maps)
    three_cases(walk, "not_a_run")
    walk.check("a data set is no run", ["train", "--resume", "-o", "not_a_run"], code=2, says="not_a_run",
               keeps=walk.path("not_a_run"))


def every_file_is_accounted_for(walk):
    """What lies beside images is named with a reason, in check and in segment alike."""
    folder = walk.path("mixed")
    write_nifti(folder / "a.nii.gz", step_volume())
    write_series(folder / "series", step_volume((12, 10, 6)))
    others = {"b.mgz": b"x", "c.hdr": b"x", "d.nii.bz2": b"x", "e.txt": b"x", ".f.nii.gz": b"x", "g.png": b"\x89PNG",
              "deep/deeper/h.nii.gz": (folder / "a.nii.gz").read_bytes()}
    for name, content in others.items():
        walk.write("mixed/" + name, content)
    named = lambda r: [n for n in others if not any(n in i["file"] and i["reason"] for i in r.json["ignored"])
                       and not any(n.split("/")[0] == i["file"].rsplit("/", 1)[-1] for i in r.json["ignored"])]
    walk.check("check", ["check", folder, "--json"], right=named)
    walk.check("segment", ["segment", "-m", "run", "-i", folder, "-o", "mixed_maps", "--json"], right=lambda r: [
        *named(r), None if len(r.json["cases"]) == 2 else f"{len(r.json['cases'])} cases"])
    (folder / "series/slice03.dcm").write_bytes(b"")
    walk.check("an empty slice", ["check", folder / "series"], code=3, says="slice03.dcm")
    walk.check("an empty slice", ["segment", "-m", "run", "-i", folder / "series", "-o", "cut_maps"], code=3,
               says="slice03.dcm", right=lambda _: [str(f) for f in walk.path("cut_maps").glob("*.nii.gz")])


def padding_is_never_truth(walk):
    """Patches and windows beyond the volume are the volume: the same bits as its own size."""
    folder = three_cases(walk, "padded")
    runs = {}
    for patch in ("[20,18,16]", "[24,24,24]", "[64,64,64]", '"whole"'):
        run = walk.path("padded_" + str(len(runs)))
        walk.check(f"patch {patch}", ["train", "-d", folder, "-c", "c.json", "-o", run, "--set",
                                      f"curriculum.0.patch={patch}"])
        runs[patch] = read_tensors(run / "last.safetensors")[1]
        walk.claim(f"patch {patch} trains as the volume's own size", walk.run(["info", run]),
                   None if runs[patch] == runs["[20,18,16]"] else "other weights")
    model = walk.write("known.safetensors", threshold_model([400], ["background", "bright"]))
    wanted = step_volume() > 400
    for patch in ("whole", "20,18,16", "32,32,32", "16,16,16", "64,16,64"):
        out = walk.path("windows_" + patch.replace(",", "_"), "scan.nii.gz")
        walk.check(f"--patch {patch}", ["segment", "-m", model, "-i", "scan.nii.gz", "-o", out, "--patch", patch],
                   right=lambda _: None if np.array_equal(nibabel.load(out).get_fdata(), wanted) else "other voxels")


def geometry_is_the_header_s(walk):
    """Spacing, origin and direction of NIfTI and NRRD in many orientations, against nibabel and SimpleITK."""
    for order in ORDERS:
        for signs in CORNERS:
            axes = np.eye(3)[:, list(order)] * signs
            matrix = affine((1, 2, 3), (5, -6, 7), axes)
            file = write_nifti(walk.path("turned.nii.gz"), step_volume(), matrix)
            lps = RAS_TO_LPS @ nibabel.load(file).affine
            walk.check(f"NIfTI {order} {signs}", ["check", file, "--json"], right=same_geometry(lps))
            rows = ["(" + ",".join(str(v) for v in matrix[:3, axis]) + ")" for axis in range(3)]
            nrrd = nrrd_bytes(step_volume(), ["space: left-posterior-superior", "space directions: " + " ".join(rows),
                                              "space origin: (5,-6,7)"])
            other = SimpleITK.ReadImage(str(walk.write("turned.nrrd", nrrd)))
            lps = np.eye(4)
            lps[:3, :3] = np.reshape(other.GetDirection(), (3, 3)) * other.GetSpacing()
            lps[:3, 3] = other.GetOrigin()
            walk.check(f"NRRD {order} {signs}", ["check", "turned.nrrd", "--json"], right=same_geometry(lps))


def same_geometry(lps):
    """A check's question: does the first image lie as this voxel -> LPS matrix says?"""
    def right(result):
        facts = result.json["case_facts"][0]
        found = np.reshape(facts["direction"], (3, 3)) * facts["spacing_mm"]
        return None if np.allclose(found, lps[:3, :3], atol=1e-4) and np.allclose(
            facts["origin_mm"], lps[:3, 3], atol=1e-4) else "another place"
    return right


def what_is_saved_agrees(walk):
    """The label map is the argmax of the saved probabilities, which sum to 1, also where voxels are resampled."""
    kernel = np.zeros((3, 1, 3, 3, 3))
    kernel[1, 0], kernel[2, 0] = 0.3, np.linspace(-1, 1, 27).reshape(3, 3, 3)
    for spacing in ("keep", [1, 1, 1], [2.5, 1.5, 3], [0.7, 0.7, 0.7]):
        model = walk.write("soft.safetensors", model_bytes(kernel, [0.5, -1, 0.2], ["background", "one", "two"],
                                                           {"spacing_mm": spacing}))
        for patch in ("whole", "16,16,16"):
            out = walk.path("soft")
            shutil.rmtree(out, ignore_errors=True)

            def right(_):
                labels = np.asanyarray(nibabel.load(out / "scan.nii.gz").dataobj)
                soft = np.asanyarray(nibabel.load(out / "scan_prob.nii.gz").dataobj)
                return [None if np.array_equal(soft.argmax(-1), labels) else "labels are not the argmax",
                        None if np.allclose(soft.sum(-1), 1, atol=1e-5) else "sums are not 1"]
            walk.check(f"spacing {spacing}, {patch}", ["segment", "-m", model, "-i", "scan.nii.gz", "-o", out,
                                                       "--patch", patch, "--save-probabilities"], right=right)
    for name in ("best", "last"):
        header, data = read_tensors(walk.path(f"run/{name}.safetensors"))
        walk.claim(f"{name}.safetensors is whole", walk.run(["info", f"run/{name}.safetensors"]), lambda _: None
                   if checksum(header, data) == header["__metadata__"]["checksum"] else "another checksum")


def a_resume_is_the_same_run(walk):
    """What cannot change is refused with old and new value and leaves the folder; what can is taken over."""
    for change, says in [("seed=3", "seed"), ("net.width=8", "width"), ("net.depth=2", "depth"),
                         ("data.window=[0,1]", "window"), ("data.spacing_mm=[1,1,1]", "spacing_mm"),
                         ("loss.focal_weight=1", "focal_weight"), ("augment.preset=han", "augment"),
                         ("sampling.centre=class", "centre"), ("validation.fraction=0.5", "fraction"),
                         ("curriculum.0.epochs=1", "epochs"), ("curriculum.0.patch=whole", "patch"),
                         ("curriculum.0.batch=2", "batch"), ("optimizer.lr=1e-6", "optimizer"),
                         ("curriculum=[]", "curriculum"), ("optimizer.name=sgd", "optimizer")]:
        run = walk.copy(walk.path("run"), "refused_resume")
        walk.check(f"a resume with {change}", ["train", "--resume", "-o", run, "--set", change], code=2, says=says,
                   keeps=run)
        walk.check("which goes on as before", ["train", "--resume", "-o", run])
    run = walk.copy(walk.path("run"), "taken_resume")

    def rates(_):
        found = [float(row.split(",")[3]) for row in (run / "metrics.csv").read_text().splitlines()[1:]]
        return None if found == [1e-3, 1e-3, 1e-5, 1e-5] else f"rates {found}"
    walk.check("more epochs at another rate", ["train", "--resume", "-o", run, "--set", "curriculum.0.epochs=4",
                                               "--set", "optimizer.lr=1e-5"], right=rates)
    folder = three_cases(walk, "touched")
    first = walk.path("touched_run")
    walk.check("a run", ["train", "-d", folder, "-c", "c.json", "-o", first])
    for name in ("imagesTr/a.nii.gz", "labelsTr/b.nii.gz"):
        kept = (folder / name).read_bytes()
        values = step_volume()
        values[1, 1, 1] = 1
        write_nifti(folder / name, values if "images" in name else (values > 0).astype("uint8"))
        walk.check(f"after a change of {name}", ["train", "--resume", "-o", first, "--set", "curriculum.0.epochs=3"],
                   code=(2, 3), says=name, keeps=first)
        (folder / name).write_bytes(kept)
    moved = walk.copy(folder, "touched_moved")
    walk.check("after the data set moved", ["train", "--resume", "-o", first, "-d", moved, "--set",
                                            "curriculum.0.epochs=3"])


def strange_values_are_told(walk):
    """Another unit, another scale, an inverted image: segment and check -m warn; the training's own cases do not."""
    source = sorted(walk.path("data/imagesTr").glob("*.nii.gz"))[0]
    image = nibabel.load(source)
    values = image.get_fdata()
    for claim, changed in {"times 10": values * 10, "plus 3000": values + 3000, "inverted": -values,
                           "zero to one": (values + 1024) / 2000, "constant": values * 0 + 5}.items():
        file = walk.path("strange.nii.gz")
        nibabel.save(nibabel.Nifti1Image(changed.astype("float32"), image.affine), file)
        walk.check(f"{claim}: check -m", ["check", file, "-m", "run"], says="warning:")
        warned = lambda r: None if r.json["cases"][0]["intensities"]["warnings"] else "no warning"
        walk.check(f"{claim}: segment", ["segment", "-m", "run", "-i", file, "-o", "strange_out", "--json"],
                   right=warned)
    for case in sorted(walk.path("data/imagesTr").glob("*.nii.gz")):
        walk.check("a case of the training", ["check", case, "-m", "run"], not_says="warning:")


def json_is_one_document(walk):
    """Standard output is one JSON document; errors leave it empty and are one line."""
    for args in (["check", "data"], ["info", "run"], ["plan", "--devices", "1", "--device-memory", "8GiB"],
                 ["simulate", "--stages", "3", "--microbatches", "4"], ["simulate", "--paper"],
                 ["evaluate", "-p", "made", "-r", "data/labelsTs"],
                 ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", "json_out"]):
        walk.check("--json", [*args, "--json"], right=lambda r: None if isinstance(r.json, dict) else "no object")
    for args in (["info", "absent"], ["check", "--absent"], ["train"], ["simulate", "--stages", "0"],
                 ["segment", "-m", "run", "-i", "absent", "-o", "json_out2"]):
        walk.check("an error", [*args, "--json"], code=(2, 3), right=lambda r: [
            None if not r.out else "standard output is not empty",
            None if len(r.err.strip().splitlines()) == 1 else "more than a line"])
    walk.claim("config.json says what was trained", walk.run(["info", "run"]), lambda _: None if json.loads(walk.path(
        "run/config.json").read_text())["curriculum"][0]["epochs"] == CONFIG["curriculum"][0]["epochs"] else "not so")
    walk.check("limits: a name of 300 bytes", ["info", "n" * 300], code=3, says="too long")
    walk.check("a list of one case", ["check", three_cases(walk, "few_cases", test=[entry("a")["image"]])], code=3,
               says="leak")


LINES = {"R1": [one_run_one_job, changed_results_stay], "R2": [every_file_is_accounted_for],
         "R3": [padding_is_never_truth], "R4": [geometry_is_the_header_s], "R5": [what_is_saved_agrees],
         "R6": [a_resume_is_the_same_run], "R8": [strange_values_are_told], "R9": [json_is_one_document]}
