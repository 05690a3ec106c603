// What a planner had in mind: candidates coloured by cost, the plan chosen, the futures that were expected of the others.
const thoughts = data.thoughts && { ...data.thoughts, shown: true, at: -1, now: null };

// Cheap is green, dear is red, by way of amber; told apart by their width too.
const DEAR = [...Array(10)].map((_, i) => `hsl(${140 - 14 * i} 75% ${44 + i}%)`);

function thoughtAt(k) {
  if (!thoughts || k >= thoughts.steps.length) return null;
  if (thoughts.at !== k) {
    const step = thoughts.steps[k];
    thoughts.now = { ...step, chosen: outlines(step.chosen), candidates: outlines(step.candidates), futures: outlines(step.futures) };
    thoughts.at = k;
  }
  return thoughts.now;
}

function drawThoughts(k, colours) {
  const now = thoughts?.shown && thoughtAt(k);
  if (!now) return;
  ctx.lineJoin = ctx.lineCap = "round";
  const thin = 1.2 / camera.scale;
  now.futures.forEach((points, i) => {
    ctx.globalAlpha = 0.25 + 0.65 * now.likely[i] / 100;
    stroke(path([points], false), colours.future, Math.max(0.12 + 0.35 * now.likely[i] / 100, thin));
    const [x, y] = points[points.length - 1];
    disc(x, y, Math.max(0.35, 2.5 / camera.scale), colours.future);
  });
  ctx.globalAlpha = 1;
  now.candidates.forEach((points, i) => stroke(path([points], false), DEAR[now.dear[i]], Math.max(0.22 - 0.01 * now.dear[i], thin)));
  stroke(path(now.chosen, false), colours.ego_ring, Math.max(0.75, 4.5 / camera.scale));
  stroke(path(now.chosen, false), colours.ego, Math.max(0.45, 2.5 / camera.scale));
  ctx.lineCap = "butt";
}

// How likely each future is, written at its end, upright.
function writeThoughts(k, colours) {
  const now = thoughts?.shown && thoughtAt(k);
  if (!now || camera.scale < 5) return;
  ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  ctx.font = "600 11px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  now.futures.forEach((points, i) => {
    if (now.likely[i] > 98) return;
    const [x, y] = points[points.length - 1], c = Math.cos(camera.turn), n = Math.sin(camera.turn), dx = x - camera.x, dy = y - camera.y;
    const px = canvas.clientWidth / 2 + camera.scale * (c * dx + n * dy), py = canvas.clientHeight / 2 - camera.scale * (c * dy - n * dx);
    ctx.lineWidth = 3;
    ctx.strokeStyle = colours.panel;
    ctx.strokeText(`${now.likely[i]} %`, px, py - 10);
    ctx.fillStyle = colours.text;
    ctx.fillText(`${now.likely[i]} %`, px, py - 10);
  });
  world();
}

function showThoughts(k) {
  const section = document.getElementById("thoughts"), now = thoughts && thoughtAt(k);
  section.hidden = !now;
  if (!now) return;
  const table = document.getElementById("thoughts-table");
  table.replaceChildren();
  row(table, "Cost of the plan", show(now.costs[0], 2));
  thoughts.terms.forEach((name, i) => { if (Math.abs(now.costs[i + 1]) >= 0.005) row(table, `${name[0].toUpperCase()}${name.slice(1)}`, show(now.costs[i + 1], 2)); });
  row(table, "Candidates shown", String(now.candidates.length));
}
