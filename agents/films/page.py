"""A film as one web page: no server, no network, opens from disk. Its parts lie in `page/`."""

from __future__ import annotations

import base64
import html
import re
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agents.films.film import Film
from agents.playback.page import embedded_json, source_hash

__all__ = ["film_page", "strides"]

QUALITY = {"people": 82, "eyes": 75}  # of JPEG


def film_page(film: Film) -> str:
    """The page. Raises ValueError for a film without a moment."""
    style, script = _part("style.css"), f'"use strict";\n(() => {{\n{_part("player.js")}\n}})();\n'
    values = {
        "title": html.escape(f"{film.task}: {film.policy}, episode {film.seed}"),
        "style": style,
        "style_hash": source_hash(style),
        "script": script,
        "script_hash": source_hash(script),
        "data": embedded_json(_about(film)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("page.html"))


def strides(moments: int, most: int) -> list[int]:
    """Which of so many moments are shown: every first, second, third, ... and the last. Raises ValueError for none."""
    if moments < 1:
        raise ValueError(f"moments={moments}: a film has one at least")
    step = -(-moments // most)
    shown = list(range(0, moments, step))
    return shown if shown[-1] == moments - 1 else [*shown, moments - 1]


def _about(film: Film) -> dict[str, Any]:
    """What the script is told. Curves have a value for every decision, pictures one for every moment that is shown."""
    shown = strides(len(film.people), film.most)
    curves = [{"name": "reward", "values": _rounded(film.rewards)}]
    curves += [{"name": name, "values": _rounded(values)} for name, values in film.terms.items() if len(film.terms) > 1]
    curves += [{"name": f"action {k + 1}", "values": _rounded(film.actions[:, k])} for k in range(film.actions.shape[1])]
    return {
        "task": film.task,
        "about": film.about,
        "policy": film.policy,
        "observation": film.observation,
        "boxed": film.boxed,
        "seed": film.seed,
        "end": film.end,
        "total": round(film.total, 3),
        "dt": film.dt,
        "moments": shown,
        "things": film.things,
        "cameras": film.cameras,
        "success": film.success.astype(int).tolist(),
        "people": [_jpeg(film.people[t], QUALITY["people"]) for t in shown],
        "eyes": [[_jpeg(picture, QUALITY["eyes"]) for picture in film.eyes[t]] for t in shown],
        "size": film.eyes[0][0].shape[0] if film.cameras else 0,
        "wide": film.eyes[0][0].shape[1] if film.cameras else 0,
        "zoom": film.zoom,
        "shape": film.people[0].shape[1::-1],
        "boxes": np.round(film.boxes[shown], 2).tolist(),
        "ways": [np.round(film.ways[t], 1).tolist() for t in shown] if film.ways else [],
        "notes": [film.notes[t] for t in shown] if film.notes else [],
        "curves": curves,
    }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _jpeg(picture: NDArray[np.uint8], quality: int) -> str:
    """An RGB picture as a data URL."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _part(name: str) -> str:
    return (files("agents.films") / "page" / name).read_text(encoding="utf-8")
