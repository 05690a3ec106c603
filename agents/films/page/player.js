// One film: pictures of moments, curves of decisions. Moment m stands after `film.moments[m]` decisions.
const film = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const COLOURS = ["#ffd23f", "#3ddc97", "#ff6b6b", "#4cc9f0"];
const NS = "http://www.w3.org/2000/svg";
const decisions = film.curves[0].values.length;
let at = 0, playing = false, since = 0, from = 0;

function loaded(source) {
  const image = new Image();
  image.src = source;
  image.addEventListener("load", () => draw());
  return image;
}

const people = film.people.map(loaded);
const eyes = film.eyes.map((row) => row.map(loaded));
const endings = { done: ["done", "good"], time: ["time ran out", "bad"], failed: ["failed", "bad"], won: ["won", "good"], lost: ["lost", "bad"] };
const zoom = film.zoom;

by("title").textContent = `${film.task.replaceAll("_", " ")}: ${film.policy}`;
const end = document.createElement("b");
[end.textContent, end.className] = endings[film.end];
by("about").append(`${film.about} \u00b7 episode ${film.seed} \u00b7 `, end, ` \u00b7 return ${film.total.toPrecision(4)}`);
by("level").textContent = `told: ${film.observation}`;
by("boxed").textContent = `Boxes: ${film.boxed}`;
by("where").max = film.moments.length - 1;
[by("people").width, by("people").height] = film.shape;

const views = film.cameras.map((name, c) => {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
  [canvas.width, canvas.height] = [zoom * film.wide, zoom * film.size];
  canvas.style.aspectRatio = `${film.wide} / ${film.size}`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `camera ${name}`);
  caption.textContent = name;
  figure.append(canvas, caption);
  by("eyes").append(figure);
  return canvas;
});

function shape(kind, attributes, parent) {
  const element = document.createElementNS(NS, kind);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

const curves = film.curves.map((curve) => {
  const row = document.createElement("div"), name = document.createElement("span"), value = document.createElement("span");
  row.className = "curve"; name.className = "name"; value.className = "value";
  name.textContent = curve.name;
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "0 0 1000 40");
  svg.setAttribute("preserveAspectRatio", "none");
  const least = Math.min(0, ...curve.values), most = Math.max(0, ...curve.values), span = most - least || 1;
  const x = (k) => 1000 * (k + 1) / decisions, y = (v) => 38 - 36 * (v - least) / span;
  for (let k = 0; k < decisions; k++) {
    if (!film.success[k]) continue;
    let last = k;
    while (last + 1 < decisions && film.success[last + 1]) last++;
    shape("rect", { class: "goal", x: x(k - 1), y: 0, width: x(last) - x(k - 1), height: 40 }, svg);
    k = last;
  }
  shape("line", { class: "zero", x1: 0, x2: 1000, y1: y(0), y2: y(0) }, svg);
  shape("path", { d: "M" + curve.values.map((v, k) => `${x(k).toFixed(1)} ${y(v).toFixed(2)}`).join("L") }, svg);
  const now = shape("line", { class: "now", x1: 0, x2: 0, y1: 0, y2: 40 }, svg);
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    go(nearest(decisions * (event.clientX - box.left) / box.width));
  });
  row.append(name, svg, value);
  by("curves").append(row);
  return { now, value, values: curve.values };
});

function nearest(decision) {
  let best = 0;
  film.moments.forEach((d, m) => { if (Math.abs(d - decision) < Math.abs(film.moments[best] - decision)) best = m; });
  return best;
}

function way(context, points) {  // a ring where it is believed to be, dots along where it is expected
  const size = context.canvas.width / 160;
  for (const [colour, width] of [["#000a", 1.3], [COLOURS[0], 0.7]]) {
    points.forEach(([u, v], k) => {
      context.beginPath();
      context.arc(u, v, k ? 0.5 * size : 4.5 * size, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth] = [colour, width * size];
      context.stroke();
    });
  }
}

function draw() {
  const done = film.moments[at], picture = people[at], canvas = by("people");
  if (picture.complete && picture.naturalWidth) {
    canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    if (film.ways.length) way(canvas.getContext("2d"), film.ways[at]);
  }
  views.forEach((view, c) => {
    const context = view.getContext("2d"), image = eyes[at][c];
    if (!image.complete || !image.naturalWidth) return;
    const em = Math.max(15, view.width / 22);  // canvases are shrunk to one width
    context.imageSmoothingEnabled = zoom < 3;  // of small pictures the pixels are shown
    context.drawImage(image, 0, 0, view.width, view.height);
    film.boxes[at][c].forEach(([u0, v0, u1, v1, thing, score], number) => {
      if (u1 <= u0) return;
      const k = thing ?? number;
      const above = k % 2 ? v1 > film.size - 10 : v0 > 12;  // of two things that are together one is named above, one below
      context.strokeStyle = context.fillStyle = COLOURS[k % COLOURS.length];
      context.lineWidth = em / 7.5;
      context.strokeRect(zoom * u0 - 1, zoom * v0 - 1, zoom * (u1 - u0) + 2, zoom * (v1 - v0) + 2);
      context.font = `600 ${em}px system-ui, sans-serif`;
      const name = score === undefined ? film.things[k] : `${film.things[k]} ${score.toFixed(2)}`;
      const place = [name, Math.min(zoom * u0, view.width - context.measureText(name).width - 2), above ? zoom * v0 - 0.4 * em : zoom * v1 + 1.07 * em];
      [context.strokeStyle, context.lineWidth, context.lineJoin] = ["#000a", 0.2 * em, "round"];
      context.strokeText(...place);
      context.fillText(...place);
    });
  });
  for (const curve of curves) {
    const x = 1000 * done / decisions;
    curve.now.setAttribute("x1", x); curve.now.setAttribute("x2", x);
    curve.value.textContent = done ? String(Math.round(1000 * curve.values[done - 1]) / 1000) : "";
  }
  by("where").value = at;
  by("note").textContent = film.notes.length ? film.notes[at] : "";
  by("clock").textContent = `${(done * film.dt).toFixed(2)} / ${(decisions * film.dt).toFixed(2)} s`;
}

function go(moment) {
  at = Math.max(0, Math.min(film.moments.length - 1, moment));
  since = performance.now(); from = film.moments[at];
  draw();
}

function set(on) {
  playing = on;
  by("play").textContent = on ? "Pause" : "Play";
  if (on && at === film.moments.length - 1) at = 0;
  go(at);
  if (on) requestAnimationFrame(tick);
}

function tick(now) {
  if (!playing) return;
  const decision = from + Number(by("pace").value) * (now - since) / 1000 / film.dt;
  while (at + 1 < film.moments.length && film.moments[at + 1] <= decision) at++;
  draw();
  if (at === film.moments.length - 1) set(false); else requestAnimationFrame(tick);
}

by("play").addEventListener("click", () => set(!playing));
by("where").addEventListener("input", () => go(Number(by("where").value)));
by("pace").addEventListener("change", () => go(at));
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && event.target.type !== "range" && event.target.tagName !== "SELECT") { set(false); go(at + step); }
  if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "SELECT") { event.preventDefault(); set(!playing); }
});
const asked = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);  // page.html#t=1.2 opens at 1.2 s
go(asked ? nearest(Number(asked[1]) / film.dt) : 0);
