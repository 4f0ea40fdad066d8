"""Walks the built program as a user would, and counts what was right.

A check is one command: its exit code, the words it must say, the files it must leave alone, and a question about what
it made. Every check prints one line with the command and the last line the program printed. A crash, a C++ exception
that nobody caught, and an error that is not one line `lamp: ...` are wrong in every check.

A script of such checks looks like this:

    def a_foreign_file_stays(walk):
        '''A file that LAMP did not write is never replaced.'''
        note = walk.write("note.json", "{}")
        walk.check("evaluate -o", ["evaluate", "-p", "p", "-r", "r", "-o", note], code=2, says="note.json", keeps=note)

    if __name__ == "__main__":
        sys.exit(walk.main(__doc__, {"A1": [a_foreign_file_stays]}))

The standard library is enough here.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from collections import namedtuple
from pathlib import Path

Row = namedtuple("Row", "line claim command code last problems")
UNCAUGHT = re.compile(
    r"terminate called|core dumped|Segmentation fault|AddressSanitizer|runtime error:|Traceback|"
    r"std::(out_of_range|bad_alloc|length_error)|map::at|basic_string::|Exception raised from"
)


class Result:
    """What one command did: code (below 0: died of that signal), out, err, seconds, timed_out."""

    def __init__(self, command, code, out, err, seconds, timed_out=False):
        self.command, self.code, self.out, self.err = command, code, out, err
        self.seconds, self.timed_out = seconds, timed_out

    @property
    def text(self):
        """Everything that it printed, errors last."""
        return self.out + self.err

    @property
    def last(self):
        """The last line that it printed on standard error, else on standard output."""
        lines = [line for line in (self.err.strip() or self.out.strip()).splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    @property
    def json(self):
        """Standard output as one JSON document."""
        return json.loads(self.out)


def snapshot(path):
    """Every file below a path with its bytes' digest: what must be equal if nothing was touched."""
    path = Path(path)
    if path.is_symlink():
        return {str(path): "link " + os.readlink(path)}
    if path.is_file():
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}
    if not path.exists():
        return {str(path): "absent"}
    found = {str(path): "folder" if path.is_dir() else "special"}
    if path.is_dir():
        for child in sorted(path.iterdir()):
            found.update(snapshot(child))
    return found


def differences(before, after):
    """The names that were changed, removed or added between two snapshots."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def as_list(value):
    """A value as a list: None is empty, a text or a path is one."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def flat(value):
    """What lists in lists hold, as one list."""
    return [inner for item in value for inner in flat(item)] if isinstance(value, (list, tuple)) else [value]


