"use strict";
// The gallery: pairs of replays, inflated when looked at, each in the player of `closedloop play`, with one clock for both.
(() => {
  const $ = id => document.getElementById(id);
  const gallery = JSON.parse($("gallery-data").textContent), player = JSON.parse($("player").textContent);
  if (!gallery.pairs.length) return;
  const RUN_UP = 6;  // s before the moment at which playing starts
  const parsed = new Map();
  let shown = 0, begin = 0, end = 1, time = 0, playing = false, previous = 0, asked = 0;

  // Base64 of deflated JSON -> value.
  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return JSON.parse(await new Response(stream).text());
  }

  async function replays(number) {
    if (!parsed.has(number)) {
      const { shared, sides } = await inflate(gallery.pairs[number - 1].replay);
      parsed.set(number, sides.map(side => ({ ...gallery.common, ...shared, ...side })));
    }
    return parsed.get(number);
  }

  function frame(data, name) {
    const full = { ...data, embedded: name, beliefs: null, scenario: name, chips: [], metrics: [], facts: [], command: "" };
    const text = JSON.stringify(full).replace(/[<>&]/g, c => "\\u00" + c.charCodeAt(0).toString(16));
    const element = document.createElement("iframe");
    element.title = name;
    element.srcdoc = player.replace("{{data}}", () => text);
    return element;
  }

  async function open(number, at) {
    const pair = gallery.pairs[number - 1];
    if (!pair) return;
    if (shown !== number) {
      shown = number;
      stop();
      const mine = ++asked;
      $("viewer-title").textContent = `${number}. ${pair.title}`;
      $("viewer-where").textContent = `${pair.scenario}, seed ${pair.seed}, at ${pair.moment.toFixed(1)} s`;
      $("viewer-command").textContent = pair.command;
      for (const link of document.querySelectorAll(".pairs a")) link.setAttribute("aria-current", String(Number(link.dataset.number) === number));
      const datas = await replays(number);
      if (mine !== asked) return;
      begin = Math.min(...datas.map(d => d.times[0]));
      end = Math.max(...datas.map(d => d.times[d.times.length - 1]));
      $("sides").replaceChildren(...datas.map((data, i) => {
        const [name, result] = pair.sides[i], box = document.createElement("div"), caption = document.createElement("p");
        const who = document.createElement("b"), what = document.createElement("span");
        who.textContent = i === datas.length - 1 ? `candidate ${name}` : `baseline ${name}`;
        what.textContent = result;
        caption.className = result === "no failure" ? "" : "fails";
        caption.title = `${who.textContent}: ${result}`;
        caption.append(who, what);
        box.className = "side";
        box.append(caption, frame(data, who.textContent));
        return box;
      }));
    }
    seek(at ?? pair.moment);
  }

  function seek(t) {
    time = Math.min(Math.max(Number.isFinite(t) ? t : begin, begin), end);
    $("clock").textContent = `${time.toFixed(1)} / ${end.toFixed(1)} s`;
    $("scrub").value = end > begin ? (time - begin) / (end - begin) * 1000 : 0;
    $("scrub").setAttribute("aria-valuetext", `${time.toFixed(1)} of ${end.toFixed(1)} seconds`);
    for (const each of document.querySelectorAll("#sides iframe")) each.contentWindow?.postMessage({ time }, "*");
  }

  function stop() {
    playing = false;
    $("run").textContent = "Play";
  }

  function run() {
    if (playing) return stop();
    const moment = gallery.pairs[shown - 1].moment;
    if (time >= end - 0.05 || Math.abs(time - moment) < 0.05) seek(moment - RUN_UP);
    playing = true;
    previous = performance.now();
    $("run").textContent = "Pause";
    requestAnimationFrame(tick);
  }

  function tick(now) {
    if (!playing) return;
    seek(time + Math.min((now - previous) / 1000, 0.25) * Number($("pace").value));
    previous = now;
    if (time >= end) stop(); else requestAnimationFrame(tick);
  }

  // #failure-3@t=4.2
  function fromLink() {
    const found = /^#failure-(\d+)(?:@t=([\d.]+))?$/.exec(location.hash);
    if (!found) return false;
    $("gallery").scrollIntoView({ behavior: "instant" });
    open(Number(found[1]), found[2] === undefined ? undefined : Number(found[2]));
    return true;
  }

  addEventListener("message", event => { if (event.data?.ready) seek(time); });
  addEventListener("hashchange", fromLink);
  $("run").onclick = run;
  $("moment").onclick = () => { stop(); seek(gallery.pairs[shown - 1].moment); };
  $("scrub").oninput = event => { stop(); seek(begin + Number(event.target.value) / 1000 * (end - begin)); };
  $("link").onclick = () => {
    history.replaceState(null, "", `#failure-${shown}@t=${time.toFixed(1)}`);
    navigator.clipboard?.writeText(location.href).then(() => { $("link").textContent = "Copied"; }, () => {});
  };
  if (!fromLink()) new IntersectionObserver((entries, self) => {
    if (entries.some(e => e.isIntersecting) && !shown) { self.disconnect(); open(1); }
  }).observe($("gallery"));
})();
