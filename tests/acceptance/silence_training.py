"""Lines A2 and A3: padding is never truth, and the best network is defined."""

import json

import numpy as np

import known_models
import volumes
from material import config_file, data_set, dice, fresh, rows_of

PLAIN = {"validation": {"fraction": 0}, "augment": {"preset": "none"}}


def losses(walk, run):
    """The loss column of a run's metrics.csv, as written."""
    return [row["loss"] for row in rows_of(walk.path(run, "metrics.csv"))]


def run_check(walk, claim, run, data, right=None, timeout=300, **changes):
    """One training from nothing as a check."""
    config = config_file(walk, f"{run}.json", **changes)
    return walk.check(claim, ["train", "-d", data, "-c", config, "-o", fresh(walk, run)], timeout=timeout, right=right)


def a_patch_beyond_the_volume_trains_as_the_volume(walk):
    """Patches that are larger than every volume give the losses of whole volumes, to the last digit."""
    data_set(walk, "cubes", train=3, test=0)
    run_check(walk, "whole volumes of 24³", "w24", "cubes", **PLAIN)
    whole = losses(walk, "w24")
    for patch in ([24, 24, 24], [24, 24, 32], [32, 24, 24], [24, 40, 24], [48, 48, 48], [100, 24, 64]):
        run_check(
            walk,
            f"patch {patch} on 24³",
            "beyond",
            "cubes",
            **PLAIN,
            curriculum=[{"patch": patch, "batch": 1, "epochs": 2}],
            right=lambda _: (
                None if losses(walk, "beyond") == whole else f"losses {losses(walk, 'beyond')} instead of {whole}"
            ),
        )
    data_set(walk, "slabs", train=3, test=0, sizes=((24, 24, 12),))
    run_check(walk, "whole volumes of 24 x 24 x 12", "slab", "slabs", **PLAIN)
    for patch in ([24, 24, 24], [48, 48, 48], [24, 24, 13]):
        run_check(
            walk,
            f"patch {patch} on 24 x 24 x 12",
            "beyond",
            "slabs",
            **PLAIN,
            curriculum=[{"patch": patch, "batch": 1, "epochs": 2}],
            right=lambda _: (
                None
                if losses(walk, "beyond") == losses(walk, "slab")
                else f"losses {losses(walk, 'beyond')} instead of {losses(walk, 'slab')}"
            ),
        )


def padding_does_not_cost_dice(walk):
    """Held-out Dice, counted by numpy, where patches, batches of two sizes and translations need padding: 0.9 or
    more, as with whole volumes one by one. Padding that counts in the loss costs 0.1 to 0.7."""
    learn = {
        "net": {"width": 8, "depth": 1},
        "optimizer": {"name": "adamw", "lr": 1e-2, "schedule": "cosine"},
        "validation": {"fraction": 0, "every_epochs": 1000},
        "execution": {"layout": "channels_last"},
    }
    data_set(walk, "learn", train=16, test=3)
    data_set(walk, "unequal", train=16, test=3, sizes=((24, 24, 24), (16, 20, 28), (24, 24, 30)))
    forms = {
        "patch 24": ("learn", {"patch": [24, 24, 24]}, {}),
        "patch 24 24 32": ("learn", {"patch": [24, 24, 32]}, {}),
        "patch 48": ("learn", {"patch": [48, 48, 48]}, {}),
        "unequal batches": ("unequal", {"patch": "whole", "batch": 2}, {}),
        "patch 32 of unequal volumes": ("unequal", {"patch": [32, 32, 32], "batch": 2}, {}),
        "translation 0.25": (
            "learn",
            {"patch": "whole"},
            {
                "preset": "none",
                "affine": {
                    "probability": 0.8,
                    "translation": 0.25,
                    "rotation_degrees": 0,
                    "shear_degrees": 0,
                    "scale": 0,
                },
            },
        ),
    }
    for form, (data, stage, augment) in forms.items():
        run_check(
            walk,
            f"train: {form}",
            "learned",
            data,
            **learn,
            augment=augment,
            timeout=400,
            curriculum=[{"batch": 1, "epochs": 25 * stage.get("batch", 1), **stage}],
        )
        fresh(walk, "out")
        walk.check(
            f"held-out Dice: {form}",
            ["segment", "-m", "learned", "-i", f"{data}/imagesTs", "-o", "out"],
            right=lambda _: low_dice(walk, data, ("t0", "t1", "t2"), 0.9),
        )


def low_dice(walk, data, cases, least):
    """What is wrong with label maps in out/ beside the truth, where the mean Dice is below a bound."""
    found = {
        case: dice(
            volumes.read_lps(walk.path("out", case + ".nii.gz"))[0],
            volumes.read_lps(walk.path(data, "labelsTs", case + ".nii.gz"))[0],
        )
        for case in cases
    }
    mean = np.mean(list(found.values()))
    return f"mean Dice {mean:.3f} of {found}" if mean < least else None


