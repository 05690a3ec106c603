// The top view: a camera, the road, the road users.
const canvas = document.getElementById("view"), ctx = canvas.getContext("2d");
const camera = { x: 0, y: 0, scale: 8, turn: 0, follow: true, turning: false };
const dark = matchMedia("(prefers-color-scheme: dark)");
let chosen = -1;

function path(lists, closed = true) {
  const result = new Path2D();
  for (const points of lists) {
    points.forEach(([x, y], i) => i ? result.lineTo(x, y) : result.moveTo(x, y));
    if (closed) result.closePath();
  }
  return result;
}

const scene = Object.fromEntries(Object.entries(data.scene).map(([name, text]) => [name, outlines(text)]));
const drawn = {
  ...Object.fromEntries(["walkways", "surfaces", "bays", "arrows", "stripes", "buildings", "hedges", "regions", "finish", "checks"].map(n => [n, path(scene[n])])),
  ...Object.fromEntries(["rims", "dashed", "solid", "kerbs"].map(n => [n, path(scene[n], false)])),
};
const stops = data.stops.map((stop, i) => ({ ...stop, path: path([scene.stops[i]]), points: scene.stops[i] }));
const shapes = data.shapes.map(parts => parts.map(([role, flat]) => {
  const points = [];
  for (let i = 0; i < flat.length; i += 2) points.push([flat[i] / 1000, flat[i + 1] / 1000]);
  return { role, path: path([points]) };
}));

function shade(colour, by) {
  return "#" + [1, 3, 5].map(i => Math.round(parseInt(colour.slice(i, i + 2), 16) * by).toString(16).padStart(2, "0")).join("");
}

function bodyColour(i, colours) {
  if (i === 0) return colours.ego;
  const choices = data.bodies[tracks[i].kind];
  return choices[i % choices.length];
}

function world() {
  const dpr = devicePixelRatio, s = camera.scale * dpr, c = Math.cos(camera.turn), n = Math.sin(camera.turn);
  const [a, b, cc, d] = [s * c, s * n, s * n, -s * c];
  ctx.setTransform(a, b, cc, d, canvas.width / 2 - a * camera.x - cc * camera.y, canvas.height / 2 - b * camera.x - d * camera.y);
}

// Position on the canvas (CSS pixels) -> world.
function toWorld(px, py) {
  const dx = (px - canvas.clientWidth / 2) / camera.scale, dy = -(py - canvas.clientHeight / 2) / camera.scale;
  const c = Math.cos(camera.turn), n = Math.sin(camera.turn);
  return [camera.x + c * dx - n * dy, camera.y + n * dx + c * dy];
}

function draw(time) {
  const dpr = devicePixelRatio, w = Math.round(canvas.clientWidth * dpr), h = Math.round(canvas.clientHeight * dpr);
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const ego = poseAt(0, time);
  if (ego && camera.follow) [camera.x, camera.y] = [ego.x, ego.y];
  camera.turn = camera.turning && ego ? ego.yaw - Math.PI / 2 : 0;
  if (beliefs && ego && camera.follow && camera.turning) {  // what the eyes look at is ahead
    const ahead = 0.25 * canvas.clientHeight / camera.scale;
    [camera.x, camera.y] = [ego.x + ahead * Math.cos(ego.yaw), ego.y + ahead * Math.sin(ego.yaw)];
  }
  const colours = data.colours[dark.matches ? "dark" : "light"], k = indexAt(time);
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.fillStyle = colours.ground;
  ctx.fillRect(0, 0, w, h);
  world();
  drawGrid(colours);
  drawRoads(colours, k);
  drawTrail(colours, time, k, ego);
  if (beliefs) drawPaths(time);
  drawThoughts(k, colours);
  const order = tracks.map((_, i) => i).sort((a, b) => tracks[b].length - tracks[a].length || a - b).filter(i => i !== 0);
  for (const i of [...order, 0]) {
    const pose = i === 0 ? ego : poseAt(i, time);
    if (pose) drawAgent(i, pose, colours, inside(tracks[i].touched, k), i === 0 && overriddenAt(k));
  }
  fill(drawn.buildings, colours.building);
  stroke(drawn.buildings, colours.building_edge, 0.3);
  fill(drawn.hedges, colours.hedge);
  stroke(drawn.hedges, colours.hedge_edge, 0.3);
  data.lights.forEach(light => drawLight(light, changed(light.states, k) ?? 0, colours));
  if (beliefs) drawBeliefs(time);
  writeThoughts(k, colours);
}

function fill(shape, colour) { ctx.fillStyle = colour; ctx.fill(shape); }

function stroke(shape, colour, metres, dash = []) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = Math.max(metres, 1 / camera.scale);
  ctx.setLineDash(dash);
  ctx.stroke(shape);
  ctx.setLineDash([]);
}

function drawGrid(colours) {
  const reach = Math.hypot(canvas.clientWidth, canvas.clientHeight) / 2 / camera.scale;
  if (reach > 800) return;
  const lines = new Path2D(), step = 20;
  for (let v = Math.ceil((camera.x - reach) / step) * step; v < camera.x + reach; v += step) { lines.moveTo(v, camera.y - reach); lines.lineTo(v, camera.y + reach); }
  for (let v = Math.ceil((camera.y - reach) / step) * step; v < camera.y + reach; v += step) { lines.moveTo(camera.x - reach, v); lines.lineTo(camera.x + reach, v); }
  stroke(lines, colours.grid, 0);
}