class Walk:
    """Runs the program in a temporary folder and keeps a row for each check."""

    def __init__(self, program, folder):
        self.program, self.folder = Path(program).resolve(), Path(folder).resolve()
        self.line, self.rows, self.inputs = "", [], {}
        self.home = self.folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)

    def path(self, *parts):
        """A path in the temporary folder; its parent is made."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name, content):
        """Writes a file of text, bytes or (a dict or list) JSON in the temporary folder; returns its path."""
        path = self.path(name)
        if isinstance(content, (dict, list)):
            content = json.dumps(content, indent=1)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def copy(self, source, name):
        """A fresh copy of a file or folder under this name; returns its path."""
        target = self.path(name)
        if target.is_dir():
            shutil.rmtree(target)
        if Path(source).is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target)
        return target

    def environment(self, changes=None):
        """The environment of a command: few threads, a home of its own, no folder that nnU-Net set."""
        env = {
            **os.environ,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            **{k: str(v) for k, v in (changes or {}).items()},
        }
        env.pop("nnUNet_preprocessed", None) if "nnUNet_preprocessed" not in (changes or {}) else None
        return env

    def start(self, args, cwd=None, env=None, **popen):
        """Starts a command and returns at once; for jobs that are watched or stopped.

        A hang-up ends it, also where the walk itself runs under nohup, unless `preexec_fn` says otherwise."""
        command = [str(self.program), *map(str, args)]
        return subprocess.Popen(
            command,
            cwd=cwd or self.folder,
            env=self.environment(env),
            text=True,
            errors="replace",
            **{
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
                **popen,
            },
        )

    def run(self, args, cwd=None, env=None, timeout=120, stdin=None, stdout=None, wrap=None):
        """Runs a command to its end. `stdout` may be an open file; `wrap` is a shell text with {} for the command."""
        words = [str(self.program), *map(str, args)]
        if wrap:
            words = ["bash", "-c", wrap.replace("{}", shlex.join(words))]
        begin = time.monotonic()
        with subprocess.Popen(
            words,
            cwd=cwd or self.folder,
            env=self.environment(env),
            text=True,
            errors="replace",
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as job:
            try:
                out, err = job.communicate(stdin, timeout=timeout)
                timed_out = False
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                out, err = job.communicate()
                timed_out = True
        shown = self.shown(args) if not wrap else wrap.replace("{}", self.shown(args))
        return Result(shown, job.returncode, out or "", err or "", time.monotonic() - begin, timed_out)

    def shown(self, args):
        """The command as a user would type it in the temporary folder."""
        return "lamp " + shlex.join(str(a) for a in args).replace(str(self.folder) + "/", "")

    def check(self, claim, args, code=0, says=None, not_says=None, keeps=None, right=None, plain_errors=True, **run):
        """One check. `code` is one or several; `says` are texts (any case) or compiled patterns that must all occur,
        `not_says` must not; `keeps` are files and folders that must not change; `right(result)` returns what is wrong
        (None, a text or a list of texts). `plain_errors=False` drops the rule that an error ends in one line
        `lamp: ...`, for commands behind a pipe. Returns the Result."""
        before = {name: digest for path in as_list(keeps) for name, digest in snapshot(path).items()}
        result = self.run(args, **run)
        problems = self.faults_of(result, as_list(code), plain_errors)
        problems += [f"does not say {p!r}" for p in map(pattern, as_list(says)) if not p.search(result.text)]
        problems += [f"says {p!r}" for p in map(pattern, as_list(not_says)) if p.search(result.text)]
        after = {name: digest for path in as_list(keeps) for name, digest in snapshot(path).items()}
        problems += [f"changed {name}" for name in differences(before, after)]
        self.record(claim, result, problems + answers(right, result))
        return result

    def claim(self, claim, result, right):
        """A further check of what a command made: `right` is a function of the Result, or what is wrong."""
        self.record(claim, result, answers(right if callable(right) else (lambda _: right), result))

    def faults_of(self, result, codes, plain_errors):
        """What is wrong with any command: its code, a hang, a crash, an error of several lines."""
        problems = [] if result.code in codes else [f"exit {result.code} instead of {'/'.join(map(str, codes))}"]
        if result.timed_out:
            problems.append(f"did not end in {result.seconds:.0f} s")
        if UNCAUGHT.search(result.text):
            problems.append(f"crash text {UNCAUGHT.search(result.text).group(0)!r}")
        if plain_errors and result.code in (1, 2, 3, 5) and not result.last.startswith("lamp: "):
            problems.append("the last line is no 'lamp: ...'")
        return problems

    def record(self, claim, result, problems):
        """Keeps and prints a row."""
        shorten = lambda text: text.replace(str(self.folder) + "/", "")
        problems = [shorten(p) for p in problems]
        row = Row(self.line, claim, result.command, result.code, shorten(result.last), problems)
        self.rows.append(row)
        wrong = "" if not problems else "  <== " + "; ".join(problems)
        print(
            f"{'WRONG' if problems else 'right'} {row.line} {claim} | {row.command} | {row.code} | {row.last}{wrong}",
            flush=True,
        )

    def step(self, line, function):
        """Runs one function of checks; an exception in it is a wrong check, not the end of the walk."""
        self.line = line
        try:
            function(self)
        except Exception:
            where = traceback.format_exc().strip().splitlines()
            nothing = Result(f"({function.__name__})", 0, "", where[-1], 0)
            self.record("the script went through", nothing, ["; ".join(where[-3:])])


def pattern(text):
    """A text as a pattern of any case; a compiled pattern as it is."""
    return text if isinstance(text, re.Pattern) else re.compile(re.escape(str(text)), re.IGNORECASE)


def answers(right, result):
    """What `right` finds wrong, as a list; an exception in it (no such file, no JSON) is an answer too."""
    if right is None:
        return []
    try:
        return [str(answer) for answer in flat(right(result)) if answer]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def summary(rows):
    """Line -> checks, right, and an example: its first wrong check, else its first."""
    lines = {}
    for row in rows:
        lines.setdefault(row.line, []).append(row)
    return {
        line: {
            "checks": len(found),
            "right": sum(not row.problems for row in found),
            "example": next((row for row in found if row.problems), found[0])._asdict(),
        }
        for line, found in lines.items()
    }


def print_table(table):
    """A row a line: checks, right, an example command and what it printed."""
    print(f"\n{'line':6} {'checks':>6} {'right':>6}  example -> what it printed")
    for line, entry in table.items():
        example = entry["example"]
        print(f"{line:6} {entry['checks']:6} {entry['right']:6}  {example['command']} -> {example['last']}"[:400])
    print(f"{'all':6} {sum(e['checks'] for e in table.values()):6} {sum(e['right'] for e in table.values()):6}")


def main(title, lines, prepare=None, inputs=None):
    """The command line of a walk. `lines` maps a line's name to its functions of checks; `prepare(walk)` makes data
    before the first. `inputs` maps the names of further arguments to their help: `walk.inputs` holds their values.
    Returns the exit code: 1 if a check is wrong."""
    options = argparse.ArgumentParser(description=title, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", help="the built program, such as build/lamp")
    for name, help_text in (inputs or {}).items():
        options.add_argument(name, help=help_text)
    options.add_argument("--only", help="lines with commas, such as A1,A5")
    options.add_argument("--json", help="also write the counts and every wrong check to this file")
    options.add_argument("--keep", help="work in this new folder and keep it, instead of a temporary one")
    chosen = options.parse_args()
    wanted = chosen.only.split(",") if chosen.only else list(lines)
    if chosen.keep:
        Path(chosen.keep).mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        walk = Walk(chosen.program, chosen.keep or folder)
        walk.inputs = {name: getattr(chosen, name) for name in inputs or {}}
        if prepare:
            prepare(walk)
        for line in wanted:
            for function in lines[line]:
                walk.step(line, function)
    table, wrong = summary(walk.rows), [row._asdict() for row in walk.rows if row.problems]
    print_table(table)
    for row in wrong:
        print(f"WRONG {row['line']} {row['claim']}: {row['command']}: {'; '.join(row['problems'])}")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps({"lines": table, "wrong": wrong}, indent=1))
    return 1 if wrong or not walk.rows else 0
