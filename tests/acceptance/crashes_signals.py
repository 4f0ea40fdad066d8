"""B6 and B13: signals, closed pipes, files that are no files, and machines with little of everything."""

import os
import re
import signal
import socket
import time

from crash_data import CONFIG, config_with
from walk import Result, snapshot

SIGNALS = {signal.SIGHUP: 143, signal.SIGTERM: 143, signal.SIGINT: 130}
TRAIN = ["train", "-d", "data", "-c", "long.json"]


def long_training(walk, epochs=4000):
    """Writes `long.json`, a training that no check waits for."""
    walk.write("long.json", config_with(curriculum=[{**CONFIG["curriculum"][0], "epochs": epochs}],
                                        validation={"every_epochs": 100000, "fraction": 0.3}))


def rows_of(run):
    """Finished epochs of a run."""
    file = run / "metrics.csv"
    return len(file.read_text().splitlines()) - 1 if file.exists() else 0


def wait_for(happened, seconds=60):
    """Waits until this is so; False if it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(0.05)
    return False


def finished(job, command, seconds=60):
    """The result of a job that was started, as a check sees it."""
    out, err = job.communicate(timeout=seconds)
    return Result(command, job.returncode, out or "", err or "", 0)


def signals_save_the_training(walk):
    """HUP, TERM and INT end a training with its state saved; a resume comes to the bits of an unbroken run."""
    long_training(walk)
    epochs = 0
    for number, code in SIGNALS.items():
        run = walk.path(f"stopped_{number.name}")
        job = walk.start([*TRAIN, "-o", run])
        wait_for(lambda: rows_of(run) >= 2)
        job.send_signal(number)
        result = finished(job, f"lamp train -o {run.name} & kill -{number.name}")
        walk.claim(f"{number.name} ends a training", result, lambda r: [
            None if r.code == code else f"exit {r.code} instead of {code}",
            None if (run / "state/state.safetensors").exists() else "no state",
            None if not (run / "lock").exists() else "the lock is there"])
        epochs = max(epochs, rows_of(run) + 1)
    wanted = walk.path("never_stopped")
    set_epochs = ["--set", f"curriculum.0.epochs={epochs}"]
    walk.check("a run never stopped", [*TRAIN, "-o", wanted, *set_epochs])
    for number in SIGNALS:
        run = walk.path(f"stopped_{number.name}")
        walk.check(f"after {number.name}: the same bits", ["train", "--resume", "-o", run, *set_epochs], right=lambda _:
                   None if (run / "last.safetensors").read_bytes() == (wanted / "last.safetensors").read_bytes()
                   else "other weights than the run that was never stopped")


def hang_up_under_nohup_is_ignored(walk):
    """`nohup` means that a closed terminal does not stop the work."""
    long_training(walk, 60)
    run = walk.path("nohup_run")
    job = walk.start([*TRAIN, "-o", run], preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for(lambda: rows_of(run) >= 2)
    job.send_signal(signal.SIGHUP)
    walk.claim("nohup", finished(job, "nohup lamp train & kill -HUP"), lambda r: [
        None if r.code == 0 else f"exit {r.code}", None if rows_of(run) == 60 else f"{rows_of(run)} epochs"])


def closed_pipes_do_not_stop_the_work(walk):
    """A reader of messages that goes away, and outputs that are closed from the start."""
    for name, wrap in [("head", "{} -v 2>&1 | head -n 1; exit ${PIPESTATUS[0]}"),
                       ("true", "{} -v 2>&1 | true; exit ${PIPESTATUS[0]}"),
                       ("head of messages alone", "{} -v 2> >(head -n 1)"),
                       ("no standard error", "{} 2>&-"), ("no standard input", "{} <&-"),
                       ("no standard output", "{} >&-"), ("nothing at all", "{} <&- >&- 2>&-")]:
        run = walk.path("pipe_" + re.sub(r"\W", "_", name))
        walk.check(f"train | {name}", ["train", "-d", "data", "-c", "c.json", "-o", run], wrap=wrap,
                   right=lambda _: None if rows_of(run) == 2 else f"{rows_of(run)} epochs", plain_errors=False)
    walk.check("segment | true", ["segment", "-m", "run", "-i", "data/imagesTr", "-o", "pipe_maps", "-v"],
               wrap="{} 2>&1 | true; exit ${PIPESTATUS[0]}", plain_errors=False,
               right=lambda _: None if len(list(walk.path("pipe_maps").glob("*.nii.gz"))) == 3 else "maps are missing")


def full_outputs_are_errors(walk):
    """Standard output that cannot be written ends with 1 and says so, for each command that prints there."""
    for args in (["--version"], ["--help"], ["train", "--help"], ["info", "run"], ["info", "--net", "unet"],
                 ["check", "data"], ["check", "data", "--json"], ["simulate", "--stages", "2", "--microbatches", "2"],
                 ["simulate", "--paper"], ["evaluate", "-p", "made", "-r", "data/labelsTs", "--json"],
                 ["plan", "--devices", "1", "--device-memory", "8GiB"],
                 ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", "full_maps", "--json"]):
        with open("/dev/full", "w") as full:
            walk.check("a full standard output", args, code=1, says="cannot write", stdout=full)
    walk.check("a closed pipe for JSON", ["check", "data", "--json"], code=1, plain_errors=False,
               wrap="{} | true; exit ${PIPESTATUS[0]}")


def other_commands_hear_signals(walk):
    """TERM and HUP end long work soon, with what commands.md says is left; the next call finishes it."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        folder = walk.path(f"synth_{number.name}")
        args = ["synth", "--kind", "liver", "-o", folder, "--train", "300", "--test", "0", "--size", "32,32,32"]
        job = walk.start(args)
        wait_for(lambda: any(folder.glob("imagesTr/*.nii.gz")))
        job.send_signal(number)
        walk.claim(f"synth and {number.name}", finished(job, f"lamp synth & kill -{number.name}"), lambda r: [
            None if r.code == SIGNALS[number] else f"exit {r.code}",
            None if not (folder / "dataset.json").exists() else "the list of cases is there"])
    maps = walk.path("stopped_maps")
    job = walk.start(["segment", "-m", "run", "-i", walk.path("synth_SIGTERM/imagesTr"), "-o", maps])
    wait_for(lambda: any(maps.glob("*.nii.gz")))
    job.send_signal(signal.SIGTERM)
    walk.claim("segment and SIGTERM", finished(job, "lamp segment & kill -TERM"), lambda r: [
        None if r.code in (0, 143) else f"exit {r.code}",
        None if (maps / "segment.json").exists() else "no segment.json",
        None if r.code == 0 or '"not_done": []' not in (maps / "segment.json").read_text() else "nothing in not_done"])


