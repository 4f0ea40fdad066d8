"""C, data sets and words: what is a fault and what is a note, and what a user is told who typed something else."""

import csv
import gzip
import json
import os
import pty
import re
import unicodedata

import numpy as np
from crash_data import CONFIG, data_set, entry, named_case, three_cases
from volumes import step_volume, write_nifti


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def negatives_are_notes(walk):
    """A case without foreground is a note; a data set without any is a fault of check and train."""
    folder = three_cases(walk, "negatives")
    empty = step_volume().astype("uint8") * 0
    write_nifti(folder / "labelsTr/a.nii.gz", empty)
    walk.check("one negative", ["check", folder], says=["no faults", "note"])
    for case in "bc":
        write_nifti(folder / f"labelsTr/{case}.nii.gz", empty)
    walk.check("no foreground at all", ["check", folder], code=3, says="foreground")
    walk.check("no foreground at all", ["train", "-d", folder, "-c", "c.json", "-o", "negatives_run"], code=3,
               says="foreground", keeps=walk.path("negatives_run"))


def names_in_metrics_are_quoted(walk):
    """A label's name with commas and quotes stays one column of metrics.csv."""
    for name in ["a, b", 'the "left"', "x;y", " spaced ", "ü, é"]:
        folder = three_cases(walk, "quoted", labels={"0": "background", "1": name})
        run = walk.path("quoted_" + str(len(name)) + name[:1].strip('"'))
        walk.check(f"a label called {name!r}", ["train", "-d", folder, "-c", "c.json", "-o", run, "--set",
                   "curriculum.0.epochs=1"], right=lambda _: None if next(csv.reader(
                       (run / "metrics.csv").open(newline="")))[-1] == "dice_" + name else "another column")


def channels_are_counted_by_name(walk):
    """A wrong number of channels names the file, in check, train and segment."""
    folder = three_cases(walk, "channels")
    write_nifti(folder / "imagesTr/b.nii.gz", step_volume()[..., None].repeat(2, axis=3))
    for args in (["check", folder], ["train", "-d", folder, "-c", "c.json", "-o", "channels_run"],
                 ["segment", "-m", "run", "-i", folder / "imagesTr/b.nii.gz", "-o", "channels_out"]):
        walk.check("two channels", args, code=3, says="imagesTr/b.nii.gz", keeps=walk.path("channels_run"))


def leaks_are_faults(walk):
    """One image in training and test, as file or as voxels in another file; one label for two cases."""
    folder = three_cases(walk, "leaks")
    image = folder / "imagesTr/a.nii.gz"
    for kind, content in {"copied": image.read_bytes(), "packed anew": gzip.compress(
            gzip.decompress(image.read_bytes()), 9)}.items():
        walk.write("leaks/imagesTs/x.nii.gz", content)
        three_cases(walk, "leaks", test=["imagesTs/x.nii.gz"])
        walk.check(f"{kind}", ["check", folder], code=3,
                   says=["imagesTs/x.nii.gz", "a (training)", "x (test)"])
    three_cases(walk, "leaks", test=["imagesTr/a.nii.gz"])
    walk.check("the same file in both", ["check", folder], code=3, says="a.nii.gz")
    for kind, training in {"one label": [entry("a"), {**entry("b"), "label": "labelsTr/a.nii.gz"}, entry("c")],
                           "an image as label": [entry("a"), {**entry("b"), "label": "imagesTr/b.nii.gz"}, entry("c")],
                           "a case twice": [entry("a"), entry("a"), entry("c")]}.items():
        folder = data_set(walk, "leaks2", training)
        walk.check(kind, ["check", folder], code=3, says=".nii.gz")
        walk.check(kind, ["train", "-d", folder, "-c", "c.json", "-o", "leaks_run"], code=3,
                   keeps=walk.path("leaks_run"))
    folder = data_set(walk, "leaks2", [{"image": "labelsTr/a.nii.gz", "label": "imagesTr/a.nii.gz"}, entry("b"),
                                       entry("c")])
    many = np.arange(20 * 18 * 16, dtype="int16").reshape(20, 18, 16) - 1000
    write_nifti(folder / "imagesTr/a.nii.gz", many)
    walk.check("image and label swapped", ["check", folder], code=3, says="exchange")


