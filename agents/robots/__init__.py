"""Acting on robots: scripted experts and what they are made of."""

from __future__ import annotations

from agents.robots.experts import EXPERTS, Expert, expert_for

__all__ = ["EXPERTS", "Expert", "expert_for"]
