"""Seeing: what turns sensor frames into detections, tracks and forecasts.

This package is the room for the perception stack that every environment will run inside its observation ladder. It knows no
environment and no scenario: `envs` passes it frames and gets typed batches back. It holds no code yet; the driving environments offer
the observation levels that need none, `truth` and `visible`.
"""

from __future__ import annotations

__all__: list[str] = []
