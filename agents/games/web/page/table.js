// The game: a list of moves, which of them is shown, and what the server has said of the positions.
const record = about.record;
let moves = record ? record.moves : [];
let players = record ? record.players : about.second ? [about.opponent, "you"] : ["you", about.opponent];
let me = players.indexOf("you"); // -1: only to look at
let shown = 0; // moves on the board
let epoch = 0; // what was asked before the last change is of no interest
let busy = false, fresh = false, hints = true, dragging = false;
const positions = new Map(), thoughts = new Map();

const key = k => moves.slice(0, k).join(",");
const position = k => positions.get(key(k));
const thought = k => thoughts.get(key(k)) ?? null;
const over = k => position(k) !== undefined && position(k).result !== "unfinished";

async function ask(what, question) {
  let response;
  try {
    response = await fetch(what, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
  } catch {
    throw new Error("The program that serves this page has ended.");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// From a map, or from the server. Games are looked at from the end too, so every position is asked for once.
async function know(map, what, k) {
  const name = key(k), list = moves.slice(0, k);
  if (!map.has(name)) map.set(name, await ask(what, { moves: list }));
  return map.get(name);
}

// Do something that takes time; what fails is told.
async function guarded(task) {
  const begun = ++epoch;
  const current = () => begun === epoch;
  try {
    await task(current);
  } catch (error) {
    if (current()) tell(error.message, null, false, true);
  }
}

function show(k, isNew = false) {
  shown = Math.max(0, Math.min(k, moves.length));
  fresh = isNew;
  guarded(async current => {
    busy = false;
    await know(positions, "position", shown);
    if (!current()) return;
    render();
    const live = shown === moves.length && !over(shown) && me >= 0;
    if (live && position(shown).player !== me) return answer(current);
    if (!over(shown)) await know(thoughts, "think", shown);
    if (!current()) return;
    render();
    if (record || over(moves.length)) await analyse(current);
  });
}

async function answer(current) {
  busy = true;
  players[1 - me] = about.opponent; // who plays on need not be who played before
  render();
  const { action } = await ask("move", { moves });
  if (!current()) return;
  moves.push(action);
  show(moves.length, true);
}

function playMove(action) {
  moves = moves.slice(0, shown);
  moves.push(action);
  $("saved").textContent = "";
  show(shown + 1, true);
}

async function analyse(current) {
  for (let k = moves.length; k >= 0; k--) {
    await know(positions, "position", k);
    if (current() && !over(k)) await know(thoughts, "think", k);
    if (!current()) return;
    renderAside();
  }
}

function begin(side) {
  moves = [];
  me = side;
  players = side === 0 ? ["you", about.opponent] : [about.opponent, "you"];
  $("saved").textContent = "";
  show(0);
}

function undo() {
  if (me < 0 || !moves.length) return;
  let k = moves.length - 1;
  while (k > 0 && position(k)?.player !== me) k--;
  if (position(k)?.player !== me) return;
  moves = moves.slice(0, k);
  $("saved").textContent = "";
  show(k);
}

// Expected points of who moved first, 0 to 1; null where nobody has looked.
function points(k) {
  if (over(k)) return { first: 1, second: 0, draw: 0.5 }[position(k).result];
  const t = thought(k);
  return t && position(k) ? 0.5 + 0.5 * t.value * (position(k).player === 0 ? 1 : -1) : null;
}

// How good a move was: text, kind, points given away.
function verdict(k) {
  const before = points(k), after = points(k + 1), t = thought(k);
  if (before === null || after === null || !t) return null;
  const lost = Math.max(0, position(k).player === 0 ? before - after : after - before);
  if (moves[k] === t.action || lost < 0.02) return ["best", "good", lost];
  if (lost < 0.06) return ["good", "", lost];
  if (lost < 0.15) return ["inaccurate", "warn", lost];
  return lost < 0.35 ? ["mistake", "bad", lost] : ["blunder", "bad", lost];
}

function lastPoint() {
  const k = shown, a = moves[k - 1];
  if (!k || a === about.pass) return -1;
  if (!about.drop) return a;
  for (let r = 0; r < about.rows; r++) if (position(k).board[r * about.columns + a]) return r * about.columns + a;
  return -1;
}

function tell(text, side = null, thinking = false, bad = false) {
  const status = $("status");
  status.replaceChildren();
  if (side !== null) status.append(Object.assign(document.createElement("i"), { className: SIDES[side] }));
  status.append(text);
  status.classList.toggle("thinking", thinking);
  status.classList.toggle("bad", bad);
}

// Networks go by the path of their file or folder; its last part will do.
const short = name => (name.includes("/") ? name.replace(/\/(policy|final)?(\.safetensors)?$/, "").split("/").pop().replace(".safetensors", "") : name);
const named = side => (players[side] === "you" ? "You" : short(players[side]));

function renderStatus() {
  const p = position(shown);
  if (p.result === "draw") return tell("A draw.");
  if (p.result !== "unfinished") {
    const side = SIDES.indexOf(p.result);
    return tell(players[side] === "you" ? "You have won." : `${named(side)} has won.`, side);
  }
  if (busy) return tell(`${named(p.player)} is thinking`, p.player, true);
  if (players[p.player] === "you") return tell(shown < moves.length ? "You were to move" : p.legal.length === 1 && p.legal[0] === about.pass ? "You have to pass" : "Your move", p.player);
  tell(`${named(p.player)} to move`, p.player);
}

function render() {
  const p = position(shown);
  const mine = shown === moves.length && me >= 0 && p.player === me && p.result === "unfinished" && !busy;
  drawBoard($("board"), p, lastPoint(), fresh, hints ? thought(shown) : null, mine ? playMove : null);
  fresh = false;
  renderStatus();
  $("clock").textContent = `${shown} / ${moves.length}`;
  for (const [id, off] of [["first", shown === 0], ["back", shown === 0], ["forward", shown === moves.length], ["last", shown === moves.length]]) $(id).disabled = off;
  $("undo").hidden = me < 0;
  $("undo").disabled = moves.length < (me === 0 ? 1 : 2);
  $("pass").hidden = about.pass === null;
  $("pass").disabled = !(mine && p.legal.includes(about.pass));
  const t = hints ? thought(shown) : null;
  $("pass").textContent = t && t.policy[about.pass] >= 0.005 ? `Pass (${percent(t.policy[about.pass])})` : "Pass";
  renderAside();
}

function renderAside() {
  const now = points(shown), t = thought(shown), p = position(shown);
  $("bar").className = now === null ? "unknown" : "";
  $("bar").firstElementChild.style.width = `${100 * (now ?? 0.5)}%`;
  $("who").textContent = `by ${short(about.comment)}`;
  let text = "";
  if (now === null) text = over(shown) || me < 0 || busy ? "" : "looking ...";
  else if (over(shown)) text = "The game is over.";
  else if (t.proven) text = t.value === 0 ? "Certain: a draw." : `Certain: ${COLOURS[t.value > 0 ? p.player : 1 - p.player]} wins.`;
  else text = `${COLOURS[0]} ${percent(now)}, ${COLOURS[1]} ${percent(1 - now)} of the points`;
  $("bar-text").textContent = text;
  renderCurve();
  renderList();
}

function renderCurve() {
  const svg = $("curve"), width = Math.max(moves.length, 1);
  svg.setAttribute("viewBox", `0 -0.04 ${width} 1.08`);
  svg.replaceChildren();
  draw("line", svg, { class: "even", x1: 0, x2: width, y1: 0.5, y2: 0.5 });
  let path = "", on = false;
  for (let k = 0; k <= moves.length; k++) {
    const value = points(k);
    if (value !== null) path += `${on ? "L" : "M"}${k} ${(1 - value).toFixed(3)}`;
    on = value !== null;
  }
  draw("path", svg, { class: "line", d: path || "M0 0" });
  draw("line", svg, { class: "now", x1: shown, x2: shown, y1: -0.04, y2: 1.04 });
}

function renderList() {
  const list = $("list");
  list.replaceChildren();
  moves.forEach((action, k) => {
    const button = document.createElement("button");
    const part = (tag, className, text) => button.append(Object.assign(document.createElement(tag), { className, textContent: text }));
    const side = position(k)?.player ?? k % 2, judged = verdict(k), after = points(k + 1);
    part("span", "no", `${k + 1}.`);
    part("i", SIDES[side], "");
    part("span", "", about.names[action]);
    part("span", `verdict ${judged?.[1] ?? ""}`, judged ? judged[0] + (judged[2] >= 0.02 && judged[0] !== "best" ? ` −${Math.round(100 * judged[2])}` : "") : "");
    part("span", "points", after === null ? "" : percent(after));
    button.title = after === null ? "" : `${COLOURS[0]} expects ${percent(after)} of the points after this move`;
    if (k === shown - 1) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => show(k + 1));
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  });
  const current = list.querySelector("[aria-current]");
  if (current) list.scrollTop = Math.max(0, current.offsetTop - list.offsetTop - list.clientHeight / 2);
  $("keep").disabled = $("analyse").disabled = moves.length === 0;
}

async function keep() {
  const saved = $("saved");
  try {
    const { path } = await ask("keep", { moves, players });
    saved.className = "";
    saved.textContent = `Saved: closedloop play ${path}`;
  } catch (error) {
    saved.className = "bad";
    saved.textContent = error.message;
  }
}

const buttons = {
  undo, keep,
  pass: () => playMove(about.pass),
  first: () => show(0), back: () => show(shown - 1), forward: () => show(shown + 1), last: () => show(moves.length),
  hints: () => {
    hints = !hints;
    $("hints").setAttribute("aria-pressed", hints);
    render();
  },
  analyse: () => guarded(async current => {
    busy = false;
    await analyse(current);
    if (current()) show(shown);
  }),
  "new-first": () => begin(0), "new-second": () => begin(1),
};
for (const [id, action] of Object.entries(buttons)) $(id).addEventListener("click", action);

const keys = { ArrowLeft: "back", ArrowRight: "forward", Home: "first", End: "last", u: "undo", p: "pass", h: "hints", a: "analyse", s: "keep" };
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const spot = about.drop && document.querySelector(`.spot.open[data-action="${Number(event.key) - 1}"]`);
  if (spot) return playMove(Number(event.key) - 1);
  const id = keys[event.key];
  if (!id || $(id).disabled || $(id).hidden) return;
  event.preventDefault();
  $(id).click();
});

function seek(event) {
  const box = $("curve").getBoundingClientRect();
  const k = Math.round(((event.clientX - box.left) / box.width) * Math.max(moves.length, 1));
  if (k !== shown) show(k);
}
$("curve").addEventListener("pointerdown", event => {
  dragging = true;
  $("curve").setPointerCapture(event.pointerId);
  seek(event);
});
$("curve").addEventListener("pointermove", event => dragging && seek(event));
$("curve").addEventListener("pointerup", () => (dragging = false));

document.body.classList.toggle("stones", STONES);
$("title").textContent = document.title + (record ? "" : ` against ${short(about.opponent)}`);
$("about").textContent = about.about + (about.gone === null ? "" : ` ${short(about.opponent)} plays on for ${short(about.gone)}.`);
show(moves.length);