def layouts_of_others_are_read(walk):
    """nnU-Net v1 and v2, backslashes, UTF-16, both forms of Unicode, an ending without its dot."""
    folder = three_cases(walk, "old_names", modality={"0": "CT"})
    for case in "abc":
        os.rename(folder / f"imagesTr/{case}.nii.gz", folder / f"imagesTr/{case}_0000.nii.gz")
    walk.check("nnU-Net v1", ["check", folder], says="no faults")
    folder = data_set(walk, "backslash", [{k: v.replace("/", "\\") for k, v in entry(case).items()} for case in "abc"])
    walk.check("backslashes", ["check", folder], says="no faults")
    folder = three_cases(walk, "endings", channel_names={"0": "CT"}, labels={"background": 0, "organ": 1})
    for case in "abc":
        os.rename(folder / f"imagesTr/{case}.nii.gz", folder / f"imagesTr/{case}_0000.nii.gz")
    for ending in ("nii.gz", ".nii.gz"):
        walk.write("endings/dataset.json", {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1},
                                            "numTraining": 3, "file_ending": ending})
        walk.check(f"file_ending {ending}", ["check", folder, "--json"], right=lambda r: None if r.json["cases"] == 3
                   else f"{r.json['cases']} cases")
    text = (three_cases(walk, "utf") / "dataset.json").read_text()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        walk.write("utf/dataset.json", text.encode(encoding))
        walk.check(encoding, ["check", walk.path("utf")], code=3, says="UTF")
    walk.write("utf/dataset.json", text.encode("utf-8-sig"))
    walk.check("UTF-8 with its mark", ["check", walk.path("utf")], says="no faults")
    for stored, listed in [("NFC", "NFD"), ("NFD", "NFC")]:
        name = unicodedata.normalize(listed, "Jürgen")
        folder = data_set(walk, "forms_" + stored, [{"image": f"imagesTr/{name}.nii.gz", "label": entry("a")["label"]},
                                                    entry("b"), entry("c")])
        os.rename(folder / "imagesTr/a.nii.gz", folder / f"imagesTr/{unicodedata.normalize(stored, 'Jürgen')}.nii.gz")
        walk.check(f"{listed} listed, {stored} stored", ["check", folder], says="no faults")
    walk.check("a plain name of nnU-Net's table", ["check", named_case(walk, "table", "case_1")], says="no faults")


def all_faults_before_training(walk):
    """train names every fault of the data in one go, and writes nothing."""
    folder = three_cases(walk, "faulty")
    walk.write("faulty/imagesTr/a.nii.gz", b"cut")
    (folder / "labelsTr/b.nii.gz").unlink()
    write_nifti(folder / "labelsTr/c.nii.gz", step_volume(high=9).astype("uint8"))
    for args in (["check", folder], ["train", "-d", folder, "-c", "c.json", "-o", "faulty_run"]):
        walk.check("three faults", args, code=3, says=["imagesTr/a.nii.gz", "labelsTr/b.nii.gz", "labelsTr/c.nii.gz"],
                   keeps=walk.path("faulty_run"))


def folds_and_held_out_cases(walk):
    """Held-out cases are named; splits_final.json is read; a fold that is not there is refused with what is."""
    folder = three_cases(walk, "folds")
    walk.write("folds/splits_final.json", [{"train": ["a", "b"], "val": ["c"]}, {"train": ["b", "c"], "val": ["a"]}])
    for fold, held_out in [(0, "c"), (1, "a")]:
        run = walk.path(f"fold_{fold}")
        walk.check("a fold of splits_final.json", ["train", "-d", folder, "-c", "c.json", "-o", run, "--fold", fold,
                   "--set", "curriculum.0.epochs=1"], says="held out", right=lambda _: None if json.loads(
                       (run / "split.json").read_text())["validation"] == [held_out] else "other cases")
    walk.check("a fold that is not there", ["train", "-d", folder, "-c", "c.json", "-o", "fold_7", "--fold", "7"],
               code=(2, 3), says=["fold", "splits_final.json"], keeps=walk.path("fold_7"))
    walk.write("folds/splits_final.json", [{"train": ["a", "x"], "val": ["c"]}])
    walk.check("a fold of other cases", ["train", "-d", folder, "-c", "c.json", "-o", "fold_8", "--fold", "0"],
               code=(2, 3), says="splits_final.json", keeps=walk.path("fold_8"))


