"""Where tracks will be: kinematic, lane-following and learned predictors behind one protocol (`base.Predictor`).

Import from the modules: `history` (what predictors remember), `kinematic`, `lane_following`, `learned`; `training` and `leave_one_out`
make and judge networks.
"""

from __future__ import annotations

__all__: list[str] = []
