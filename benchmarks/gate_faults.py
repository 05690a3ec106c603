"""Nothing is silently dropped, and nothing is lost when the gate is killed: python -m benchmarks.gate_faults

Faults: `benchmarks.faults` breaks one thing each; `closedloop compare` has to end with the exit code and the words that the fault asks for,
and never with 0, with which it ends if nothing is broken. Kills: the whole command gets SIGKILL at a random moment, `--resume` goes on, and
report.json has to be the same to the last byte as of a run that nobody disturbed; every tenth of them with two workers. Prints a table and
writes benchmarks/results/gate-faults-DATE.json.

Every attempt is a process of its own, forked from this one so that the libraries need not be read each time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from agents import cli
from agents.evaluation.report import versions
from benchmarks.faults import BRIEF, FAULTS, SUITE, Fault, compare
from scenarios.files import write_atomic

RESULTS = Path(__file__).parent / "results"
PATIENCE = 900.0  # s for one attempt


def forked(run: Callable[[], int], log: Path) -> int:
    """The process id of `run` in a process of its own, whose exit code it returns; what it prints goes to `log`."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 99
    try:
        os.setpgid(0, 0)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """The exit code of a process, negative for a signal. One that does not end is killed."""
    end = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.005)


def furnished(folder: Path) -> Path:
    """A folder with the suite and its scenario."""
    folder.mkdir()
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "brief.yaml").write_text(BRIEF)
    return folder


# ---------------------------------------------------------------- faults


def tried(fault: Fault, folder: Path) -> dict[str, Any]:
    """What came of a fault."""
    code = ended(forked(lambda: fault.run(furnished(folder)), folder.with_suffix(".log")))
    said = folder.with_suffix(".log").read_text(errors="replace")
    report = folder / "out" / "report.json"
    told = said + (report.read_text() if report.exists() else "")
    named = fault.says in told
    row = {"kind": fault.kind, "fault": fault.name, "exit_code": code, "expected": fault.code, "named": named}
    if code != fault.code or not named:
        print(f"--- {fault.kind}: {fault.name}: ended with {code}, expected {fault.code} and {fault.says!r}\n{said[-2000:]}", flush=True)
    return row


# ---------------------------------------------------------------- kills


def compared(folder: Path, workers: int) -> int:
    """A regression with replays, driven to its end; `--resume` where a journal is there."""
    os.chdir(folder)
    torch.set_num_threads(1)
    more = ["--resume"] if Path("out/journal.jsonl").exists() else []
    words = ["compare", "constant", "random", "--suite", "suite.yaml", "--full", "--shrink", "0", "--out", "out", "--workers", str(workers)]
    return cli.run([*words, *more])


def moment(folder: Path, rng: random.Random, total: int) -> str:
    """Wait for a random moment of the command that runs in `folder`; what was waited for. total: records that the journal will have.

    By what has happened and then a little by chance, as the same second is another moment whenever the machine is busier.
    """
    share, journal, report = rng.random(), folder / "out" / "journal.jsonl", folder / "out" / "report.json"
    records = rng.randint(0, total)
    waits: list[tuple[float, str, Callable[[], bool]]] = [
        (0.1, "the start", lambda: True),
        (0.8, f"{records} records", lambda: journal.exists() and journal.read_bytes().count(b"\n") > records),
        (1.0, "the first report", report.exists),
    ]
    _, name, happened = next(wait for wait in waits if share < wait[0])
    end = time.monotonic() + PATIENCE
    while not happened() and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(rng.random() * (0.5 if name == "the start" else 0.05))
    return name


