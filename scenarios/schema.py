"""What a scenario file may say. These models are the schema: the loader checks files against them, and the JSON Schema for editors
is generated from them (`closedloop schema`). The descriptions of the fields are what editors show.

Units: every number may be a plain SI number, text with a unit ("50 km/h") or a distribution ({uniform: [a, b]}, ...).
Parameters of the road, the ego, actors and rates are drawn once per episode; speeds, destinations and drivers once per vehicle.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from scenarios.kinds import Kind
from scenarios.quantities import (
    Accel,
    Angle,
    Between,
    Count,
    Density,
    Fault,
    Flag,
    Label,
    Length,
    Number,
    Offset,
    OneOf,
    QuantityModel,
    Rate,
    Ratio,
    Seconds,
    Speed,
    Velocity,
    bounds,
    fault_error,
)
from scenarios.roads import ROADS, RoadModel

__all__ = [
    "ActorModel", "BayGoalModel", "BaysModel", "DriversModel", "EgoModel", "FileRoad", "FillModel", "FlowModel", "GoalModel", "MixModel",
    "PoseModel", "RecordedModel", "RegionModel", "ScenarioModel", "ScriptModel", "TrafficModel", "WhenModel",
]  # fmt: skip

KindName = Annotated[str, OneOf(*(kind.name.lower() for kind in Kind))]
LaneName = Annotated[str, Label("lane")]
DestinationName = Annotated[str, Label("destination")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Weight = Annotated[float, Field(ge=0.0, le=1e6, allow_inf_nan=False)]
LaneNames = Annotated[tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...], Field(min_length=1, max_length=64)]
# generous bounds: they catch a forgotten unit, not an unusual idea
DriveSpeed = Annotated[Speed, Between(0.0, 100.0)]


def exactly_one(model: QuantityModel, *names: str) -> None:
    """Refuse a model unless exactly one of the fields is given."""
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        raise fault_error([Fault((), ", ".join(given) or None, "exactly one of the keys " + ", ".join(names))])


class FileRoad(RoadModel):
    """A road network in a sidecar .npz beside the scenario file, as `closedloop import` writes it."""

    kind: Literal["file"] = "file"
    file: FileName = Field(description="path of the .npz, inside the folder of the scenario file")


if TYPE_CHECKING:
    Road = RoadModel
else:
    Road = Annotated[reduce(or_, [*ROADS.values(), FileRoad]), Field(discriminator="kind")]


class PoseModel(QuantityModel):
    """A place off the lanes."""

    x: Offset
    y: Offset
    heading: Angle = 0.0


class DriversModel(QuantityModel):
    """Parameters of the traffic model. What is left out is usual for the kind of road user (scenarios.drivers)."""

    desired_speed: DriveSpeed | None = Field(
        default=None, description="speed on an open road; also bounded by the limit times speed_factor"
    )
    speed_factor: Annotated[Number, Between(0.1, 3.0)] | None = Field(default=None, description="times the posted limit")
    headway: Annotated[Seconds, Between(0.1, 10.0)] | None = Field(default=None, description="time gap to the vehicle ahead")
    min_gap: Annotated[Length, Between(0.1, 20.0)] | None = Field(default=None, description="gap at standstill")
    accel: Annotated[Accel, Between(0.1, 8.0)] | None = Field(default=None, description="usual acceleration")
    decel: Annotated[Accel, Between(0.1, 8.0)] | None = Field(default=None, description="comfortable braking")
    politeness: Annotated[Number, Between(0.0, 2.0)] | None = Field(
        default=None, description="weight of others' disadvantage when changing lanes (MOBIL)"
    )
    change_threshold: Accel | None = Field(default=None, description="gain in acceleration needed to change lanes")
    keep_right: Accel | None = Field(default=None, description="bias to the right lane")
    safe_decel: Annotated[Accel, Between(0.1, 8.0)] | None = Field(default=None, description="most a lane change may cost the new follower")
    changes_lanes: Flag | None = None
    yields: Flag | None = Field(default=None, description="false: ignores right of way")


class MixModel(QuantityModel):
    """Shares of the kinds of road user."""

    car: Weight = 0.0
    truck: Weight = 0.0
    bus: Weight = 0.0
    motorcycle: Weight = 0.0
    bicycle: Weight = 0.0
    pedestrian: Weight = 0.0

    @model_validator(mode="after")
    def _some(self) -> Self:
        if sum(self.weights()) <= 0.0:
            raise fault_error([Fault((), None, "at least one share above 0")])
        return self

    def weights(self) -> tuple[float, ...]:
        """In the order of scenarios.kinds.Kind."""
        return (self.car, self.truck, self.bus, self.motorcycle, self.bicycle, self.pedestrian)


class FlowModel(QuantityModel):
    """Vehicles arriving at random (Poisson) at the start of lanes, and those already on their way when the episode starts."""

    lanes: LaneNames = Field(description="lanes at whose start vehicles arrive")
    rate: Annotated[Rate, Between(0.0, 2.0)] = Field(description="arrivals per lane, for example 900 veh/h")
    speed: DriveSpeed | None = Field(default=None, description="of arrival; left out: what the driver wants there")
    destination: DestinationName | None = Field(default=None, description="left out: any exit")
    start: Flag = Field(default=True, description="whether vehicles are already on the road at time 0")
    mix: MixModel | None = None
    drivers: DriversModel | None = None


class FillModel(QuantityModel):
    """Vehicles placed along lanes at the start, by count, spacing or density."""

    lanes: LaneNames
    count: Annotated[Count, Between(0, 64)] | None = Field(default=None, description="per lane, spread at random")
    spacing: Annotated[Length, Between(3.0, 10_000.0)] | None = Field(default=None, description="front to front")
    density: Annotated[Density, Between(0.0, 0.3)] | None = Field(default=None, description="for example 20 veh/km")
    begin: Length = Field(default=0.0, description="first place used, along the lane")
    end: Length | None = Field(default=None, description="last place used; left out: the end of the lane")
    d: Annotated[Offset, Between(-20.0, 20.0)] = Field(default=0.0, description="left of the centreline, for parked cars at the kerb")
    speed: DriveSpeed | None = None
    destination: DestinationName | None = None
    parked: Flag = Field(default=False, description="true: they never move")
    mix: MixModel | None = None
    drivers: DriversModel | None = None

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        exactly_one(self, "count", "spacing", "density")
        if self.end is not None and bounds(self.begin)[0] > bounds(self.end)[1]:
            raise fault_error([Fault(("end",), None, "an end behind begin")])
        return self


class BaysModel(QuantityModel):
    """Cars parked in bays; the ego's goal stays free."""

    occupancy: Ratio = Field(description="share of the bays taken")
    only: Annotated[tuple[str, ...], Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="bays concerned; left out: all"
    )


