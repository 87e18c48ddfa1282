// Elements, their text, and how figures are written.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Touching only what changed keeps focus, selection and a screen reader's place.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const digits = (most, least = most) =>
  new Intl.NumberFormat("en", { minimumFractionDigits: least, maximumFractionDigits: most });
export const whole = digits(0), two = digits(2), one = digits(1), some = digits(1, 0);
export const NONE = "–";
export const shown = (format) => (value) => (value == null ? NONE : format.format(value));
export const count = shown(whole), ms = shown(two), rate = shown(two), seconds = shown(two);
export const percent = (value) => (value == null ? NONE : `${one.format(value * 100)}%`);
export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

export function ago(at, now) {
  const past = Math.max(0, Math.round(now - at));
  if (past < 60) return `${past} s ago`;
  return past < 3600 ? `${Math.floor(past / 60)} min ago` : `${Math.floor(past / 3600)} h ago`;
}