def the_best_network_is_defined_and_there(walk):
    """Held-out cases without foreground, no held-out cases: best.safetensors exists and is what the text names."""
    train_list = [{"image": f"imagesTr/a{i}.nii.gz", "label": f"labelsTr/a{i}.nii.gz"} for i in range(4)]
    for held, name in (((3,), "one empty case"), ((2, 3), "two empty cases"), ((1, 3), "one empty, one full")):
        data_set(walk, "empties", test=0, organ=lambda case: case not in (("a2", "a3") if held == (2, 3) else ("a3",)))
        listed = json.loads(walk.path("empties/dataset.json").read_text())
        listed["validation"] = [train_list[i] for i in held]
        listed["training"] = [train_list[i] for i in range(4) if i not in held]
        listed.pop("numTraining")
        walk.write("empties/dataset.json", listed)
        for epochs in (1, 3):
            config = config_file(walk, "best.json", curriculum=[{"patch": "whole", "epochs": epochs}])
            run = fresh(walk, "best")
            walk.check(
                f"{name}, {epochs} epochs",
                ["train", "-d", "empties", "-c", config, "-o", run, "--json"],
                right=lambda r: [
                    None if walk.path(r.json["model"]).exists() else "the model is not there",
                    None if (run / "last.safetensors").exists() else "no last.safetensors",
                    None if r.json["best_dice"] is not None else "no best_dice",
                ],
            )
            score_is_the_definition(walk, name, run, [f"a{i}" for i in held])


def score_is_the_definition(walk, name, run, held):
    """best_dice from label maps of the best network, by numpy: an empty case counts 0 if any voxel is found."""
    fresh(walk, "out")
    result = walk.check(
        f"segment of the held-out, {name}",
        [
            "segment",
            "-m",
            run,
            "-i",
            *[f"empties/imagesTr/{case}.nii.gz" for case in held],
            "-o",
            "out",
            "--patch",
            "whole",
        ],
    )
    scores, wrong = [], 0
    for case in held:
        found = volumes.read_lps(walk.path("out", case + ".nii.gz"))[0] == 1
        truth = volumes.read_lps(walk.path("empties/labelsTr", case + ".nii.gz"))[0] == 1
        if truth.any():
            scores.append(dice(found, truth))
        elif found.any():
            scores.append(0.0)
            wrong += int(found.sum())
    expected = np.mean(scores) if scores else 1.0
    config = json.loads(known_models.read_safetensors(run / "best.safetensors")[1]["config"])["provenance"]
    walk.claim(
        f"best Dice and false positives, {name}",
        result,
        [
            None if abs(config["validation_dice"] - expected) < 1e-5 else f"{config['validation_dice']} for {expected}",
            None if config["false_positives"] == wrong else f"{config['false_positives']} false positives for {wrong}",
        ],
    )
    rows = rows_of(run / "metrics.csv")
    best = max(float(row["dice_mean"]) for row in rows)
    walk.claim(
        f"the best epoch is the best of metrics.csv, {name}",
        result,
        (
            None
            if abs(float(rows[config["epoch"] - 1]["dice_mean"]) - best) < 1e-9
            else f"epoch {config['epoch']} of {rows}"
        ),
    )


def without_held_out_cases_the_latest_is_the_best(walk):
    """validation.fraction 0: best and last hold the same weights; the model named in JSON exists."""
    config = config_file(walk, "none.json", validation={"fraction": 0})
    run = fresh(walk, "latest")
    walk.check(
        "train without held-out cases",
        ["train", "-d", "data", "-c", config, "-o", run, "--json"],
        right=lambda r: [
            None if r.json["best_dice"] is None else f"best_dice {r.json['best_dice']}",
            None if walk.path(r.json["model"]).exists() else "the model is not there",
        ],
    )
    best, last = (known_models.read_safetensors(run / f"{name}.safetensors")[0] for name in ("best", "last"))
    walk.claim(
        "best is the latest",
        walk.run(["info", run]),
        None if all(np.array_equal(best[name], last[name]) for name in best | last) else "weights differ",
    )
    data_set(walk, "nothing", test=0, organ=lambda case: False)
    walk.check(
        "train where no case has foreground",
        ["train", "-d", "nothing", "-c", config, "-o", fresh(walk, "none")],
        code=3,
        says="foreground",
        right=lambda _: "made" if walk.path("none").exists() else None,
    )
    walk.check("check where no case has foreground", ["check", "nothing"], code=3, says="foreground")


LINES = {
    "A2": [a_patch_beyond_the_volume_trains_as_the_volume, padding_does_not_cost_dice],
    "A3": [the_best_network_is_defined_and_there, without_held_out_cases_the_latest_is_the_best],
}