class TrafficModel(QuantityModel):
    """One source of other road users: flow, fill or bays."""

    flow: FlowModel | None = None
    fill: FillModel | None = None
    bays: BaysModel | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "flow", "fill", "bays")
        return self


class RegionModel(QuantityModel):
    """A rectangle to reach with the vehicle's centre."""

    x: Offset
    y: Offset
    yaw: Angle = Field(default=0.0, description="of the rectangle")
    length: Annotated[Length, Between(0.1, 10_000.0)]
    width: Annotated[Length, Between(0.1, 10_000.0)]
    heading: Angle | None = Field(default=None, description="wanted heading; left out: yaw")
    heading_tolerance: Annotated[Angle, Between(0.0, math.pi)] = math.pi
    speed_min: Annotated[Velocity, Between(-100.0, 100.0)] | None = None
    speed_max: Annotated[Velocity, Between(-100.0, 100.0)] | None = None


class BayGoalModel(QuantityModel):
    """A parking bay to stand in."""

    id: Annotated[str, Label("bay")] = Field(default="any", description="name of the bay; any: one at random")
    heading_tolerance: Annotated[Angle, Between(0.0, math.pi)] = math.radians(15.0)
    slack: Annotated[Length, Between(0.0, 5.0)] = Field(
        default=0.3, description="how far the centre may be from where the vehicle would touch the bay's lines"
    )
    speed_max: Annotated[Speed, Between(0.0, 10.0)] = 0.5


class GoalModel(QuantityModel):
    """What counts as arriving. Nothing given: keep going until the end. Beside a region or bay, the destination is only the way there."""

    destination: DestinationName | None = None
    region: RegionModel | None = None
    bay: BayGoalModel | None = None
    time_min: Seconds = Field(default=0.0, description="arriving earlier does not count")
    time_max: Seconds | None = Field(default=None, description="arriving later does not count")

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if self.region is not None and self.bay is not None:
            raise fault_error([Fault((), "region, bay", "at most one of the keys region, bay")])
        if self.time_max is not None and bounds(self.time_max)[0] < bounds(self.time_min)[1]:
            raise fault_error([Fault(("time_max",), None, "a time after time_min")])
        return self


class EgoModel(QuantityModel):
    """The vehicle of the policy. On a lane (lane, s, d, heading) or at a pose."""

    kind: KindName = "car"
    lane: LaneName | None = None
    s: Length = Field(default=0.0, description="of the centre, along the lane")
    d: Annotated[Offset, Between(-20.0, 20.0)] = Field(default=0.0, description="left of the centreline")
    heading: Angle | None = Field(default=None, description="in the world, of a vehicle on a lane; left out: along the lane")
    pose: PoseModel | None = None
    speed: Annotated[Velocity, Between(-10.0, 100.0)] = 0.0
    desired_speed: DriveSpeed | None = Field(default=None, description="of the IDM baseline; left out: the limit")
    drivers: DriversModel | None = Field(default=None, description="for the IDM baseline; left out: as the others")
    goal: GoalModel = GoalModel()

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        exactly_one(self, "lane", "pose")
        if self.pose is not None and self.heading is not None:
            raise fault_error([Fault(("heading",), self.heading, "no 'heading' beside 'pose', which has its own")])
        return self


