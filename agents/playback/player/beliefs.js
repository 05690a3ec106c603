// What was believed, and how it is drawn over what was true in the top view.
const beliefs = (() => {
  const b = data.beliefs, next = integers(b.steps), take = (scale = 1) => next.next().value / scale;
  const many = (count, scale) => Array.from({ length: count }, () => take(scale));
  const track = () => {
    const [id, kind, unseen, light, body] = many(5, 1), [x, y, vx, vy, length, width, height, major, minor] = many(9, 100);
    const [yaw, turn] = many(2, 1000), score = take(100), paths = [];
    for (let left = take(); left > 0; left--) {
      const share = take(100), points = [[x, y]];
      for (const _ of b.times) { const [px, py] = points[points.length - 1]; points.push([px + take(10), py + take(10)]); }
      paths.unshift({ share, points });  // the likeliest is drawn last
    }
    return { id, kind, unseen, light, body, x, y, vx, vy, length, width, height, major, minor, yaw, turn, score, paths };
  };
  const detection = () => {
    const [camera, kind, light, id] = many(4, 1), score = take(100), box = many(4, 8);
    return { camera, kind, light, id, score, box };
  };
  const list = make => Array.from({ length: take() }, make);
  const steps = times.map(() => ({ tracks: list(track), found: list(detection), missed: list(() => take()) }));
  for (const step of steps) step.byId = new Map(step.tracks.map(t => [t.id, t]));
  return { ...b, steps };
})();

const SAID = ["red", "red-yellow", "yellow", "green", "off"], LAMP_OF = ["#ff3b30", "#ff9500", "#ffc400", "#2ecc55", "#8a939d"];
const LAYERS = [
  { key: "1", name: "boxes", text: "Believed boxes", draws: "believed" },
  { key: "2", name: "numbers", text: "Track numbers", draws: "number" },
  { key: "3", name: "ellipses", text: "Ellipses of 90 %", draws: "ellipse" },
  { key: "4", name: "paths", text: "Predicted paths", draws: "path" },
  { key: "5", name: "errors", text: "Missed, invented", draws: "errors" },
  { key: "6", name: "found", text: "Detections", draws: "found" },
].filter(({ name }) => name === "found" ? beliefs.names.length : name === "paths" ? beliefs.steps.some(step => step.tracks.some(t => t.paths.length)) : true);
const layers = Object.fromEntries(LAYERS.map(layer => [layer.name, true]));

const isLight = track => track.kind === beliefs.light;
const classColour = kind => beliefs.palette[kind % beliefs.palette.length];
const invented = track => track.body === -1;

// A track at a time within its step: between its places at this step and the next, or carried on by its velocity if it ends.
function believedAt(time) {
  const k = indexAt(time), frame = egoFrame(k), after = k < last ? egoFrame(k + 1) : null;
  const since = time - times[k], u = k < last ? since / (times[k + 1] - times[k]) : 0;
  return beliefs.steps[k].tracks.map(track => {
    const now = frame(track.x, track.y), then = after && beliefs.steps[k + 1].byId.get(track.id);
    const pose = { track, yaw: frame.yaw + track.yaw, turn: frame.yaw + track.turn };
    if (!then) {
      const [x, y] = frame(track.x + track.vx * since, track.y + track.vy * since);
      return { ...pose, x, y };
    }
    const [x, y] = after(then.x, then.y), turn = after.yaw + then.yaw - pose.yaw, half = Math.PI;
    const yaw = pose.yaw + u * (((turn + half) % (2 * half) + 2 * half) % (2 * half) - half);
    return { ...pose, x: now[0] + u * (x - now[0]), y: now[1] + u * (y - now[1]), yaw };
  });
}

// Ego frame of a step -> world.
function egoFrame(k) {
  const { x, y, yaw } = { x: tracks[0].x[k], y: tracks[0].y[k], yaw: tracks[0].yaw[k] }, c = Math.cos(yaw), s = Math.sin(yaw);
  return Object.assign((px, py) => [x + px * c - py * s, y + px * s + py * c], { yaw });
}

