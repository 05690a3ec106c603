"""Planners: from what is believed of the surroundings to a trajectory, batched, the same on every level of the observation ladder."""

from __future__ import annotations

from agents.planners.base import DT, PLANNERS, STEPS, Costs, Ego, Place, Plan, Planner, PlannerError, Route, Scene, Trajectory, make_planner

__all__ = [
    "DT", "PLANNERS", "STEPS", "Costs", "Ego", "Place", "Plan", "Planner", "PlannerError", "Route", "Scene", "Trajectory", "make_planner",
]  # fmt: skip
