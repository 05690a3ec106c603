// The board as SVG, one unit a point. Knows nothing of the game but its shape and what to draw.
const about = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const GO = about.game.startsWith("go_") || about.game === "gomoku"; // stones on crossings
const STONES = GO || about.game === "othello";
const COLOURS = STONES ? ["Black", "White"] : ["Red", "Yellow"];
const SIDES = ["first", "second"];
const R = 0.41;

function draw(name, parent, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

const percent = share => `${Math.round(100 * share)} %`;

// What is fixed: the frame, holes or lines, and the names at the edges.
function ground(svg) {
  const { rows, columns } = about;
  if (about.drop) {
    draw("rect", svg, { class: "frame", x: 0, y: 0, width: columns, height: rows, rx: 0.25 });
    for (let p = 0; p < rows * columns; p++) draw("circle", svg, { class: "hole", cx: (p % columns) + 0.5, cy: Math.floor(p / columns) + 0.5, r: R });
    return;
  }
  draw("rect", svg, { class: GO ? "wood" : about.game === "othello" ? "felt" : "frame", x: 0, y: 0, width: columns, height: rows, rx: 0.15 });
  const kind = GO ? "grid" : "felt-grid", from = GO ? 0.5 : 0;
  for (let c = GO ? 0 : 1; c < columns; c++) draw("line", svg, { class: kind, x1: c + from, x2: c + from, y1: from, y2: rows - from });
  for (let r = GO ? 0 : 1; r < rows; r++) draw("line", svg, { class: kind, y1: r + from, y2: r + from, x1: from, x2: columns - from });
  for (let c = 0; c < columns; c++) draw("text", svg, { class: "label edge", x: c + 0.5, y: -0.25 }, about.names[c].replace(/\d+/, ""));
  for (let r = 0; r < rows; r++) draw("text", svg, { class: "label edge", x: -0.3, y: r + 0.5 }, about.names[r * columns].replace(/\D+/, ""));
}

// position: what the server says. last: point of the last stone or -1. thought: what the search says, or null. onMove: null when nobody may click.
function drawBoard(svg, position, last, fresh, thought, onMove) {
  const { rows, columns } = about;
  svg.replaceChildren();
  const margin = about.drop ? { left: 0.05, top: 0.05, right: 0.05, bottom: 0.95 } : { left: 0.55, top: 0.5, right: 0.05, bottom: 0.05 };
  svg.style.setProperty("--text", Math.min(1, columns / 8));
  svg.setAttribute("viewBox", `${-margin.left} ${-margin.top} ${columns + margin.left + margin.right} ${rows + margin.top + margin.bottom}`);
  ground(svg);
  position.board.forEach((who, p) => {
    if (!who) return;
    const x = (p % columns) + 0.5, y = Math.floor(p / columns) + 0.5;
    const stone = draw("circle", svg, { class: `stone ${SIDES[who - 1]}`, cx: x, cy: y, r: R });
    if (p === last && fresh && about.drop) {
      stone.style.setProperty("--from", `${-y - 0.5}px`);
      stone.classList.add("dropped");
    }
    if (p === last) draw("circle", svg, { class: "last", cx: x, cy: y, r: 0.16 });
    if (position.line.includes(p)) draw("circle", svg, { class: "win", cx: x, cy: y, r: R });
  });
  drawHints(svg, position, thought);
  const legal = new Set(position.legal);
  const spots = about.drop ? columns : rows * columns;
  for (let a = 0; a < spots; a++) {
    const open = onMove !== null && legal.has(a);
    const shape = about.drop ? { x: a, y: 0, width: 1, height: rows } : { x: a % columns, y: Math.floor(a / columns), width: 1, height: 1 };
    const spot = draw("rect", svg, { class: open ? "spot open" : "spot", rx: 0.2, "data-action": a, ...shape });
    if (!open) continue;
    spot.setAttribute("tabindex", 0);
    spot.setAttribute("role", "button");
    spot.setAttribute("aria-label", `Play ${about.names[a]}`);
    spot.addEventListener("click", () => onMove(a));
    spot.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") onMove(a), event.preventDefault(), event.stopPropagation();
    });
    const free = about.drop ? [...Array(rows).keys()].reverse().find(r => !position.board[r * columns + a]) : Math.floor(a / columns);
    draw("circle", svg, { class: `stone ghost ${SIDES[position.player]}`, cx: (a % columns) + 0.5, cy: free + 0.5, r: R });
  }
}

// The search's policy: a bar below each column, or a disc on each point.
function drawHints(svg, position, thought) {
  const { rows, columns } = about;
  if (about.drop) {
    for (let c = 0; c < columns; c++) {
      draw("text", svg, { class: "label", x: c + 0.5, y: rows + 0.22 }, about.names[c]);
      draw("rect", svg, { class: "share", x: c + 0.12, y: rows + 0.42, width: 0.76, height: 0.14 });
      if (!thought || !position.legal.includes(c)) continue;
      const best = c === thought.action ? " best" : "", share = thought.policy[c];
      if (share >= 0.005) draw("rect", svg, { class: `share-fill${best}`, x: c + 0.12, y: rows + 0.42, width: 0.76 * share, height: 0.14 });
      draw("text", svg, { class: `label${best}`, x: c + 0.5, y: rows + 0.76 }, percent(share));
    }
    return;
  }
  if (!thought) return;
  for (const a of position.legal) {
    const share = thought.policy[a], best = a === thought.action;
    if (a >= rows * columns || (share < 0.02 && !best)) continue;
    const x = (a % columns) + 0.5, y = Math.floor(a / columns) + 0.5;
    draw("circle", svg, { class: best ? "hint best" : "hint", cx: x, cy: y, r: 0.2 + 0.2 * Math.sqrt(share), opacity: 0.6 + 0.4 * share });
    draw("text", svg, { class: "hint-text", x, y }, Math.round(100 * share));
  }
}