function drawPaths(time) {
  if (!layers.paths) return;
  const k = indexAt(time), frame = egoFrame(k), colours = beliefs.colours[dark.matches ? "dark" : "light"];
  ctx.lineCap = ctx.lineJoin = "round";
  for (const { track, x, y } of believedAt(time)) {
    for (const { share, points } of track.paths) {
      const ahead = [[x, y], ...points.slice(1).map(([px, py]) => frame(px, py))];
      const moved = Math.hypot(ahead[ahead.length - 1][0] - x, ahead[ahead.length - 1][1] - y);
      if (moved < 1) continue;
      const line = path([smooth(ahead)], false);
      const [ex, ey] = ahead[ahead.length - 1];
      ctx.globalAlpha = 0.3 * share;
      stroke(line, colours.case, 4.2 / camera.scale);
      disc(ex, ey, 4.4 / camera.scale, colours.case);
      ctx.globalAlpha = 0.35 + 0.65 * share;
      stroke(line, colours.believed, 2.5 / camera.scale);
      disc(ex, ey, 3.5 / camera.scale, colours.believed);
    }
  }
  ctx.globalAlpha = 1;
  ctx.lineCap = "butt";
}

// More points on a curve through these.
function smooth(points) {
  const out = [points[0]], at = i => points[Math.min(Math.max(i, 0), points.length - 1)];
  for (let i = 0; i + 1 < points.length; i++) for (let j = 1; j <= 6; j++) {
    const u = j / 6, mix = d => {
      const [a, p, q, b] = [at(i - 1)[d], at(i)[d], at(i + 1)[d], at(i + 2)[d]], m = (q - a) / 2, n = (b - p) / 2;
      return (2 * u ** 3 - 3 * u ** 2 + 1) * p + (u ** 3 - 2 * u ** 2 + u) * m + (3 * u ** 2 - 2 * u ** 3) * q + (u ** 3 - u ** 2) * n;
    };
    out.push([mix(0), mix(1)]);
  }
  return out;
}

function drawBeliefs(time) {
  const k = indexAt(time), colours = beliefs.colours[dark.matches ? "dark" : "light"], px = 1 / camera.scale;
  const cased = (line, colour, width, dash = []) => {
    ctx.globalAlpha = 0.45;
    stroke(line, colours.case, (width + 1.6) * px);
    ctx.globalAlpha = 1;
    stroke(line, colour, width * px, dash.map(d => d * px));
  };
  const names = [];
  for (const { track, x, y, yaw, turn } of believedAt(time)) {
    const wrong = layers.errors && invented(track), colour = wrong ? colours.invented : isLight(track) ? LAMP_OF[track.light] ?? colours.believed : colours.believed;
    if (layers.ellipses && !isLight(track) && track.major > 0.02) {
      const ring = new Path2D();
      ring.ellipse(x, y, track.major, track.minor, turn, 0, 2 * Math.PI);
      ctx.globalAlpha = 0.16;
      fill(ring, colour);
      ctx.globalAlpha = 1;
      stroke(ring, colour, 1 * px);
    }
    if (layers.boxes || wrong) {
      const grow = isLight(track) ? Math.max(1, 8 * px / track.length) : 1;
      cased(path([rectangle(x, y, yaw, grow * track.length, grow * track.width)]), colour, 2, [6, 3]);
    }
    if (layers.numbers && (layers.boxes || wrong) && !isLight(track)) names.push([x, y, track.width / 2, `#${track.id}`, colour]);
  }
  if (layers.errors) for (const i of beliefs.steps[k].missed) {
    const pose = poseAt(i, time), agent = tracks[i];
    if (!pose) continue;
    const margin = 2 * Math.max(0.3, 4 * px);
    cased(path([rectangle(pose.x, pose.y, pose.yaw, agent.length + margin, agent.width + margin)]), colours.missed, 2);
  }
  if (camera.scale > 3) for (const [x, y, half, text, colour] of names) label(x, y, half, text, colour, colours.case);
  world();
}

function rectangle(x, y, yaw, length, width) {
  const c = Math.cos(yaw), s = Math.sin(yaw);
  return [[1, 1], [-1, 1], [-1, -1], [1, -1]].map(([a, b]) => [x + a * length / 2 * c - b * width / 2 * s, y + a * length / 2 * s + b * width / 2 * c]);
}

// A few letters above a place, upright however the view is turned.
function label(x, y, half, text, colour, halo) {
  const m = ctx.getTransform(), at = m.transformPoint(new DOMPoint(x, y)), dpr = devicePixelRatio;
  ctx.setTransform(dpr, 0, 0, dpr, at.x, at.y);
  ctx.font = "600 11px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.lineJoin = "round";
  ctx.lineWidth = 3;
  ctx.strokeStyle = halo;
  ctx.fillStyle = colour;
  const up = -Math.max(half * camera.scale, 4) - 5;
  ctx.strokeText(text, 0, up);
  ctx.fillText(text, 0, up);
  ctx.setTransform(m);
}