def killed(folder: Path, workers: int, rng: random.Random, expected: bytes, total: int) -> dict[str, Any]:
    """Killed at a random moment (once more, if the command was quicker), then resumed."""
    while True:
        pid = forked(lambda: compared(furnished(folder), workers), folder.with_suffix(".log"))
        when = moment(folder, rng, total)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if ended(pid) == -signal.SIGKILL:
            break
        shutil.rmtree(folder)
    journal, report = folder / "out" / "journal.jsonl", folder / "out" / "report.json"
    records, there = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0, report.exists()
    if not folder.exists():
        furnished(folder)
    code = ended(forked(lambda: compared(folder, 1), folder.with_suffix(".log")))  # the verdict does not depend on it
    same = report.exists() and report.read_bytes() == expected
    row = {"after": when, "workers": workers, "records": records, "report_was_there": there, "exit_code": code, "identical": same}
    if code != 1 or not same:
        print(f"--- {row}\n{folder.with_suffix('.log').read_text()[-2000:]}", flush=True)
    return row


def kills(count: int, folder: Path, seed: int) -> list[dict[str, Any]]:
    """So many kills of a run that ends with a regression."""
    rng, rows, whole = random.Random(seed), [], {}
    for workers in (1, 2):
        home = folder / f"whole{workers}"
        assert ended(forked(lambda w=workers, h=home: compared(furnished(h), w), home.with_suffix(".log"))) == 1  # type: ignore[misc]
        whole[workers] = (home / "out" / "report.json").read_bytes()
    assert whole[1] == whole[2]
    total = (folder / "whole1" / "out" / "journal.jsonl").read_bytes().count(b"\n") - 1
    for k in range(count):
        rows.append(killed(folder / f"kill{k}", 2 if k % 10 == 9 else 1, rng, whole[1], total))
        shutil.rmtree(folder / f"kill{k}")
    return rows


def main() -> int:
    """Break, kill, print, write; 1 if anything went unnoticed or came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="faults whose kind or name holds this; others stay as in the file")
    parser.add_argument("--kills", type=int, default=50, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=RESULTS / f"gate-faults-{date.today().isoformat()}.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun, chosen = time.perf_counter(), [fault for fault in FAULTS if given.only in f"{fault.kind} {fault.name}"]
    with tempfile.TemporaryDirectory() as temporary:
        healthy = Path(temporary) / "healthy"
        assert ended(forked(lambda: compare(furnished(healthy)), healthy.with_suffix(".log"))) == 0, healthy.with_suffix(".log").read_text()
        before: dict[str, Any] = json.loads(given.out.read_text()) if given.only and given.out.exists() else {"faults": [], "kills": []}
        known = {(row["kind"], row["fault"]): row for row in before["faults"]}
        rows = [tried(fault, Path(temporary) / f"fault{k}") for k, fault in enumerate(chosen)]
        faults = list((known | {(row["kind"], row["fault"]): row for row in rows}).values())
        resumed = kills(given.kills, Path(temporary), given.seed) if given.kills else before["kills"]
    for row in faults:
        detected = row["exit_code"] == row["expected"] and row["named"]
        print(f"{row['kind']:14} {row['fault']:55} exit {row['exit_code']:3} {'detected' if detected else 'NOT AS EXPECTED'}")
    figures = {
        "faults": len(faults),
        "detected": sum(row["exit_code"] == row["expected"] and row["named"] for row in faults),
        "exit_0": sum(row["exit_code"] == 0 for row in faults),
        "exit_codes": dict(sorted(Counter(str(row["exit_code"]) for row in faults).items())),
        "kinds": dict(Counter(row["kind"] for row in faults)),
        "kills": len(resumed),
        "killed_while_driving": sum(row["records"] > 0 and not row["report_was_there"] for row in resumed),
        "killed_with_a_report": sum(row["report_was_there"] for row in resumed),
        "identical_reports": sum(row["identical"] and row["exit_code"] == 1 for row in resumed),
    }
    print(json.dumps(figures, indent=1))
    machine = {"cpu": torch.backends.cpu.get_cpu_capability(), "seconds": round(time.perf_counter() - begun)}
    result = {"figures": figures, "versions": versions(), "machine": machine, "faults": faults, "kills": resumed}
    write_atomic(given.out, json.dumps(result, indent=1) + "\n")
    return int(figures["detected"] != len(faults) or figures["identical_reports"] != len(resumed))


if __name__ == "__main__":
    sys.exit(main())
