// Shows times: how long ago, and the exact time on hover.
// @ts-check
import { make, write } from "./dom.js";

const UNITS = /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]);

/** @param {number} ms */
export function exact(ms) {
  const date = new Date(ms), pad = (/** @type {number} */ value, size = 2) => String(value).padStart(size, "0");
  const offset = -date.getTimezoneOffset(), sign = offset < 0 ? "-" : "+";
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
  return `${day} ${time} UTC${offset ? `${sign}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}` : ""}`;
}

/** @param {number} ms */
export function relative(ms) {
  const seconds = (Date.now() - ms) / 1000;
  const [length, unit] = UNITS.find(([size]) => Math.abs(seconds) >= size) ?? [1, "s"];
  const count = Math.floor(Math.abs(seconds) / length);
  if (count === 0) return "now";
  return seconds > 0 ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}

/** Show a time: given as RFC 3339, or as Unix time in milliseconds. @param {string | number} at */
export function time(at) {
  const ms = typeof at === "number" ? at : Date.parse(at);
  const element = make("time", "", relative(ms));
  element.dateTime = new Date(ms).toISOString();
  element.title = exact(ms);
  return element;
}

/** Show a time as the duration since `start`, and the exact time on hover. @param {string} at @param {string} start */
export function after(at, start) {
  const seconds = (Date.parse(at) - Date.parse(start)) / 1000;
  // From 1,000 s on, in a larger unit: a redrive may come after days, and there is no room for so many seconds.
  const [size, unit] = seconds < 1000 ? [1, "s"] : UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  const element = make("time", "offset", `+${(seconds / size).toFixed(unit === "s" ? 2 : 1)} ${unit}`);
  element.dateTime = at;
  element.title = exact(Date.parse(at));
  return element;
}

setInterval(() => {
  for (const element of document.querySelectorAll("time:not(.offset)")) write(element, relative(Date.parse(/** @type {any} */ (element).dateTime)));
}, 1000);
