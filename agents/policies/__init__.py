"""Policies: the protocol and the look-up by name (`base`), the baselines, and trained ones restored from bundles."""

from __future__ import annotations

from agents.policies.base import Policy, PolicyError, PolicyNeeds, load_policy, policy_names

__all__ = ["Policy", "PolicyError", "PolicyNeeds", "load_policy", "policy_names"]
