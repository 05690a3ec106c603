// The clock, the buttons, the keys and the panels.
const $ = id => document.getElementById(id);
const RATES = [0.25, 0.5, 1, 2, 4];
let time = 0, playing = false, rate = 1, previous = 0, pending = false;

function refresh() {
  if (!pending) { pending = true; requestAnimationFrame(frame); }
}

function frame(now) {
  pending = false;
  if (playing) {
    time = Math.min(time + Math.min((now - previous) / 1000, 0.25) * rate, duration);
    if (time >= duration) setPlaying(false);
  }
  previous = now;
  draw(time);
  drawPlots(time);
  if (beliefs) showEyes(time);
  showNumbers();
  if (playing) refresh();
}

function seek(t) {
  time = Math.min(Math.max(Number.isFinite(t) ? t : 0, 0), duration);
  refresh();
}

function setPlaying(on) {
  if (on && time >= duration) time = 0;
  playing = on;
  previous = performance.now();
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  $("play-icon").setAttribute("d", on ? "M3.5 2.5h3.2v11H3.5zM9.3 2.5h3.2v11H9.3z" : "M4 2.5v11l9.5-5.5z");
  refresh();
}

function stepBy(count) {
  setPlaying(false);
  const k = indexAt(time), onStep = Math.abs(times[k] - time) < 1e-6;
  seek(times[Math.min(Math.max(k + count + (count < 0 && !onStep ? 1 : 0), 0), last)]);
}

function setRate(value) {
  rate = value;
  $("rate").value = String(value);
}

function choose(i) {
  chosen = i;
  refresh();
}

function row(table, name, value, kind = "") {
  const line = table.insertRow(), head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const cell = line.insertCell();
  cell.textContent = value;
  cell.className = kind;
  line.prepend(head);
}

