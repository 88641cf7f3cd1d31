// Colours from the style sheet, as they are now.

export function look() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries(
    ["page", "card", "text", "quiet", "rule", "truth", "track", "fix", "site", "second", "third", "block", "sky",
      "soil", "idle"].map((name) => [name, of(name)]),
  );
}

/** Colour and dash of the n-th link in plots and table: no two alike in either for six links. */
export function ofLink(n, colours) {
  const names = ["track", "fix", "third", "second", "text", "quiet", "second", "track"];
  const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3], [], [5, 5], [2, 6], [12, 3]];
  return { colour: colours[names[n % names.length]], dash: dashes[n % dashes.length] };
}

const mixed = (one, other, share) => {
  const parse = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const [a, b] = [parse(one), parse(other)];
  return `#${a.map((value, i) => Math.round(value + (b[i] - value) * share).toString(16).padStart(2, "0")).join("")}`;
};

/** Colour and width of a link by its load; low loads are spread so that they can be told apart. */
export function ofLoad(load, colours) {
  const share = Math.sqrt(Math.min(Math.max(load ?? 0, 0), 1));
  return { colour: mixed(colours.idle, colours.fix, share), width: 1.5 + 4 * share };
}
