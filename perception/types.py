"""What flows through a perception stack: `SensorFrame -> Detections -> Tracks -> Forecasts`, and the labels it is trained on.

Every type is a batch of tensors with masks, so that a stack has explicit state, lives on any device and serves many worlds at once.
An `oracle` stage returns the same types as a learned one; that is what makes stages replaceable.

Shapes: B worlds, C cameras, H x W pixels, D detections (padded), T tracks (padded), K modes, S future steps. SI units.
Ego frame: origin at the centre of the ego's box on the ground, x forward, y left, z up, angles counter-clockwise. Image frame: u right,
v down, in pixels, (0, 0) the upper left corner of the upper left pixel.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["MANOEUVRES", "Camera", "Detections", "Forecasts", "Labels", "Roads", "SensorFrame", "Tracks"]

MANOEUVRES = ("keep", "left", "right", "turn", "yield", "cross")  # what `Forecasts.manoeuvre` gives probabilities of


class Camera(NamedTuple):
    """Pinhole cameras as they are believed to be mounted (what calibration says); no roll, no pitch: the horizon is row `cv`.

    A point (x, y, z) in the camera's axes (x forward, y left, z up from the lens) appears at u = cu - focal y / x, v = cv - focal z / x.
    """

    focal: Tensor  # (B, C) px
    cu: Tensor  # (B, C) px, column of the optical axis
    cv: Tensor  # (B, C) px, row of the horizon
    x: Tensor  # (B, C) m, of the lens in the ego frame
    y: Tensor  # (B, C) m
    z: Tensor  # (B, C) m above ground
    yaw: Tensor  # (B, C) rad, of the optical axis in the ego frame


class SensorFrame(NamedTuple):
    """What the sensors deliver at one instant."""

    image: Tensor  # (B, C, 3, H, W) uint8 RGB
    camera: Camera
    time: Tensor  # (B,) s since the episode began
    speed: Tensor  # (B,) m/s, odometry
    yaw_rate: Tensor  # (B,) rad/s
    motion: Tensor  # (B, 3) dx, dy m, dyaw rad: this frame's ego pose in the ego frame of the frame before (0 at the first)


class Detections(NamedTuple):
    """Things seen in one frame. Fields that a detector cannot give are NaN (light: -1)."""

    box: Tensor  # (B, D, 4) px u0, v0, u1, v1
    camera: Tensor  # (B, D) int64, which camera
    kind: Tensor  # (B, D) int64, index into the detector's `classes`
    score: Tensor  # (B, D) 0..1
    centre: Tensor  # (B, D, 3) m, of the 3-D box, ego frame
    size: Tensor  # (B, D, 3) m length, width, height
    yaw: Tensor  # (B, D) rad, ego frame
    sigma: Tensor  # (B, D, 2) m, standard deviations of `centre` along the line of sight and across it
    light: Tensor  # (B, D) int64 state of a traffic light: 0 red, 1 red-yellow, 2 yellow, 3 green, 4 off; -1 not a light
    source: Tensor  # (B, D) int64, instance id where it is known (oracles), else -1
    mask: Tensor  # (B, D) bool


class Tracks(NamedTuple):
    """Things followed over time, in the ego frame of the last update."""

    id: Tensor  # (B, T) int64, unique within a world; -1 none
    kind: Tensor  # (B, T) int64
    mean: Tensor  # (B, T, 4) x, y m, vx, vy m/s over ground
    covariance: Tensor  # (B, T, 4, 4)
    yaw: Tensor  # (B, T) rad
    size: Tensor  # (B, T, 3) m
    score: Tensor  # (B, T) 0..1, belief that it exists
    age: Tensor  # (B, T) int64 updates since birth
    unseen: Tensor  # (B, T) int64 updates since it was last seen
    light: Tensor  # (B, T) int64 as in Detections
    source: Tensor  # (B, T) int64 as in Detections
    box: Tensor  # (B, T, 4) px, last seen at
    mask: Tensor  # (B, T) bool, confirmed


class Roads(NamedTuple):
    """The map around the ego, for predictors: pieces of lane centrelines. J pieces of P points."""

    points: Tensor  # (B, J, P, 4) x, y m, cos, sin of the direction of travel; ego frame
    limit: Tensor  # (B, J) m/s
    kind: Tensor  # (B, J) int64: 0 drive, 1 junction, 2 walkway, 3 overtake
    successor: Tensor  # (B, J, 3) int64 pieces that follow, -1 none
    mask: Tensor  # (B, J) bool


class Forecasts(NamedTuple):
    """Where tracks will be: a mixture of K Gaussians at every step, row t for track t, ego frame of the last update."""

    time: Tensor  # (S,) s ahead
    mean: Tensor  # (B, T, K, S, 2) m
    covariance: Tensor  # (B, T, K, S, 2, 2) m^2
    probability: Tensor  # (B, T, K) adds up to 1
    manoeuvre: Tensor  # (B, T, len(MANOEUVRES)) adds up to 1; NaN from predictors that do not say
    mask: Tensor  # (B, T) bool


class Labels(NamedTuple):
    """The truth of one frame, exact. Only things with at least one visible pixel are listed."""

    box: Tensor  # (B, D, 4) px, of the visible and the hidden part, clipped to the image
    camera: Tensor  # (B, D) int64
    kind: Tensor  # (B, D) int64, index into the stream's `classes`
    centre: Tensor  # (B, D, 3) m, ego frame
    size: Tensor  # (B, D, 3) m
    yaw: Tensor  # (B, D) rad, ego frame
    velocity: Tensor  # (B, D, 2) m/s over ground, ego frame
    light: Tensor  # (B, D) int64 as in Detections
    occlusion: Tensor  # (B, D) 0..1, share of its pixels within the image that others hide
    truncation: Tensor  # (B, D) 0..1, share of its unclipped 2-D box outside the image
    source: Tensor  # (B, D) int64 instance id, the same over time
    mask: Tensor  # (B, D) bool
    depth: Tensor  # (B, C, H, W) m along the optical axis, +inf: sky
    instance: Tensor  # (B, C, H, W) int64 instance id, -1: background
    semantic: Tensor  # (B, C, H, W) int64, index into the stream's `semantics`
