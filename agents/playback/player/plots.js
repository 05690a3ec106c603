// Speed, acceleration and time to collision over time, in step with the view.
const plots = [
  { title: "Speed", unit: "m/s", of: i => tracks[i].speed, now: pose => pose.speed, low: 0, high: 10 },
  { title: "Acceleration", unit: "m/s²", of: i => tracks[i].accel, now: pose => pose.accel, low: -2, high: 2 },
  { title: "Time to collision", unit: "s", of: i => i === 0 ? data.ttc.map(v => v === null ? NaN : v / 100) : null, low: 0, high: 5, fixed: true, limit: 0.95 },
];

for (const plot of plots) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption"), name = document.createElement("span");
  const values = document.createElement("span");
  plot.own = document.createElement("b");
  plot.others = document.createElement("b");
  plot.canvas = document.createElement("canvas");
  plot.canvas.setAttribute("role", "img");
  name.textContent = `${plot.title} (${plot.unit})`;
  values.append(plot.own, plot.others);
  caption.append(name, values);
  figure.append(caption, plot.canvas);
  document.getElementById("plots").append(figure);
  const seekTo = event => {
    const box = plot.canvas.getBoundingClientRect();
    seek((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT) * duration);
  };
  plot.canvas.addEventListener("pointerdown", event => { plot.canvas.setPointerCapture(event.pointerId); seekTo(event); });
  plot.canvas.addEventListener("pointermove", event => { if (event.buttons & 1) seekTo(event); });
}

const LEFT = 30, RIGHT = 6, TOP = 6, BOTTOM = 16;

function niceStep(span) {
  const raw = span / 3, power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].find(f => f * power >= raw) * power;
}

function drawPlots(time) {
  const style = getComputedStyle(document.body), colour = name => style.getPropertyValue(name).trim(), k = indexAt(time);
  for (const plot of plots) {
    const target = plot.canvas, dpr = devicePixelRatio, w = target.clientWidth, h = target.clientHeight, g = target.getContext("2d");
    if (target.width !== Math.round(w * dpr) || target.height !== Math.round(h * dpr)) [target.width, target.height] = [Math.round(w * dpr), Math.round(h * dpr)];
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.clearRect(0, 0, w, h);
    const series = [[0, "--accent"], ...(chosen > 0 ? [[chosen, "--other"]] : [])].map(([i, c]) => ({ i, agent: tracks[i], values: plot.of(i), colour: colour(c) })).filter(s => s.values);
    let { low, high } = plot;
    if (!plot.fixed) for (const { values, agent } of series) values.forEach((v, j) => { if (inside(agent.there, j)) [low, high] = [Math.min(low, v), Math.max(high, v)]; });
    const x = t => LEFT + t / Math.max(duration, 1e-9) * (w - LEFT - RIGHT), y = v => TOP + (high - v) / (high - low) * (h - TOP - BOTTOM);
    const line = (x0, y0, x1, y1) => { g.beginPath(); g.moveTo(x0, y0); g.lineTo(x1, y1); g.stroke(); };
    g.font = "11px system-ui, sans-serif";
    g.fillStyle = colour("--soft");
    g.strokeStyle = colour("--rule");
    g.lineWidth = 1;
    g.textBaseline = "middle";
    g.textAlign = "right";
    const step = niceStep(high - low);
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9; v += step) { line(LEFT, y(v), w - RIGHT, y(v)); g.fillText(show(v, step < 1 ? 1 : 0), LEFT - 5, y(v)); }
    g.textAlign = "center";
    const tick = niceStep(duration * 0.75) || 1;
    for (let t = 0; t <= duration + 1e-9; t += tick) g.fillText(`${+t.toFixed(3)} s`, Math.min(Math.max(x(t), LEFT + 8), w - 14), h - 6);
    if (plot.limit !== undefined) { g.setLineDash([4, 4]); g.strokeStyle = colour("--bad"); line(LEFT, y(plot.limit), w - RIGHT, y(plot.limit)); g.setLineDash([]); }
    g.save();
    g.beginPath();
    g.rect(LEFT, 0, w - LEFT, h - BOTTOM + 2);
    g.clip();
    for (const { values, agent, colour: c } of series) {
      g.strokeStyle = c;
      g.lineWidth = 1.6;
      g.beginPath();
      let pen = false;
      values.forEach((v, j) => {
        const there = inside(agent.there, j) && !Number.isNaN(v);
        if (there) pen ? g.lineTo(x(times[j]), y(v)) : g.moveTo(x(times[j]), y(v));
        pen = there;
      });
      g.stroke();
    }
    g.restore();
    g.strokeStyle = colour("--text");
    line(x(time), TOP - 4, x(time), h - BOTTOM + 2);
    const shown = s => {
      const pose = s && poseAt(s.i, time);
      if (!pose) return "";
      const value = plot.now ? plot.now(pose) : s.values[k];
      return Number.isNaN(value) ? "–" : show(value, plot.now ? 1 : 2);
    };
    plot.own.textContent = shown(series[0]);
    plot.others.textContent = shown(series[1]);
    target.setAttribute("aria-label", `${plot.title} over time; now ${plot.own.textContent} ${plot.unit}`);
  }
}
