"""The tasks, one a file; `envs.robots.registry` names them."""
