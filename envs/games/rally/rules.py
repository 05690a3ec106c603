"""The rules: pure functions of a batch of matches. Nothing here resets by itself; `reset_where` does.

Two paddles return a ball; who misses it gives the other a point. The ball rests for half a second, is served towards who lost the last
point, and gets faster with every return. Draws are functions of (seed, points played) alone. The rules know no difference between left
and right: mirrored states with commands exchanged go on as mirror images, to the last bit.

Shapes: B worlds, P = 2 players.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.games.rally.motion import direction, fly, paddle_at
from envs.games.rally.types import LIMIT, SERVE_WAIT, Out, RallyConfig, RallyState
from perception.rng import uniform, words

__all__ = ["mirrored", "reset", "reset_where", "step"]

POINT, FIRST = 0, 1  # streams: of a point, of who is served to first
SERVE_PLACE, SERVE_SLOPE = 0.4, 0.6  # |y| and |vy / vx| of a serve, at most


def reset(seed: Tensor, config: RallyConfig) -> RallyState:
    """The first states of episodes `seed` (B,) int64, on their device."""
    zero = torch.zeros_like(seed)
    pair = torch.zeros((len(seed), 2), device=seed.device)
    ball, _, luck = _drawn(seed, zero, zero)
    return RallyState(
        seed=seed.clone(),
        step=zero,
        ball=ball,
        velocity=pair,
        paddle=pair.clone(),
        motion=pair.clone(),
        score=pair.to(torch.int64),
        returns=zero.clone(),
        wait=zero + SERVE_WAIT,
        toward=torch.where(uniform(seed, zero, FIRST, zero) < 0.5, -1.0, 1.0),
        since=zero.clone(),
        luck=luck,
    )


def reset_where(mask: Tensor, fresh: RallyState, state: RallyState) -> RallyState:
    """`fresh` in the worlds of mask (B,) bool, `state` elsewhere."""
    return RallyState(*(torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in zip(fresh, state, strict=True)))


def step(state: RallyState, action: Tensor, config: RallyConfig) -> tuple[RallyState, Out]:
    """One decision: action (B, P) in [-1, 1], the shares of the paddles' speed, up being positive; what is beyond is cut off."""
    command = action.clamp(-1.0, 1.0) * config.paddle_speed
    paddle = paddle_at(state.paddle, command, config.dt, config.room)
    flight = fly(state.ball, state.velocity, state.paddle, command, state.returns, config)
    x = flight.ball[:, 0]
    lost = torch.stack((x < -LIMIT, x > LIMIT), -1)  # (B, P)
    over = lost.any(-1)
    score = state.score + lost.flip(-1)
    returned = flight.hit.any(-1)
    returns = torch.where(over, 0, state.returns + returned)
    place, slope, luck = _drawn(state.seed, score.sum(-1), returns)
    toward = torch.where(over, torch.where(lost[:, 1], 1.0, -1.0), state.toward)
    wait = torch.where(over, SERVE_WAIT, (state.wait - 1).clamp(min=0))
    served = (state.wait == 1) & ~over
    ex, ey = direction(slope)
    serve = torch.stack((toward * ex, ey), -1) * config.speed
    velocity = torch.where(served[:, None], serve, torch.where(over[:, None], 0.0, flight.velocity))
    after = RallyState(
        seed=state.seed,
        step=state.step + 1,
        ball=torch.where(over[:, None], place, flight.ball),
        velocity=velocity,
        paddle=paddle,
        motion=(paddle - state.paddle) / config.dt,
        score=score,
        returns=returns,
        wait=wait,
        toward=toward,
        since=torch.where(over | served | returned, 0, state.since + 1),
        luck=luck,
    )
    terminated = (score >= config.points).any(-1)
    reward = (lost.flip(-1).to(torch.float32)) - lost.to(torch.float32)
    return after, Out(reward, flight.hit, terminated, (after.step >= config.duration) & ~terminated)


def mirrored(state: RallyState) -> RallyState:
    """The same matches seen from the other side: left and right, and the players, exchanged."""
    flip = torch.tensor([-1.0, 1.0], device=state.ball.device)
    return state._replace(
        ball=state.ball * flip,
        velocity=state.velocity * flip,
        paddle=state.paddle.flip(-1),
        motion=state.motion.flip(-1),
        score=state.score.flip(-1),
        toward=-state.toward,
    )


def _drawn(seed: Tensor, point: Tensor, returns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the ball rests (B, 2) before it is served for the `point`-th (B,) time, at which slope (B,) it flies then, and the luck (B,)
    of whoever awaits it after `returns` (B,)."""
    index = torch.stack((torch.zeros_like(returns), 1 + returns), -1)  # (B, 2): the serve's, the return's
    first, second = (2.0**-23 * (word >> 8).to(torch.float32) - 1.0 for word in words(seed[:, None], point[:, None], POINT, index))
    y, slope, luck = first[:, 0] * SERVE_PLACE, second[:, 0] * SERVE_SLOPE, first[:, 1].contiguous()
    return torch.stack((torch.zeros_like(y), y), -1), slope, luck
