"""The worlds a policy acts in. Importing this package registers every environment id with Gymnasium and imports no torch.

import gymnasium as gym
env = gym.make("envs:closedloop/Driving-v0", scenario="merge")
"""

from __future__ import annotations

from envs.registry import DRIVING, EnvEntry, entries, register_all

__all__ = ["DRIVING", "EnvEntry", "entries", "register_all"]

register_all()