MEANT = {("segmnt",): "lamp segment", ("trian",): "lamp train", ("predict",): "lamp segment",
         ("eval",): "lamp evaluate", ("chek",): "lamp check", ("inference",): "lamp segment", ("fit",): "lamp train", ("test",): "lamp evaluate",
         ("simulat",): "lamp simulate", ("validate",): "lamp check", ("train", "--epochs", "3"): "curriculum.0.epochs",
         ("train", "--lr", "1"): "optimizer.lr", ("train", "--batch-size", "1"): "curriculum.0.batch",
         ("train", "--gpu", "1"): "--device", ("segment", "--outptu", "x"): "--output",
         ("segment", "--modle", "x"): "--model", ("segment", "--patch-size", "1,1,1"): "--patch",
         ("segment", "--save-softmax",): "--save-probabilities", ("train", "--continue"): "--resume",
         ("check", "--orientatoin", "sform"): "--orientation", ("evaluate", "--gt", "x"): "--reference"}
KEYS = {"optimizer.learning_rate": "lr", "optimizer.lrr": "lr", "learning_rate": "optimizer.lr", "lr": "optimizer.lr",
        "epochs": "curriculum.0.epochs", "batch_size": "curriculum.0.batch", "patch_size": "curriculum.0.patch",
        "num_epochs": "curriculum.0.epochs", "model": "net", "roi_size": "curriculum.0.patch", "net.widht": "width",
        "data.windw": "window", "data.spacing": "spacing_mm", "validaton.fraction": "validation", "sed": "seed",
        "augmentation": "augment", "num_workers": "loader.threads", "fold": "validation.fold",
        "execution.devices": "device", "curriculum.0.epoch": "epochs", "optimiser.lr": "optimizer",
        "loss.focal": "focal_weight", "gpu": "execution.device", "pixdim": "data.spacing_mm"}


def did_you_mean(walk):
    """Commands, options and keys that do not exist are answered with the one that was meant."""
    for words, meant in MEANT.items():
        walk.check("did you mean", list(words), code=2, says=[words[1] if len(words) > 1 else words[0], meant])
    for key, meant in KEYS.items():
        walk.check("did you mean", ["train", "-d", "data", "-c", "c.json", "-o", "meant", "--set", f"{key}=1"], code=2,
                   says=[f'"{meant}', "did you mean"], keeps=walk.path("meant"))
    odd = walk.write("odd.json", {**CONFIG, "optimizer": {"learning_rate": 1}})
    walk.check("in a file", ["train", "-d", "data", "-c", odd, "-o", "meant"], code=2, says='"lr"')


def files_in_the_wrong_place(walk):
    """An image given as a model, a model as an image, a configuration as a data set: told what it is."""
    for args, code, says in [
            (["info", "scan.nii.gz"], 3, "compressed"), (["info", "c.json"], 3, "JSON"),
            (["info", write_nifti(walk.path("plain.nii"), step_volume())], 3, "NIfTI"),
            (["check", "c.json"], 3, "configuration"), (["train", "-d", "data", "-c", "scan.nii.gz", "-o", "wrong"], 2,
                                                        "compressed"),
            (["segment", "-m", "run", "-i", "run/best.safetensors", "-o", "wrong"], (2, 3), "best.safetensors"),
            (["segment", "-m", "data", "-i", "scan.nii.gz", "-o", "wrong"], (2, 3), "data"),
            (["train", "-d", "run", "-c", "c.json", "-o", "wrong"], 3, "run"),
            (["plan", "--devices", "cpu", "--device-memory", "8GiB"], 2, "--device"),
            (["plan", "--devices", "0", "--device-memory", "8GiB"], 2, "--devices"),
            (["check", walk.path("home")], 3, "home"), (["check", walk.path("nowhere")], 3, "nowhere")]:
        walk.check("the wrong file", args, code=code, says=says, not_says="Could not convert",
                   keeps=walk.path("wrong"))


