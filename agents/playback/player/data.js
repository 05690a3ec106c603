// What was recorded: unpacks the compact data and answers "where is agent i at time t".
const data = JSON.parse(document.getElementById("data").textContent);

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

// Signed integers, seven bits a byte, lowest first; the last bit of the value is the sign.
function* integers(text) {
  let value = 0, place = 1;
  for (const byte of bytes(text)) {
    value += (byte & 127) * place;
    place *= 128;
    if (byte < 128) {
      yield value % 2 ? -(value + 1) / 2 : value / 2;
      value = 0;
      place = 1;
    }
  }
}

// Outlines: number of points, then differences in cm.
function outlines(text) {
  const next = integers(text), list = [];
  for (let head = next.next(); !head.done; head = next.next()) {
    const points = [];
    let x = 0, y = 0;
    for (let i = 0; i < head.value; i++) {
      x += next.next().value;
      y += next.next().value;
      points.push([x / 100, y / 100]);
    }
    list.push(points);
  }
  return list;
}

// A number for people: a true minus sign, and no minus before zero.
const show = (value, digits) => value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");

// m/s is the unit throughout; km/h only in brackets, where a speed stands alone.
const inBrackets = speed => `(${show(speed * 3.6, 0)} km/h)`;
const speedText = speed => `${show(speed, 1)} m/s ${inBrackets(speed)}`;

const times = data.times, last = times.length - 1, duration = times[last];

// Per agent: position as second differences, the rest as first differences.
const tracks = (() => {
  const next = integers(data.tracks), take = () => next.next().value;
  const series = (order, unit) => {
    const out = new Float64Array(times.length);
    let value = 0, slope = 0;
    for (let k = 0; k < out.length; k++) {
      if (order === 2) { slope += take(); value += slope; } else value += take();
      out[k] = value * unit;
    }
    return out;
  };
  return data.agents.map(agent => ({
    ...agent,
    x: series(2, 0.01), y: series(2, 0.01), yaw: series(1, 0.001), speed: series(1, 0.01), accel: series(1, 0.01),
  }));
})();

const inside = (spans, k) => spans.some(([from, to]) => from <= k && k < to);

function changed(changes, k) {
  let value = null;
  for (const [from, v] of changes) if (from <= k) value = v; else break;
  return value;
}

function indexAt(time) {
  let low = 0, high = last;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= time + 1e-9) low = middle; else high = middle - 1;
  }
  return low;
}

// Smooth motion between two recorded states: a cubic through them with the slopes of their neighbours (Catmull-Rom).
function cubic(v, k, u, from, to) {
  const a = v[k], b = v[k + 1];
  const before = k - 1 >= from ? v[k - 1] : 2 * a - b, after = k + 2 < to ? v[k + 2] : 2 * b - a;
  const m = (b - before) / 2, n = (after - a) / 2, u2 = u * u, u3 = u2 * u;
  return (2 * u3 - 3 * u2 + 1) * a + (u3 - 2 * u2 + u) * m + (3 * u2 - 2 * u3) * b + (u3 - u2) * n;
}

// Pose of agent i at a time, or null while it is not there.
function poseAt(i, time) {
  const k = indexAt(time), track = tracks[i], span = track.there.find(([from, to]) => from <= k && k < to);
  if (!span) return null;
  const pose = { x: track.x[k], y: track.y[k], yaw: track.yaw[k], speed: track.speed[k], accel: track.accel[Math.min(k + 1, span[1] - 1)] };
  if (k + 1 >= span[1]) return { ...pose, accel: track.accel[k] };
  const u = (time - times[k]) / (times[k + 1] - times[k]);
  const mix = v => v[k] + u * (v[k + 1] - v[k]);
  return { ...pose, x: cubic(track.x, k, u, ...span), y: cubic(track.y, k, u, ...span), yaw: mix(track.yaw), speed: mix(track.speed) };
}

// The stretch of decisions overridden by a shield that state k is in, or undefined.
function overriddenAt(k) {
  return data.shield?.find(([from, to]) => from <= k && k < to);
}
