"""What every batch of worlds is to Stable-Baselines3: the parts of its `VecEnv` that are the same whatever is simulated."""

from __future__ import annotations

from typing import Any

import gymnasium
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

__all__ = ["BatchedVecEnv"]


class BatchedVecEnv(VecEnv):
    """A `VecEnv` whose worlds share one object, so attributes and methods are those of the whole batch."""

    _key: int  # seed that the next `reset` begins with

    def reset(self) -> Any:
        """Start the first episodes, anew from the seed where `VecEnv.seed` has set one."""
        if self._seeds[0] is not None:
            self._key = self._seeds[0]
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._begin(self._key)

    def _begin(self, seed: int) -> Any:
        """Start the first episodes of a seed; their first observations."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to release."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The shared attribute, once a world. Raises AttributeError."""
        value = getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the whole batch. Raises ValueError for some worlds only: they share their attributes."""
        if indices is not None and sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"cannot set {attr_name!r} for some worlds only: all worlds of the batch share it")
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the whole batch once; its result is repeated once a world."""
        result = getattr(self, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None) -> list[bool]:
        """No world is wrapped. `Monitor` would add what the infos already hold, so it counts as present."""
        return [wrapper_class.__name__ == "Monitor" for _ in self._get_indices(indices)]