def words_of_help(walk):
    """--tta is off by default; singular and plural; sizes of different files are not mixed."""
    walk.check("help of --tta", ["segment", "--help"], says="Default: off", not_says="TEXT=x,y,z")
    write_nifti(walk.path("sizes/a.nii.gz"), step_volume((30, 10, 12)))
    write_nifti(walk.path("sizes/b.nii.gz"), step_volume((12, 28, 14)))
    walk.check("two images", ["check", walk.path("sizes")], says="2 images", not_says=["30x28", "12x10", "2 image "])
    walk.check("one image", ["check", walk.path("sizes/a.nii.gz")], says="1 image", not_says="1 images")


def permissions_are_told(walk):
    """What may not be read or written is called so, and nobody is told to repair it."""
    secret = write_nifti(walk.path("secret/scan.nii.gz"), step_volume())
    secret.chmod(0)
    for path in [walk.folder, *walk.folder.iterdir()]:
        if path.is_dir():
            path.chmod(0o755)
    wrap = "setpriv --reuid=65534 --regid=65534 --clear-groups {}" if os.getuid() == 0 else "{}"
    walk.check("an image", ["check", secret], code=3, says=["permission denied", "scan.nii.gz"],
               not_says="repair the file", wrap=wrap)
    walk.check("an output", ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", walk.path("secret/out")], code=(1, 2),
               says="permission denied", wrap=wrap)


def colours_are_for_terminals(walk):
    """A terminal gets colours; with NO_COLOR, and in a pipe, nothing has any."""
    for claim, changes, coloured in [("a terminal", {"NO_COLOR": ""}, True), ("NO_COLOR=1", {"NO_COLOR": "1"}, False)]:
        ours, theirs = pty.openpty()
        job = walk.start(["segment", "-m", "run", "-i", "scan.nii.gz", "-o", "coloured"],
                         env={**changes, "TERM": "xterm"}, stdout=theirs, stderr=theirs)
        job.wait(60)
        text = os.read(ours, 100_000).decode(errors="replace")
        os.close(theirs)
        result = walk.run(["check", "absent.nii.gz"])
        walk.claim(claim, result, None if bool(COLOUR.search(text)) == coloured else f"colours: {not coloured}")
    walk.check("a pipe", ["check", "absent.nii.gz"], code=3, not_says="\x1b[")


def plans_of_presets(walk):
    """`plan -c` plans every stage, and with -d says the time in all."""
    stages = [{"patch": [16, 16, 16], "batch": 2, "epochs": 3}, {"patch": [24, 24, 24], "batch": 1, "epochs": 2}]
    config = walk.write("two.json", {**CONFIG, "curriculum": stages})
    ask = ["plan", "-c", config, "--costs", "shapes", "--device", "cpu", "--json"]
    walk.check("every stage", ask, right=lambda r: None if [s["patch"] for s in r.json["curriculum"]] == [
        [16, 16, 16], [24, 24, 24]] else "other stages")

    def total(result):
        rows, whole = result.json["curriculum"], result.json["total_s"]
        # Three training cases, one of them held out: two cases, so 1 step of 2, and 2 steps of 1.
        steps = [row["steps_per_epoch"] for row in rows]
        parts = sum(row["seconds"] for row in rows)
        return None if steps == [1, 2] and abs(parts - whole) <= 1e-6 * whole else f"{steps}, {parts}, {whole}"
    walk.check("the time in all", [*ask, "-d", "data"], right=total)


LINES = {"C-data": [negatives_are_notes, names_in_metrics_are_quoted, channels_are_counted_by_name, leaks_are_faults,
                    layouts_of_others_are_read, all_faults_before_training, folds_and_held_out_cases],
         "C-words": [files_in_the_wrong_place, words_of_help, permissions_are_told, colours_are_for_terminals,
                     plans_of_presets],
         "R10": [did_you_mean]}