function drawRoads(colours, k) {
  ctx.lineJoin = "round";
  fill(drawn.walkways, colours.walkway);
  stroke(drawn.rims, colours.kerb, 1);
  fill(drawn.surfaces, colours.road);
  stroke(drawn.surfaces, colours.road, 0.05);
  stroke(drawn.bays, colours.bay, 0.12);
  fill(drawn.arrows, colours.arrow);
  fill(drawn.stripes, colours.stripe);
  stroke(drawn.dashed, colours.line, 0.16, [3, 6]);
  stroke(drawn.solid, colours.edge, 0.16);
  stroke(drawn.kerbs, colours.kerb, 0.3);
  for (const stop of stops) {
    const lamps = stop.light >= 0 ? data.lamps[changed(data.lights[stop.light].states, k) ?? 0].filter(Boolean) : [];
    fill(stop.path, lamps[0] ?? colours.line);
    if (stop.sign) drawSign(stop.points, colours);
  }
  stroke(drawn.regions, colours.goal, Math.max(0.3, 2 / camera.scale));
  fill(drawn.finish, "#ffffff");
  fill(drawn.checks, colours.dark);
}

function drawSign(p, colours) {
  const x = (p[2][0] + p[3][0]) / 2, y = (p[2][1] + p[3][1]) / 2, ox = x - (p[0][0] + p[1][0]) / 2, oy = y - (p[0][1] + p[1][1]) / 2;
  const far = 1.1 / Math.hypot(ox, oy);
  for (const [radius, colour] of [[0.8, "#ffffff"], [0.66, colours.sign]]) {
    const corners = [...Array(8)].map((_, i) => [x + far * ox + radius * Math.cos((i + 0.5) * Math.PI / 4), y + far * oy + radius * Math.sin((i + 0.5) * Math.PI / 4)]);
    fill(path([corners]), colour);
  }
}

function drawTrail(colours, time, k, ego) {
  if (!ego) return;
  const track = tracks[0], points = [];
  for (let i = 0; i <= k; i++) points.push([track.x[i], track.y[i]]);
  stroke(path([[...points, [ego.x, ego.y]]], false), colours.trail, Math.max(0.35, 1.5 / camera.scale));
}

function disc(x, y, radius, colour) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fillStyle = colour;
  ctx.fill();
}

function drawAgent(i, pose, colours, touched, overridden) {
  const agent = tracks[i], braking = pose.accel < -data.brakeAbove, body = bodyColour(i, colours), parts = shapes[agent.kind];
  const outline = parts.find(p => p.role === "body" || p.role === "shade").path, person = agent.kind >= 4;
  if (person) disc(pose.x, pose.y, Math.max(0.75, 7 / camera.scale), colours.halo);
  const place = (dx, dy, grow) => {
    world();
    ctx.translate(pose.x + dx, pose.y + dy);
    ctx.rotate(pose.yaw);
    ctx.scale(agent.length + grow, agent.width + grow);
  };
  const rim = touched ? colours.touch : overridden ? colours.shield : i === chosen ? colours.chosen : i === 0 ? colours.ego_ring : null;
  if (rim) { place(0, 0, Math.max(0.6, 5 / camera.scale)); fill(outline, rim); }
  if (!person) { place(0.12, -0.18, 0); fill(outline, colours.shadow); }
  place(0, 0, 0);
  for (const part of parts) {
    const colour = part.role === "body" ? body : part.role === "shade" ? shade(body, 0.82)
      : part.role === "brake" ? colours[braking ? "brake_on" : "brake_off"] : colours[part.role];
    fill(part.path, colour);
  }
  if (braking && !person) { ctx.fillStyle = colours.brake_on; ctx.fillRect(-0.5 - 0.14 / agent.length, -0.48, 0.14 / agent.length, 0.96); }
  world();
}

function drawLight(light, state, colours) {
  const grow = Math.max(13 / (2.4 * camera.scale), 1);
  ctx.translate(light.x, light.y);
  ctx.rotate(light.heading);
  ctx.scale(grow, grow);
  ctx.beginPath();
  ctx.roundRect(-1.3, -0.5, 2.6, 1, 0.3);
  ctx.fillStyle = colours.case;
  ctx.fill();
  data.lamps[state].forEach((lamp, i) => disc(0.8 - 0.8 * i, 0, 0.34, lamp || colours.lamp_off));
  world();
}

// The agent under a point of the world, or -1: the smallest box that contains it, with a margin for small ones.
function agentAt(x, y, time) {
  let best = -1, size = Infinity;
  tracks.forEach((agent, i) => {
    const pose = poseAt(i, time);
    if (!pose) return;
    const dx = x - pose.x, dy = y - pose.y, c = Math.cos(pose.yaw), s = Math.sin(pose.yaw), margin = Math.max(0.2, 8 / camera.scale);
    const hit = Math.abs(dx * c + dy * s) < agent.length / 2 + margin && Math.abs(dy * c - dx * s) < agent.width / 2 + margin;
    if (hit && agent.length < size) [best, size] = [i, agent.length];
  });
  return best;
}
