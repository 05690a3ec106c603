"""What a study of perception drives: policies on levels of the observation ladder, and on one level with worse and worse perception."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agents.policies.base import PolicyNeeds, load_policy
from agents.policies.baselines import BASELINES
from envs.driving.types import LEVELS, SAME_SPACE, DrivingConfig
from scenarios.errors import did_you_mean

__all__ = ["ANY", "NEEDS_MODEL", "RANDOM", "SWEEPS", "Arm", "StudyError", "check_needs", "check_stages", "plan_arms"]

RANDOM = "random"  # what the gap is measured against
ANY = "any"  # level of a policy that looks at nothing a level changes
# option of a level: the values tried besides the one that the policy has anyway
SWEEPS: dict[str, tuple[float, ...]] = {
    "recall": (0.9, 0.75, 0.5, 0.25),  # share kept of what the error model would detect
    "position": (0.0, 2.0, 4.0, 8.0),  # factor on its errors of place
    "latency": (1, 2, 4),  # decisions from a frame to the arrival of what was seen in it
    "drop": (0.25, 0.5, 0.75, 0.9),  # share of frames lost
}
NEEDS_MODEL = ("recall", "position")
MAKES = {  # level: option, command that makes what it needs
    "noisy": ("noise", "closedloop pretrain noise"),
    "perceived": ("detector", "closedloop pretrain detector --domain driving"),
}


class StudyError(ValueError):
    """A study cannot be done as asked. The message says why and what would do."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One policy on one level."""

    spec: str  # as load_policy takes it
    policy: str  # without the level
    level: str  # of LEVELS, or ANY
    options: str = ""  # after the level, as given
    sweep: str = ""  # key of SWEEPS: it belongs to that curve alone
    base: str = ""  # .. spec of the arm where nothing is swept
    value: float = 0.0  # of the option that is swept

    @property
    def shown(self) -> str:
        """The level as tables name it: without the files of weights."""
        told = [part for part in self.options.split(",") if part and part.partition("=")[0] not in ("detector", "noise")]
        return " ".join([self.level, *told])


def plan_arms(
    policies: Sequence[str],
    levels: Sequence[str],
    given: dict[str, str],
    sweeps: Sequence[str] = (),
    sweep_level: str = "noisy",
    names: dict[str, str] | None = None,
) -> list[Arm]:
    """Every arm once: `random`, then policy by policy.

    policies: `NAME` is driven on all `levels`, `NAME@LEVEL,...` on that one, a baseline (which is told nothing that a level changes) once.
    given: options by name (detector, noise, weather) for the levels that have a use for them and do not name their own. sweeps: keys of
    SWEEPS, each with other values of that option on `sweep_level`. names: what tables call a policy, by what it is called in `policies`;
    else a file is called by the last parts of its path that tell it from the others.
    Raises StudyError for a level or sweep that does not exist, and for two arms that would be the same.
    """
    for what, asked, known in (("level", levels, LEVELS), ("sweep", sweeps, tuple(SWEEPS))):
        for name in asked:
            if name not in known:
                raise StudyError(f"no {what} {name!r}; {did_you_mean(name, known) or 'known: ' + ', '.join(known)}")
    if sweep_level not in MAKES:
        raise StudyError(f"sweeps are on 'noisy' or 'perceived', not on {sweep_level!r}")
    if sweep_level == "perceived" and (wrong := [name for name in sweeps if name in NEEDS_MODEL]):
        raise StudyError(f"{' and '.join(wrong)} can be changed in the error model of 'noisy', not in a real detector")
    arms = [Arm(spec=RANDOM, policy=RANDOM, level=ANY)]
    for text in policies:
        arms += _of(text, levels, given, sweeps, sweep_level)
    seen: set[str] = set()
    for arm in arms:
        if arm.spec in seen:
            raise StudyError(f"{arm.spec!r} would be driven twice: name each policy once")
        seen.add(arm.spec)
    called = _short([arm.policy for arm in arms]) | (names or {})
    return [replace(arm, policy=called.get(arm.policy, arm.policy)) for arm in arms]