class WhenModel(QuantityModel):
    """When a script fires."""

    time: Seconds | None = Field(default=None, description="since the start")
    distance: Length | None = Field(default=None, description="to the ego, centre to centre: when closer")
    ahead: Offset | None = Field(default=None, description="when less than this ahead of the ego (negative: behind)")
    ttc: Seconds | None = Field(default=None, description="when distance ahead over the ego's closing speed is below")

    @model_validator(mode="after")
    def _one_trigger(self) -> Self:
        exactly_one(self, "time", "distance", "ahead", "ttc")
        return self


class ScriptModel(QuantityModel):
    """One scripted event: `do: change_left`, `change_right`, `go`, `brake` (with decel, until) or `speed` (with to)."""

    when: WhenModel
    do: Annotated[str, OneOf("change_left", "change_right", "brake", "go", "speed")]
    decel: Annotated[Accel, Between(0.1, 10.0)] | None = Field(default=None, description="brake: how hard; left out: 4 m/s^2")
    until: DriveSpeed | None = Field(default=None, description="brake: down to this speed; left out: standstill")
    to: DriveSpeed | None = Field(default=None, description="speed: the new desired speed")
    reckless: Flag = Field(default=False, description="afterwards the agent ignores others")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        needs = {"brake": ("decel", "until"), "speed": ("to",)}
        faults = []
        for action, names in needs.items():
            for name in names:
                if getattr(self, name) is not None and isinstance(self.do, str) and self.do != action:
                    faults.append(Fault((name,), getattr(self, name), f"no '{name}' unless do is '{action}'"))
        if self.do == "speed" and self.to is None:
            faults.append(Fault((), None, "the key 'to', the new speed"))
        if faults:
            raise fault_error(faults)
        return self


class ActorModel(QuantityModel):
    """One particular road user: on a lane at s, `ahead` of the ego (negative: behind), or at a pose."""

    id: Name
    kind: KindName = "car"
    role: Annotated[str, OneOf("idm", "static")] = "idm"
    lane: LaneName | None = Field(default=None, description="left out, with `ahead`: the ego's lane")
    s: Length | None = None
    ahead: Annotated[Offset, Between(-2000.0, 2000.0)] | None = Field(
        default=None, description="of the ego, centre to centre along the lane"
    )
    d: Annotated[Offset, Between(-20.0, 20.0)] = 0.0
    pose: PoseModel | None = None
    length: Annotated[Length, Between(0.1, 30.0)] | None = Field(default=None, description="left out: usual for the kind")
    width: Annotated[Length, Between(0.1, 10.0)] | None = None
    speed: DriveSpeed | None = Field(default=None, description="left out: what the driver wants there")
    desired_speed: DriveSpeed | None = None
    destination: DestinationName | None = None
    enter_time: Seconds = Field(default=0.0, description="appears then, as soon as its place is clear")
    chance: Ratio = Field(default=1.0, description="of being there at all")
    drivers: DriversModel | None = None
    script: ScriptModel | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        exactly_one(self, "s", "ahead", "pose")
        if self.s is not None and self.lane is None:
            raise fault_error([Fault((), None, "the key 'lane' beside 's'")])
        if self.pose is not None and self.lane is not None:
            raise fault_error([Fault(("lane",), self.lane, "a lane or a pose, not both")])
        if self.pose is not None and self.role == "idm":
            raise fault_error([Fault(("pose",), None, "role: static for an actor at a pose; the traffic model needs a lane")])
        return self


class RecordedModel(QuantityModel):
    """Recorded road users from a sidecar .npz."""

    file: FileName = Field(description="path of the .npz, inside the folder of the scenario file")
    mode: Annotated[str, OneOf("log", "reactive")] = Field(
        default="log", description="log: replayed, whatever happens; reactive: IDM along the recorded path"
    )


class ScenarioModel(QuantityModel):
    """A scenario: a road, an ego with a goal, and others, with distributions over their parameters."""

    version: Literal[1] = Field(description="of the format")
    name: Name = Field(description="the file's name without .yaml")
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    duration: Annotated[Seconds, Between(1.0, 3600.0)] = Field(description="the episode is cut off then")
    dt: Annotated[float, Field(ge=0.02, le=0.2)] = Field(default=0.1, description="s, physics tick; recordings have their own")
    maps: Annotated[int, Field(ge=1, le=256)] = Field(
        default=8, description="how many variants of the road are drawn from its distributions"
    )
    max_agents: Annotated[int, Field(ge=1, le=64)] = Field(default=64, description="most road users in an episode, the ego included")
    road: Road = Field(description="the place")
    ego: EgoModel
    traffic: Annotated[tuple[TrafficModel, ...], Field(max_length=64)] = ()
    drivers: DriversModel = DriversModel()
    mix: MixModel = MixModel(car=1.0)
    actors: Annotated[tuple[ActorModel, ...], Field(max_length=63)] = ()
    recorded: RecordedModel | None = None
    variants: Annotated[dict[Name, dict[str, Any]], Field(max_length=32)] = Field(
        default_factory=dict,
        description="changes to the above by name, merged key by key; lists and distributions are replaced, null takes a key away",
    )
