// What the cameras saw beside the top view, in step with it; the layers' buttons; how much was believed of what was there.
const eye = document.getElementById("eye"), NEAREST = 0.5;

const pictures = beliefs.images.map(row => row.map(text => Object.assign(new Image(), { src: `data:image/webp;base64,${text}` })));
const columns = beliefs.names.length > 1 ? 2 : 1;

function showEyes(time) {
  const k = indexAt(time), step = beliefs.steps[k];
  if (beliefs.names.length) drawEye(k, step);
  const things = step.tracks.filter(t => !isLight(t)), wrong = things.filter(invented).length, numbers = document.getElementById("believed");
  numbers.replaceChildren();
  row(numbers, "Believed", things.length);
  row(numbers, "Missed, though in plain view", step.missed.length, step.missed.length ? "missed" : "");
  row(numbers, "Invented, nothing there", wrong, wrong ? "invented" : "");
}

function drawEye(k, step) {
  const dpr = devicePixelRatio, g = eye.getContext("2d"), [w, h] = beliefs.size, rows = Math.ceil(beliefs.names.length / columns);
  const width = Math.round(eye.clientWidth * dpr), height = Math.round(width / columns * h / w * rows);
  if (eye.width !== width || eye.height !== height) [eye.width, eye.height] = [width, height];
  g.setTransform(1, 0, 0, 1, 0, 0);
  g.fillStyle = "#0b0f12";
  g.fillRect(0, 0, width, height);
  const size = width / columns / w, colours = beliefs.colours.dark, stroke = (colour, thick, dash = []) => {
    g.strokeStyle = colour;
    g.lineWidth = thick * dpr;
    g.setLineDash(dash.map(d => d * dpr));
    g.stroke();
    g.setLineDash([]);
  };
  beliefs.names.forEach((name, c) => {
    const picture = pictures[k][c];
    g.save();
    g.translate(c % columns * w * size, Math.floor(c / columns) * h * size);
    g.beginPath();
    g.rect(0, 0, w * size, h * size);
    g.clip();
    g.imageSmoothingEnabled = false;
    if (picture.complete && picture.naturalWidth) g.drawImage(picture, 0, 0, w * size, h * size); else picture.onload = refresh;
    const put = { g, size, dpr, stroke, view: beliefs.cameras[c] };
    if (layers.paths) for (const track of step.tracks) drawGroundPaths(put, track, colours);
    if (layers.boxes) for (const track of step.tracks) if (track.unseen > 0 && !isLight(track)) drawCarriedOn(put, track, colours);
    if (layers.found) for (const found of step.found) if (found.camera === c) drawFound(put, found, step, colours);
    if (layers.errors) for (const i of step.missed) drawMissed(put, i, k, colours);
    if (beliefs.names.length > 1) write(put, name, 5 * dpr, 14 * dpr, "#ffffff", "#000a");
    g.restore();
  });
}

// Pixels of a point of the ego frame, or null where it is behind the lens.
function project({ view, size }, x, y, z) {
  const dx = x - view.x, dy = y - view.y, c = Math.cos(view.yaw), s = Math.sin(view.yaw), depth = c * dx + s * dy;
  return depth < NEAREST ? null : [(view.cu - view.focal * (c * dy - s * dx) / depth) * size, (view.cv - view.focal * (z - view.z) / depth) * size];
}

// The picture's rectangle around a box on the ground, or null unless all of it is before the lens.
function around(put, x, y, yaw, length, width, height) {
  const corners = rectangle(x, y, yaw, length, width).flatMap(([px, py]) => [project(put, px, py, 0), project(put, px, py, height)]);
  if (corners.some(p => !p)) return null;
  const us = corners.map(p => p[0]), vs = corners.map(p => p[1]);
  return [Math.min(...us), Math.min(...vs), Math.max(...us), Math.max(...vs)];
}

function drawGroundPaths(put, track, colours) {
  const { g, stroke } = put;
  for (const { share, points } of track.paths) {
    const end = points[points.length - 1];
    if (Math.hypot(end[0] - track.x, end[1] - track.y) < 1) continue;
    g.beginPath();
    let pen = false;
    for (const [x, y] of smooth(points)) {
      const p = project(put, x, y, 0);
      if (p) pen ? g.lineTo(...p) : g.moveTo(...p);
      pen = Boolean(p);
    }
    g.lineJoin = "round";
    g.globalAlpha = 0.4 * share;
    stroke(colours.case, 4);
    g.globalAlpha = 0.35 + 0.65 * share;
    stroke(colours.believed, 2.4);
    g.globalAlpha = 1;
  }
}

function drawCarriedOn(put, track, colours) {
  const box = around(put, track.x, track.y, track.yaw, track.length, track.width, track.height);
  if (!box) return;
  const colour = layers.errors && invented(track) ? colours.invented : classColour(track.kind);
  frameOf(put, box, colour, 1.5, [4, 3]);
  if (layers.numbers) write(put, `#${track.id}`, box[0], box[1], "#000", colour);
}

