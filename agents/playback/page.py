"""A trace as one HTML file: a player that opens from disk and asks no network for anything.

The parts lie in `player/`; they are put together here. A content security policy names the hashes of the one script and the one style
sheet, so the page can load and run nothing else, whatever a trace calls itself.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from agents.playback.compact import compact, events
from agents.playback.compact_sight import compact_sight
from agents.playback.plans import Thought, compact_thoughts
from agents.playback.sight import Sight, look_again
from agents.playback.trace import Trace
from agents.playback.verify import Verification
from scenarios.files import write_atomic

__all__ = ["embedded_json", "page", "part", "player_script", "source_hash", "write_page"]

SCRIPTS = ("data.js", "beliefs.js", "scene.js", "thoughts.js", "plots.js", "eyes.js", "controls.js")
SIGHTED = {
    "beliefs.js": "const beliefs = null;\n",
    "eyes.js": "",
}  # scripts only for traces with beliefs, and what stands for them elsewhere

TTC_HORIZON = 3.0  # s, `ttc_min` is never more
# metric -> (label, unit, what is good: "yes", "no" or nothing). Metrics not listed are shown under their own name
METRICS: dict[str, tuple[str, str, str]] = {
    "success": ("Success", "", "yes"),
    "collision": ("Collision", "", "no"),
    "collision_at_fault": ("Collision at fault", "", "no"),
    "off_road": ("Left the road", "", "no"),
    "wrong_way": ("Against traffic", "", "no"),
    "red_light": ("Red lights run", "count", "no"),
    "stop_sign": ("Stop signs run", "count", "no"),
    "route_progress": ("Route progress", "%", ""),
    "driving_score": ("Driving score", "", ""),
    "nuplan_score": ("nuPlan score", "", ""),
    "impact": ("Speed of impact", "m/s", ""),
    "lane_offset": ("Off the middle of the lane", "m", ""),
    "ttc_min": ("Least time to collision", "s", ""),
    "ttc_ok": ("Time to collision kept", "", "yes"),
    "comfort": ("Comfortable", "", "yes"),
    "speed_ok": ("Speed limit kept", "%", ""),
    "interventions": ("Shield's interventions", "count", ""),
    "intervened": ("Decisions overridden", "%", ""),
    "distance": ("Distance", "m", ""),
    "duration": ("Duration", "s", ""),
}


def page(
    trace: Trace,
    *,
    verification: Verification | None = None,
    command: str | None = None,
    sight: Sight | None = None,
    thoughts: Sequence[Thought] | None = None,
) -> str:
    """The whole HTML text. verification: what `verify` said, None: not asked. command: shown to drive it again. thoughts: what a planner
    had in mind, as `plan_again` gives it.

    sight: what `look_again` gives for the trace, if it is known already; a trace with beliefs is simulated again without it. Raises
    TraceError if that cannot be done.
    """
    sight = sight or look_again(trace)
    style, script = part("style.css"), player_script(sighted=sight is not None)
    data = compact(trace) | {
        "beliefs": compact_sight(trace, sight) if sight else None,
        "thoughts": compact_thoughts(trace, thoughts) if thoughts else None,
        "scenario": trace.episode.scenario,
        "chips": _chips(trace, verification),
        "metrics": [_metric(name, value) for name, value in _ordered(trace)],
        "facts": _facts(trace, verification, sight),
        "command": trace.command if command is None else command,
    }
    values = {
        "title": html.escape(f"{trace.episode.scenario} · seed {trace.episode.seed} · {trace.policy or 'no policy'}"),
        "style": style,
        "style_hash": source_hash(style),
        "script": script,
        "script_hash": source_hash(script),
        "data": embedded_json(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], part("page.html"))


def write_page(
    trace: Trace,
    path: str | os.PathLike[str],
    *,
    verification: Verification | None = None,
    command: str | None = None,
    sight: Sight | None = None,
    thoughts: Sequence[Thought] | None = None,
) -> Path:
    """Write `page` to a file. Returns its path. Raises OSError, TraceError."""
    return write_atomic(path, page(trace, verification=verification, command=command, sight=sight, thoughts=thoughts))


def embedded_json(value: Any) -> str:
    """JSON that is safe inside a script element: no "<", so no tag can begin or end; no "&" and no line separators either."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII only
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def player_script(*, sighted: bool) -> str:
    """The player's one script; sighted: with what shows beliefs."""
    parts = [part(name) if sighted or name not in SIGHTED else SIGHTED[name] for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n"


def part(name: str) -> str:
    """A file of the player."""
    return (files("agents.playback") / "player" / name).read_text(encoding="utf-8")


def source_hash(text: str) -> str:
    """What a content security policy calls a script or a style sheet."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _chips(trace: Trace, verification: Verification | None) -> list[list[str]]:
    chips = [[f"seed {trace.episode.seed}", ""], [f"policy {trace.policy or 'unknown'}", ""]]
    found = events(trace)
    if found:
        chips.append([found[-1]["label"], found[-1]["kind"]])
    elif trace.steps:
        chips.append(["lasted to the end", "good"] if trace.metrics.get("success") else ["time ran out", "warn"])
    if verification is None:
        chips.append(["not verified", "warn"])
    elif not verification.ok:
        chips.append([f"does not reproduce from step {verification.first_bad_step}", "bad"])
    else:
        chips.append(["verified bit for bit" if verification.exact else "verified within rounding", "good"])
    return chips


def _ordered(trace: Trace) -> list[tuple[str, float]]:
    """Metrics in the order of METRICS, then the rest; the single comfort bounds only where one was broken."""
    shown = {name: value for name, value in trace.metrics.items() if not (name.startswith("comfort_") and value)}
    return [(name, shown[name]) for name in METRICS if name in shown] + [item for item in shown.items() if item[0] not in METRICS]


def _metric(name: str, value: float) -> list[str]:
    """Label, text, and "good", "bad" or nothing."""
    label, unit, wanted = METRICS.get(name, (_label(name), "", "yes" if name.startswith("comfort_") else ""))
    kind = "" if not wanted or (value not in (0.0, 1.0) and unit != "count") else "good" if bool(value) == (wanted == "yes") else "bad"
    if unit == "count":
        return [label, f"{value:.0f}", kind]
    if wanted and value in (0.0, 1.0):
        return [label, "yes" if value else "no", kind]
    if not math.isfinite(value):
        return [label, "never" if value > 0 else "none", kind]
    if name == "ttc_min" and value >= TTC_HORIZON:
        return [label, f"{TTC_HORIZON:g} s or more", kind]
    return [
        label,
        f"{100 * value:.0f} %" if unit == "%" else f"{value:.1f} m" if unit == "m" and value >= 10.0 else f"{value:.2f} {unit}".strip(),
        kind,
    ]


def _label(name: str) -> str:
    """What to call a metric that METRICS does not know."""
    bound = name.removeprefix("comfort_")
    return bound.replace("_", " ").capitalize() + (" within bounds" if bound != name else "")


def _facts(trace: Trace, verification: Verification | None, sight: Sight | None) -> list[list[str]]:
    config = trace.config
    facts = [
        ["closedloop", trace.closedloop],
        ["torch", f"{trace.torch}, {trace.backend}, {trace.device}"],
        ["Actions", f"{config.action}, every {config.dt * config.ticks_per_step:g} s"],
        ["Observation", config.observation],
        ["Trace", trace.digest[:16]],
        ["Policy file", trace.policy_hash[:16]],
    ]
    if sight is not None:
        facts.append(["Detector", {"perceived": config.detector, "noisy": "its error model"}.get(config.observation, "told the truth")])
        facts += [["Predictor", config.predictor]] if config.forecasts else []
    if sight is not None and sight.names:
        facts.append(["Pictures", "drawn again, " + ("the same bits" if sight.same else "not the same bits") + "; compressed here"])
    if verification is not None:
        facts.append(["Verified", verification.reason])
    return [[name, text] for name, text in facts if text]