def pipes_and_devices(walk):
    """A name for each thing that is no file: none of them makes a command wait or read for ever."""
    pipe, link = walk.path("odd/pipe"), walk.path("odd/link")
    for path in (pipe, walk.path("odd/pipe.nii.gz"), walk.path("odd/pipe.json"), walk.path("odd/pipe.safetensors"),
                 walk.path("odd/pipe.nrrd"), walk.path("odd/pipe.mha")):
        if not path.exists():
            os.mkfifo(path)
    link.symlink_to("link")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(walk.path("odd/socket")))
    listener.close()
    folder = walk.path("odd/folder.nii.gz")
    folder.mkdir(exist_ok=True)
    return [walk.path("odd", name) for name in ("pipe", "pipe.nii.gz", "pipe.json", "pipe.safetensors", "pipe.nrrd",
                                                "pipe.mha", "link", "socket", "absent")] + ["/dev/zero", "/dev/null"]


def what_is_no_file_is_refused(walk):
    """As an image, a list, a configuration, a model, a plan and an experiment: at once, with its name."""
    for thing in pipes_and_devices(walk):
        name = str(thing).rsplit("/", maxsplit=1)[-1]
        for args, code in [(["check", thing], 3), (["segment", "-m", "run", "-i", thing, "-o", "odd_out"], 3),
                           (["segment", "-m", thing, "-i", "scan.nii.gz", "-o", "odd_out"], (2, 3)),
                           (["train", "-d", thing, "-c", "c.json", "-o", "odd_out"], 3),
                           (["train", "-d", "data", "-c", thing, "-o", "odd_out"], (2, 3)),
                           (["evaluate", "-p", thing, "-r", "made/liver_004.nii.gz"], (2, 3)),
                           (["info", thing], (2, 3))]:
            walk.check(f"{name} as an input", args, code=code, says=name, timeout=20, keeps=walk.path("odd"))


def pipes_in_folders_are_named(walk):
    """A FIFO among images is left out by name, and a data set that lists one has a fault."""
    folder = walk.copy(walk.path("data/imagesTs"), "pipe_images")
    os.mkfifo(folder / "more.nii.gz")
    walk.check("a pipe among images", ["segment", "-m", "run", "-i", folder, "-o", "pipe_out"], code=(0, 3, 4),
               says="more.nii.gz", timeout=20)
    data = walk.copy(walk.path("data"), "pipe_set")
    listed = data / "imagesTr/liver_001.nii.gz"
    listed.unlink()
    os.mkfifo(listed)
    for args in (["check", data], ["train", "-d", data, "-c", "c.json", "-o", "pipe_run"]):
        walk.check("a pipe in the list", args, code=3, says="liver_001.nii.gz", timeout=20, keeps=walk.path("pipe_run"))


def little_of_everything(walk):
    """Threads, address space and open files: one line and a code of the contract, never an abort."""
    for threads in (0, -1, 1025, 100_000, 2**31, 2**63):
        walk.check("loader threads", [*TRAIN, "-o", "few", "--set", f"loader.threads={threads}"], code=2,
                   says="threads", keeps=walk.path("few"))
    for threads in ("0", "-1", "4097", "100000", "1e3", "many"):
        walk.check("threads", ["info", "run", "--threads", threads], code=2, says="--threads")
    for megabytes in (450, 500, 600, 700):
        for args in (["--version"], ["check", "data"], ["segment", "-m", "run", "-i", "scan.nii.gz", "-o", "little"],
                     ["synth", "--kind", "twins", "-o", "little_set", "--train", "1", "--test", "0"]):
            walk.check(f"{megabytes} MB of address space", args, code=(0, 1, 3, 5),
                       wrap=f"ulimit -v {megabytes}000; exec {{}}")
    for files in (3, 5, 8, 12, 20, 40):
        walk.check(f"{files} open files", ["segment", "-m", "run", "-i", "data/imagesTr", "-o", "little"],
                   code=(0, 1, 3, 4, 127), wrap=f"ulimit -n {files}; exec {{}}", plain_errors=False)
    before = snapshot(walk.path("data"))
    walk.check("files of at most 20 kB", ["train", "-d", "data", "-c", "c.json", "-o", "small_files"], code=1,
               says="lamp:", wrap="ulimit -f 20; exec {}",
               right=lambda _: None if snapshot(walk.path("data")) == before else "the data set was changed")


LINES = {
    "B6": [signals_save_the_training, hang_up_under_nohup_is_ignored, closed_pipes_do_not_stop_the_work,
           full_outputs_are_errors, other_commands_hear_signals],
    "B13": [what_is_no_file_is_refused, pipes_in_folders_are_named, little_of_everything],
}
