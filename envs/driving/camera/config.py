"""What the driving camera is and what it is pointed at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scenarios.errors import did_you_mean

__all__ = ["CLASSES", "CONDITIONS", "MOUNTS", "SEMANTICS", "CameraConfig"]

CLASSES = ("car", "truck", "bus", "motorcycle", "bicycle", "pedestrian", "light")  # of labels; the first six are scenarios.kinds.Kind
SEMANTICS = ("sky", "terrain", "road", "marking", "walkway", "building", "vegetation", "pole", "sign", *CLASSES)
CONDITIONS = ("clear", "fog", "rain", "night")  # in the order of `Weather.condition`
# x, y m of the lens from the middle of the ego's box, yaw rad: behind the windscreen, on the mirrors, at the rear
MOUNTS = {"front": (0.6, 0.0, 0.0), "left": (0.5, 0.9, 0.5 * math.pi), "right": (0.5, -0.9, -0.5 * math.pi), "rear": (-1.5, 0.0, math.pi)}


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """One kind of camera, mounted once or several times. Raises ValueError on nonsense."""

    width: int = 160  # px, a multiple of 16
    height: int = 96  # px, a multiple of 16
    field_of_view: float = math.radians(80.0)  # rad, across the image
    horizon: float = 0.42  # share of the image above the horizon
    mount_height: float = 1.45  # m, of the lens above ground
    cameras: tuple[str, ...] = ("front",)  # of MOUNTS; C of them
    near: float = 0.3  # m, depth below which nothing is drawn
    far: float = 160.0  # m, beyond which nobody is drawn
    agents: int = 16  # road users drawn per camera, the nearest in view
    buildings: int = 6  # likewise
    heads: int = 4  # signal heads likewise
    signs: int = 2  # likewise
    texture_step: float = 0.2  # m per texel of the ground
    weather: str = "any"  # any, or one of CONDITIONS
    jitter: float = 1.0  # scale of the difference between the true mount and the believed one; 0: none
    noise: float = 1.0  # scale of the sensor's noise; 0: none
    blur: float = 1.0  # scale of the lens's blur; 0: none

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            if not isinstance(value, int) or value % 16 or not 16 <= value <= 2048:
                raise ValueError(f"{name}={value}: must be a multiple of 16 from 16 to 2048 pixels")
        if not 0.1 <= self.field_of_view <= 2.6:
            raise ValueError(f"field_of_view={self.field_of_view}: must be from 0.1 to 2.6 rad")
        if not 0.0 < self.horizon < 1.0:
            raise ValueError(f"horizon={self.horizon}: must be a share of the image's height between 0 and 1")
        if not 0.2 <= self.mount_height <= 4.0:
            raise ValueError(f"mount_height={self.mount_height}: must be from 0.2 to 4 m")
        if not self.cameras:
            raise ValueError("cameras=(): at least one is needed")
        for name in self.cameras:
            if name not in MOUNTS:
                raise ValueError(f"no camera mount {name!r}; {did_you_mean(name, MOUNTS)} Known: {', '.join(MOUNTS)}")
        if not 0.05 <= self.near < self.far <= 1000.0:
            raise ValueError(f"near={self.near}, far={self.far}: must be 0.05 <= near < far <= 1000 m")
        for name, least in (("agents", 1), ("buildings", 0), ("heads", 0), ("signs", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value <= 64:
                raise ValueError(f"{name}={value}: must be a whole number from {least} to 64")
        if self.prisms > 128:
            raise ValueError(f"agents, buildings, heads and signs make {self.prisms} prisms: at most 128 are drawn")
        if not 0.05 <= self.texture_step <= 1.0:
            raise ValueError(f"texture_step={self.texture_step}: must be from 0.05 to 1 m")
        if self.weather not in ("any", *CONDITIONS):
            raise ValueError(f"no weather {self.weather!r}; {did_you_mean(self.weather, CONDITIONS)} Known: any, {', '.join(CONDITIONS)}")
        for name in ("jitter", "noise", "blur"):
            if not 0.0 <= getattr(self, name) <= 4.0:
                raise ValueError(f"{name}={getattr(self, name)}: must be from 0 to 4")

    @property
    def focal(self) -> float:
        """px."""
        return 0.5 * self.width / math.tan(0.5 * self.field_of_view)

    @property
    def prisms(self) -> int:
        """P, prisms drawn per image: three to a road user, two to a signal head and to a sign."""
        return 3 * self.agents + self.buildings + 2 * self.heads + 2 * self.signs
