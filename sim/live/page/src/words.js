// Numbers for the eye.

export const metres = (m) => (m === null || m === undefined ? "–" : `${m < 10 ? m.toFixed(2) : m.toFixed(1)} m`);
export const millis = (s) => (s === null || s === undefined ? "–" : `${(s * 1000).toFixed(0)} ms`);
export const percent = (share) =>
  share === null || share === undefined ? "–" : `${share < 0.1 ? (share * 100).toFixed(1) : (share * 100).toFixed(0)} %`;

export const bytes = (n) => (n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : n >= 1e3 ? `${(n / 1e3).toFixed(1)} kB` : `${n} B`);

export const rate = (bps) => {
  if (bps === null || bps === undefined) return "unlimited";
  for (const [factor, unit] of [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"]]) {
    if (bps >= factor) return `${Number((bps / factor).toPrecision(3))} ${unit}`;
  }
  return `${bps} bit/s`;
};

/** Bit/s of `250 kbit/s`; null if it is something else. */
export const bps = (text) => {
  const [, number, prefix] = /^\s*(\d+(?:[.,]\d+)?)\s*([kMG]?)(?:bit\/s|bps|b\/s)\s*$/i.exec(text) ?? [];
  const factor = { "": 1, K: 1e3, M: 1e6, G: 1e9 }[prefix?.toUpperCase()];
  return factor ? Number(number.replace(",", ".")) * factor : null;
};

/** Why frames were lost, the most frequent cause first. */
export const causes = (counts) =>
  Object.entries(counts ?? {})
    .filter(([, n]) => n)
    .sort((a, b) => b[1] - a[1])
    .map(([cause, n]) => `${n} ${cause.replaceAll("_", " ")}`)
    .join(", ");

/** How many were lost, and why. */
export const losses = (count, counts) => {
  const why = causes(counts);
  return count && why ? `${count}: ${why}` : String(count);
};

export const clock = (t, duration) => {
  if (duration <= 120) return `${t.toFixed(1)} s`;
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${duration >= 3600 ? `${Math.floor(t / 3600)}:` : ""}${two((t / 60) % 60)}:${two(t % 60)}`;
};

export const fault = (entry) => {
  const what = {
    bs_down: "is down",
    bs_up: "is back",
    link_down: "link cut",
    link_up: "link back",
    capacity: `capacity ${/^\d+$/.test(entry.detail) ? rate(Number(entry.detail)) : entry.detail}`,
    latency: `latency ${(Number(entry.detail) / 1e6).toFixed(1)} ms`,
    loss: `loss ${entry.detail}`,
  };
  const part = { cu: "central unit", broker: "broker" }[entry.target] ?? entry.target;
  if (entry.kind === `${entry.target}_lost`) return `${part}: process ${entry.detail}`;
  if (entry.kind === `${entry.target}_back`) return `${part}: process is back ${entry.detail}`;
  return `${part} ${what[entry.kind] ?? entry.kind}`;
};