function showNumbers() {
  const ego = poseAt(0, time), scrub = $("scrub");
  $("clock").textContent = `${time.toFixed(1)} / ${duration.toFixed(1)} s`;
  scrub.value = duration ? time / duration * 1000 : 0;
  scrub.setAttribute("aria-valuetext", `${time.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  $("hud-speed").textContent = ego ? `${show(ego.speed, 1)} m/s` : "gone";
  $("hud-kmh").textContent = ego ? inBrackets(ego.speed) : "";
  $("hud-accel").textContent = ego ? `${show(ego.accel, 1)} m/s²` : "";
  const overridden = overriddenAt(indexAt(time));
  $("hud-shield").hidden = !overridden;
  $("hud-shield").textContent = overridden ? `shield: ${overridden[3]}` : "";
  $("follow").setAttribute("aria-pressed", camera.follow);
  $("turn").setAttribute("aria-pressed", camera.turning);
  $("plans").setAttribute("aria-pressed", Boolean(thoughts?.shown));
  showThoughts(indexAt(time));
  const metres = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find(m => m * camera.scale >= 50) ?? 5000;
  $("scale-bar").style.width = `${metres * camera.scale}px`;
  $("scale-text").textContent = `${metres} m`;
  canvas.setAttribute("aria-label", `Top view at ${time.toFixed(1)} s` + (ego ? `; ego at ${speedText(ego.speed)}` : ""));
  showAgent(ego);
}

function showAgent(ego) {
  $("agent").hidden = chosen < 0;
  if (chosen < 0) return;
  const agent = tracks[chosen], pose = poseAt(chosen, time), table = $("agent-table"), k = indexAt(time), lane = changed(agent.lanes, k);
  $("agent-name").textContent = chosen === 0 ? "Ego" : `${data.kinds[agent.kind]} ${agent.id || chosen}`;
  table.replaceChildren();
  row(table, "Driven by", agent.role);
  row(table, "Size", `${agent.length.toFixed(1)} × ${agent.width.toFixed(1)} m`);
  if (!pose) return row(table, "Now", "not on the road");
  row(table, "Speed", speedText(pose.speed));
  row(table, "Acceleration", `${show(pose.accel, 1)} m/s²`);
  row(table, "Heading", `${(((pose.yaw * 180 / Math.PI) % 360 + 360) % 360).toFixed(0)}°`);
  row(table, "Position", `${show(pose.x + data.origin[0], 1)}, ${show(pose.y + data.origin[1], 1)} m`);
  row(table, "Lane", lane === null || lane < 0 ? "none" : data.lanes[lane]);
  if (chosen > 0 && ego) row(table, "To the ego", `${Math.hypot(pose.x - ego.x, pose.y - ego.y).toFixed(1)} m`);
  if (chosen > 0 && beliefs) row(table, "Believed", ...believedOf(chosen, k));
}

// ------------------------------------------------------------ camera

function zoom(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
  const [x, y] = toWorld(px, py);
  camera.scale = Math.min(Math.max(camera.scale * factor, 0.1), 120);
  if (!camera.follow) {
    const [x2, y2] = toWorld(px, py);
    camera.x += x - x2;
    camera.y += y - y2;
  }
  refresh();
}

function fit() {
  const [x0, y0, x1, y1] = data.bounds;
  [camera.follow, camera.turning, camera.turn] = [false, false, 0];
  [camera.x, camera.y] = [(x0 + x1) / 2, (y0 + y1) / 2];
  camera.scale = Math.min(canvas.clientWidth / (x1 - x0 + 20), canvas.clientHeight / (y1 - y0 + 20));
  refresh();
}

function toggle(name) {
  camera[name] = !camera[name];
  if (name === "turning" && camera.turning) camera.follow = true;
  refresh();
}

function togglePlans() {
  thoughts.shown = !thoughts.shown;
  refresh();
}

const fingers = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  if (fingers.size === 1) moved = 0;
  canvas.classList.add("drag");
});
canvas.addEventListener("pointermove", event => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const box = canvas.getBoundingClientRect(), other = [...fingers.values()].find(f => f.pointerId !== event.pointerId);
  const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  if (other) {
    const span = f => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY);
    zoom(span(event) / Math.max(span(before), 1), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
  }
  if (moved > 4) {
    if (!other) camera.follow = false;
    const [ax, ay] = toWorld(0, 0), [bx, by] = toWorld(dx, dy), share = other ? 0.5 : 1;
    if (!camera.follow) [camera.x, camera.y] = [camera.x + share * (ax - bx), camera.y + share * (ay - by)];
    refresh();
  }
  fingers.set(event.pointerId, event);
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => {
  const only = fingers.size === 1;
  fingers.delete(event.pointerId);
  canvas.classList.toggle("drag", fingers.size > 0);
  if (name === "pointerup" && only && moved <= 4) {
    const box = canvas.getBoundingClientRect();
    choose(agentAt(...toWorld(event.clientX - box.left, event.clientY - box.top), time));
  }
});
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });

// ------------------------------------------------------------ keys and buttons

function nextEvent(direction) {
  const stops = [...data.events.map(e => times[e.step]), ...(data.shield ?? []).map(s => times[s[0]])].sort((a, b) => a - b);
  const target = direction > 0 ? stops.find(t => t > time + 1e-6) : stops.reverse().find(t => t < time - 1e-6);
  if (target !== undefined) seek(target);
}

function nextAgent() {
  const ego = poseAt(0, time) ?? { x: camera.x, y: camera.y };
  const near = tracks.map((_, i) => [i, poseAt(i, time)]).filter(([, p]) => p).sort((a, b) => Math.hypot(a[1].x - ego.x, a[1].y - ego.y) - Math.hypot(b[1].x - ego.x, b[1].y - ego.y)).map(([i]) => i);
  if (near.length) choose(near[(near.indexOf(chosen) + 1) % near.length]);
}

const shiftRate = by => setRate(RATES[Math.min(Math.max(RATES.indexOf(rate) + by, 0), RATES.length - 1)]);
const KEYS = [
  ["Space", "Play or pause", { " ": () => setPlaying(!playing) }],
  ["← →", "One step back, forward; with Shift ten", { ArrowLeft: e => stepBy(e.shiftKey ? -10 : -1), ArrowRight: e => stepBy(e.shiftKey ? 10 : 1) }],
  ["Home End", "To the start, to the end", { Home: () => seek(0), End: () => seek(duration) }],
  ["[ ]", "Slower, faster", { "[": () => shiftRate(-1), "]": () => shiftRate(1) }],
  ["P N", "Previous, next event", { p: () => nextEvent(-1), n: () => nextEvent(1) }],
  ["+ −", "Zoom in, out (also wheel, pinch)", { "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8) }],
  ["F", "Follow the ego (dragging lets go)", { f: () => toggle("follow") }],
  ["T", "Turn the view with the ego", { t: () => toggle("turning") }],
  ["0", "Show everything", { 0: fit }],
  ...(thoughts ? [["L", "Show or hide what was planned", { l: togglePlans }]] : []),
  ["A", "Choose the next road user (also click)", { a: nextAgent }],
  ...(beliefs ? [[LAYERS.map(l => l.key).join(" "), "Show or hide what was believed: see the list", Object.fromEntries(LAYERS.map(l => [l.key, () => toggleLayer(l.name)]))]] : []),
  ["Esc", "Close", { Escape: () => choose(-1) }],
  ["?", "This list", { "?": () => $("shortcuts").showModal() }],
];
const actions = Object.assign({}, ...KEYS.map(k => k[2]));
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("shortcuts").open) return;
  const typing = event.target instanceof HTMLSelectElement, button = event.target instanceof HTMLButtonElement;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!Object.hasOwn(actions, key) || (typing && key !== "?") || (button && key === " ")) return;
  event.preventDefault();
  actions[key](event);
});

$("play").onclick = () => setPlaying(!playing);
$("first").onclick = () => seek(0);
$("back").onclick = () => stepBy(-1);
$("forward").onclick = () => stepBy(1);
$("follow").onclick = () => toggle("follow");
$("turn").onclick = () => toggle("turning");
$("fit").onclick = fit;
$("plans").hidden = !thoughts;
$("plans").onclick = togglePlans;
$("zoom-in").onclick = () => zoom(1.25);
$("zoom-out").onclick = () => zoom(0.8);
$("help").onclick = () => $("shortcuts").showModal();
$("agent-close").onclick = () => choose(-1);
$("rate").onchange = event => setRate(Number(event.target.value));
$("scrub").oninput = event => seek(Number(event.target.value) / 1000 * duration);
$("copy").onclick = () => {
  const range = document.createRange();
  range.selectNodeContents($("command"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  navigator.clipboard?.writeText(data.command).then(() => { $("copy").textContent = "Copied"; }, () => {});
};

// ------------------------------------------------------------ what does not change

$("title").textContent = data.scenario;
for (const [text, kind] of data.chips) {
  const chip = document.createElement("li");
  chip.textContent = text;
  chip.className = kind;
  $("chips").append(chip);
}
for (const [name, value, kind] of data.metrics) row($("metrics-table"), name, value, kind);
for (const [name, value] of data.facts) row($("facts-table"), name, value);
$("metrics").hidden = !data.metrics.length;
$("command").textContent = data.command;
for (const [keys, text] of KEYS) {
  row($("keys"), "", text);
  $("keys").rows[$("keys").rows.length - 1].cells[0].append(...keys.split(" ").flatMap(k => [Object.assign(document.createElement("kbd"), { textContent: k }), " "]));
}
for (const event of data.events) {
  const mark = document.createElement("button"), share = duration ? times[event.step] / duration : 0;
  mark.className = event.kind;
  mark.title = `${event.label}, ${times[event.step].toFixed(1)} s`;
  mark.setAttribute("aria-label", `Go to ${mark.title}`);
  mark.style.left = `calc(8px + (100% - 16px) * ${share})`;
  mark.onclick = () => seek(times[event.step]);
  $("marks").append(mark);
}
for (const stretch of data.shield ?? []) {
  const bar = document.createElement("button"), [from, to, count, what] = stretch, share = k => duration ? times[k] / duration : 0;
  bar.title = `${times[from].toFixed(1)} s: shield, ${count} ${count === 1 ? "decision" : "decisions"} overridden: no safe way to stop from ${what}`;
  bar.setAttribute("aria-label", `Go to ${bar.title}`);
  bar.style.left = `calc(8px + (100% - 16px) * ${share(from)})`;
  bar.style.width = `calc((100% - 16px) * ${share(to) - share(from)})`;
  bar.onclick = () => seek(times[from]);
  $("overridden").append(bar);
}
dark.addEventListener("change", refresh);
new ResizeObserver(refresh).observe(canvas);
new ResizeObserver(refresh).observe($("plots"));

// A link can point at a moment: replay.html#t=12.4
const fromLink = () => { const t = new URLSearchParams(location.hash.slice(1)).get("t"); if (t !== null) seek(Number(t)); };
addEventListener("hashchange", fromLink);
camera.scale = Math.min(Math.max(canvas.clientWidth / 110, 4), 14);
if (beliefs && beliefs.names.length) {
  camera.turning = true;  // left in the picture is left in the view
  camera.scale = Math.min(Math.max(canvas.clientHeight / 85, 4), 14);
}
if (!tracks[0].there.length) fit();
fromLink();
if (data.embedded) {  // in a report, which has a clock for two of us and says what time it is
  document.documentElement.classList.add("embedded");
  addEventListener("message", event => { if (event.source === parent && typeof event.data?.time === "number") seek(event.data.time); });
  parent.postMessage({ ready: data.embedded }, "*");
}
refresh();