function drawFound(put, found, step, colours) {
  const box = found.box.map(v => v * put.size), track = step.byId.get(found.id), light = found.kind === beliefs.light;
  if (box[2] <= box[0] || box[3] <= box[1]) return;
  const wrong = layers.errors && track && invented(track), colour = light ? LAMP_OF[found.light] ?? classColour(found.kind) : classColour(found.kind);
  if (wrong) frameOf(put, [box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3], colours.invented, 2);
  frameOf(put, box, colour, 1.8);
  if (!layers.numbers) return;
  const name = light ? SAID[found.light] ?? "light" : beliefs.classes[found.kind] ?? "?";
  write(put, `${track ? `#${track.id}` : name} ${found.score.toFixed(2)}`, box[0], box[1] - (wrong ? 3 : 0), "#000", wrong ? colours.invented : colour);
}

function drawMissed(put, i, k, colours) {
  const pose = poseAt(i, times[k]), ego = poseAt(0, times[k]), agent = tracks[i];
  if (!pose || !ego) return;
  const c = Math.cos(ego.yaw), s = Math.sin(ego.yaw), dx = pose.x - ego.x, dy = pose.y - ego.y;
  const box = around(put, dx * c + dy * s, dy * c - dx * s, pose.yaw - ego.yaw, agent.length, agent.width, beliefs.heights[agent.kind]);
  if (box) frameOf(put, [box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3], colours.missed, 2);
}

function frameOf({ g, stroke }, [u0, v0, u1, v1], colour, thick, dash = []) {
  g.beginPath();
  g.rect(u0, v0, u1 - u0, v1 - v0);
  if (!dash.length) stroke("#0008", thick + 1.6);
  stroke(colour, thick, dash);
}

// Text on a plate that stands on (u, v), within the picture.
function write({ g, size, dpr }, text, u, v, ink, plate) {
  const tall = 12 * dpr, [w] = beliefs.size;
  g.font = `${10 * dpr}px system-ui, sans-serif`;
  g.textAlign = "left";
  g.textBaseline = "middle";
  const wide = g.measureText(text).width + 5 * dpr, x = Math.min(Math.max(u - dpr, 0), w * size - wide), y = Math.max(v - tall, 0);
  g.fillStyle = plate;
  g.fillRect(x, y, wide, tall);
  g.fillStyle = ink;
  g.fillText(text, x + 2.5 * dpr, y + tall / 2 + 0.5 * dpr);
}

function toggleLayer(name) {
  layers[name] = !layers[name];
  document.getElementById(`layer-${name}`).setAttribute("aria-pressed", layers[name]);
  refresh();
}

// What is believed of an agent, for the table about it.
function believedOf(i, k) {
  const step = beliefs.steps[k], track = step.tracks.find(t => t.body === i);
  if (!track) return step.missed.includes(i) ? ["missed", "missed"] : ["not known, out of sight", ""];
  const pose = poseAt(i, times[k]), [x, y] = egoFrame(k)(track.x, track.y), off = pose ? Math.hypot(x - pose.x, y - pose.y) : NaN;
  return [`#${track.id} ${beliefs.classes[track.kind]} ${track.score.toFixed(2)}, ${off.toFixed(1)} m off${track.unseen ? ", not seen now" : ""}`, ""];
}

document.querySelector("main").classList.add("with-eyes");
document.querySelector("main").classList.toggle("no-camera", !beliefs.names.length);
document.getElementById("eyes").hidden = false;
eye.hidden = !beliefs.names.length;
eye.style.aspectRatio = beliefs.names.length ? `${columns * beliefs.size[0]} / ${Math.ceil(beliefs.names.length / columns) * beliefs.size[1]}` : "";
const late = document.getElementById("late");
late.hidden = !beliefs.late;
late.textContent = `Detections arrive ${beliefs.late} s after the picture they were made in.`;
for (const { key, name, text, draws } of LAYERS) {
  const button = document.createElement("button"), mark = document.createElement("i"), words = document.createElement("span"), hint = document.createElement("kbd");
  button.id = `layer-${name}`;
  button.setAttribute("aria-pressed", "true");
  button.title = `${text} (${key})`;
  mark.className = `mark ${draws}`;
  words.textContent = text;
  hint.textContent = key;
  button.append(mark, words, hint);
  button.onclick = () => toggleLayer(name);
  document.getElementById("layers").append(button);
}
const kinds = [...new Set(beliefs.steps.flatMap(step => step.found.map(found => found.kind)))].filter(kind => kind !== beliefs.light).sort();
if (beliefs.names.length) for (const kind of kinds) {
  const item = document.createElement("li"), dot = document.createElement("i");
  dot.style.background = classColour(kind);
  item.append(dot, beliefs.classes[kind] ?? "?");
  document.getElementById("classes").append(item);
}
new ResizeObserver(refresh).observe(eye);
