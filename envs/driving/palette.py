"""Colours of the top view, light and dark. One table for the raster renderer and the HTML player."""

from __future__ import annotations

from scenarios.kinds import Kind
from scenarios.network import LightState

__all__ = ["BELIEFS", "BODIES", "CLASSES", "LAMPS", "SCENE", "rgb"]

SCENE: dict[str, dict[str, str]] = {
    "light": {
        "ground": "#e6ebdf",
        "grid": "#dbe2d2",
        "walkway": "#d3cfc4",
        "kerb": "#b4b1a6",
        "road": "#878e97",
        "shadow": "#737a83",
        "line": "#ffffff",
        "edge": "#f3f4f5",
        "arrow": "#9aa1aa",
        "stripe": "#f1f2f3",
        "bay": "#eceeee",
        "building": "#c9b8a3",
        "building_edge": "#a8967f",
        "hedge": "#93b183",
        "hedge_edge": "#76966a",
        "parked_glass": "#4a525c",
        "ego": "#1f6feb",
        "ego_ring": "#ffffff",
        "trail": "#9cc3ff",
        "goal": "#1aa260",
        "chosen": "#ffb020",
        "touch": "#e5484d",
        "shield": "#a04bc9",
        "future": "#0b7a75",
        "halo": "#ffe2b8",
        "glass": "#2b3440",
        "dark": "#23282e",
        "light": "#fff3c4",
        "brake_on": "#ff2d2d",
        "brake_off": "#7a1f25",
        "skin": "#f0c6a0",
        "case": "#23282e",
        "lamp_off": "#4b535c",
        "sign": "#d8343a",
        "text": "#1d232a",
        "panel": "#ffffff",
    },
    "dark": {
        "ground": "#171d1b",
        "grid": "#1e2623",
        "walkway": "#34383a",
        "kerb": "#4a5058",
        "road": "#2e353d",
        "shadow": "#20262c",
        "line": "#c3c9d0",
        "edge": "#a9b0b8",
        "arrow": "#3d4650",
        "stripe": "#a9b0b8",
        "bay": "#6c757f",
        "building": "#4d463e",
        "building_edge": "#655c51",
        "hedge": "#2f4a35",
        "hedge_edge": "#3f6147",
        "parked_glass": "#12161a",
        "ego": "#4c9aff",
        "ego_ring": "#e8f1ff",
        "trail": "#2d5488",
        "goal": "#2dbd77",
        "chosen": "#ffb84d",
        "touch": "#ff6369",
        "shield": "#cf8bf0",
        "future": "#4fd1c5",
        "halo": "#6b5634",
        "glass": "#10151b",
        "dark": "#0d1115",
        "light": "#ffe9a3",
        "brake_on": "#ff4040",
        "brake_off": "#5c191e",
        "skin": "#d9ae8a",
        "case": "#0d1115",
        "lamp_off": "#39414a",
        "sign": "#c9363b",
        "text": "#e6eaee",
        "panel": "#1d2329",
    },
}

# Body colours by kind; agents of one kind take them in turn, by slot, so that neighbours can be told apart
BODIES: dict[Kind, tuple[str, ...]] = {
    Kind.CAR: ("#eceff1", "#c8553d", "#4f6d7a", "#d9a441", "#6a8d73", "#9aa5b1", "#7d6b91", "#b8c4bb"),
    Kind.TRUCK: ("#e3e6e8", "#8fb3c9", "#c9b08f"),
    Kind.BUS: ("#f2c14e", "#e07a5f"),
    Kind.MOTORCYCLE: ("#b23a48", "#3d405b"),
    Kind.BICYCLE: ("#2a9d8f", "#e9724c"),
    Kind.PEDESTRIAN: ("#e76f51", "#457b9d", "#8d5fa8", "#2a9d8f"),
}

LAMPS: dict[LightState, tuple[str, str, str]] = {  # red, yellow, green lamp; "": off
    LightState.NONE: ("", "", ""),
    LightState.RED: ("#ff3b30", "", ""),
    LightState.RED_YELLOW: ("#ff3b30", "#ffc400", ""),
    LightState.YELLOW: ("", "#ffc400", ""),
    LightState.GREEN: ("", "", "#2ecc55"),
}

# What was believed, drawn over what was true. `case` lies under the lines, so that they show on every ground
BELIEFS: dict[str, dict[str, str]] = {
    "light": {"believed": "#00e5cf", "missed": "#e6007e", "invented": "#fff000", "case": "#10262b"},
    "dark": {"believed": "#2ff3df", "missed": "#ff4fa8", "invented": "#fff04d", "case": "#05090b"},
}
# Of things in pictures, by class, in turn: Okabe and Ito's palette (2008), which people with colour blindness tell apart
CLASSES: tuple[str, ...] = ("#56b4e9", "#e69f00", "#cc79a7", "#009e73", "#f0e442", "#d55e00", "#0072b2")


def rgb(colour: str, shade: float = 1.0) -> tuple[int, int, int]:
    """(red, green, blue) of "#rrggbb", times `shade`."""
    return tuple(min(int(int(colour[i : i + 2], 16) * shade), 255) for i in (1, 3, 5))  # type: ignore[return-value]