def _short(policies: Sequence[str]) -> dict[str, str]:
    """The last parts of the paths that tell policies apart; of those that are no files, nothing."""
    distinct, short = list(dict.fromkeys(policies)), {}
    for policy in distinct:
        if not Path(policy).exists():
            continue
        parts = Path(policy).parts
        tails = ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        others = [other for other in distinct if other != policy]
        short[policy] = next((tail for tail in tails if not any(other == tail or other.endswith(f"/{tail}") for other in others)), policy)
    return short


def _of(text: str, levels: Sequence[str], given: dict[str, str], sweeps: Sequence[str], sweep_level: str) -> list[Arm]:
    name, at, rest = (text, "", "") if Path(text).exists() else text.partition("@")
    if name == RANDOM:
        return []  # it always is
    if name in BASELINES:
        return [Arm(spec=name, policy=name, level=ANY)]
    level, _, own = rest.partition(",")
    if at and level not in LEVELS:
        raise StudyError(f"no level {level!r}; {did_you_mean(level, LEVELS) or 'known: ' + ', '.join(LEVELS)}")
    images = not at and load_policy(name, changed="ignore").needs.observation not in SAME_SPACE  # then it stays where it is
    arms = [_arm(name, each, own if at else "", given) for each in ([level] if at else ["pixels"] if images else levels)]
    if images or (at and level != sweep_level):
        return arms
    base = _arm(name, sweep_level, own if at else "", given)
    taken = {part.partition("=")[0] for part in base.options.split(",")}
    if clash := [sweep for sweep in sweeps if sweep in taken]:
        raise StudyError(f"{text!r} sets {', '.join(clash)}, which is swept: leave one of the two out")
    if sweeps and not any(arm.spec == base.spec for arm in arms):
        arms.append(base)
    for sweep in sweeps:
        for value in SWEEPS[sweep]:
            if value == getattr(load_policy(base.spec, changed="ignore").needs, sweep):
                continue  # that is `base` itself
            options = ",".join(filter(None, [base.options, f"{sweep}={value:g}"]))
            spec = f"{name}@{sweep_level},{options}"
            arms.append(replace(base, spec=spec, options=options, sweep=sweep, value=value, base=base.spec))
    return arms


def _arm(name: str, level: str, own: str, given: dict[str, str]) -> Arm:
    """The policy on a level with its own options and those given that the level has a use for."""
    sees = ("weather", "cameras")
    wants = {"noisy": ("noise", "weather"), "perceived": ("detector", *sees), "pixels": sees}.get(level, ())
    named = {part.partition("=")[0] for part in own.split(",")}
    options = ",".join([*filter(None, [own]), *(f"{key}={given[key]}" for key in wants if key in given and key not in named)])
    return Arm(spec=f"{name}@{level}" + (f",{options}" if options else ""), policy=name, level=level, options=options)


def check_stages(arms: Sequence[Arm]) -> None:
    """Load what the arms see with. Raises StudyError that names what is missing and the command that makes it, and as `load_policy`."""
    for needs in dict.fromkeys(load_policy(arm.spec, changed="ignore").needs for arm in arms):
        check_needs(needs)


def check_needs(needs: PolicyNeeds | DrivingConfig) -> None:
    """Load the detector or the error model that a level sees with. Raises StudyError."""
    from perception.registry import make_detector

    if needs.observation not in MAKES:
        return
    option, command = MAKES[needs.observation]
    name = str(getattr(needs, option))
    try:
        if needs.observation == "noisy":
            make_detector("noisy", card=name)
        else:
            make_detector(name)
    except ValueError as error:
        raise StudyError(
            f"level {needs.observation!r}: {error}\nMake one: {command}   and name its file: --{option} FILE\n"
            "Or do without: --level truth --level visible --sweep none"
        ) from None
