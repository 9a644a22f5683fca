// The dots on the map: one for each request and channel. Each moves from station to station, slowly if the user chooses so.
// @ts-check
import { stage } from "./api.js";
import { byId, icon, make } from "./dom.js";
import { TRUNK, moved, place, stations } from "./map.js";

const STEP_MS = 280;
const SLOW_MS = 1100;
const STAY_MS = 2500;
/** For each dot its station, and the stations that it still has to pass. @type {Map<string, any>} */
const dots = new Map();
let first = true;

const isSlow = () => byId("slow").checked;

export function setUpDots() {
  byId("slow-switch").hidden = false;
  // Slow on the first visit; later as the user left the switch.
  byId("slow").checked = localStorage.getItem("slow") !== "no";
  byId("slow").onchange = () => localStorage.setItem("slow", isSlow() ? "yes" : "no");
  moved.notify = arrange;
  const walk = () => {
    step();
    byId("dots").classList.toggle("slow", isSlow());
    setTimeout(walk, isSlow() ? SLOW_MS : STEP_MS);
  };
  walk();
}

/** A request's station on its way to one channel, and its state there. @param {any} request @param {string} channel
 * @param {Set<string>} dead @returns {[string, string] | null} */
function where(request, channel, dead) {
  const delivery = request.deliveries.find((/** @type {any} */ each) => each.channel === channel && !each.resend);
  if (delivery?.status === "failed") return dead.has(`${request.id} ${channel}`) ? [`dead:${channel}`, "failed"] : null;
  if (delivery?.status === "delivered") return [`arrived:${channel}`, "delivered"];
  if (delivery?.status === "sending") return [`consumer:${channel}`, "sending"];
  if (delivery?.status === "retrying") return [`queue:${channel}`, "retrying"];
  return request.in_outbox ? ["outbox", "accepted"] : [`queue:${channel}`, "published"];
}

/** The stations between two stations, so that a dot passes all of them. @param {string} from @param {string} to @param {string} channel */
function route(from, to, channel) {
  const way = [...TRUNK, `queue:${channel}`, `consumer:${channel}`, `arrived:${channel}`];
  const target = to.startsWith("dead:") ? way.length - 2 : way.indexOf(to);
  const start = way.indexOf(from);
  const between = start <= target ? way.slice(start + 1, target + 1) : [to];
  return to.startsWith("dead:") ? [...between, to] : between;
}

/** @param {any} state */
export function travel(state) {
  const dead = new Set(state.dead_letters.letters.map((/** @type {any} */ letter) => `${letter.request_id} ${letter.channel}`));
  const seen = new Set();
  for (const request of state.moving) {
    for (const channel of new Set([...request.channels, ...(request.fallback ? [request.fallback.channel] : [])])) {
      const found = stations[`queue:${channel}`] && where(request, channel, dead);
      if (!found) continue;
      const key = `${request.id} ${channel}`;
      const [goal, status] = found;
      seen.add(key);
      let dot = dots.get(key);
      if (!dot) {
        // Requests that were delivered before the page was opened are not animated.
        const over = first && status === "delivered";
        const begins = first ? goal : channel === request.fallback?.channel ? "outbox" : "bot";
        dot = { element: make("i"), at: begins, next: [], goal: begins, status, over };
        dots.set(key, dot);
        if (!over) byId("dots").append(dot.element);
      }
      dot.status = status;
      if (dot.goal !== goal) {
        // A redriven dead letter moves to its queue.
        dot.next.push(...route(dot.goal.startsWith("dead:") ? "topic" : dot.goal, goal, channel));
        dot.goal = goal;
        dot.over = false;
        dot.element.classList.remove("gone");
        if (!dot.element.isConnected) byId("dots").append(dot.element);
      }
    }
  }
  for (const [key, dot] of dots) {
    if (seen.has(key)) continue;
    dot.element.remove();
    dots.delete(key);
  }
  first = false;
  arrange();
}

function step() {
  const now = Date.now();
  for (const dot of dots.values()) {
    if (dot.over) continue;
    if (dot.next.length) {
      dot.at = dot.next.shift();
      dot.since = now;
    } else if (dot.at.startsWith("arrived:") && now - (dot.since ?? now) > STAY_MS) {
      dot.over = true;
      dot.element.classList.add("gone");
      setTimeout(() => dot.over && dot.element.remove(), 900);
    }
  }
  arrange();
}

/** Place every dot; dots at the same station stand in a row at its lower edge. */
function arrange() {
  if (!stage.destinations || !byId("map").offsetParent) return;
  /** @type {Map<string, number>} */
  const there = new Map();
  for (const dot of dots.values()) {
    if (dot.over || !stations[dot.at]) continue;
    const index = there.get(dot.at) ?? 0;
    there.set(dot.at, index + 1);
    const { left, bottom, width } = place(dot.at);
    const across = Math.max(1, Math.floor((width - 6) / 16));
    dot.element.style.transform = `translate(${left + 10 + (index % across) * 16}px, ${bottom - 3 - Math.min(1, Math.floor(index / across)) * 11}px)`;
    // The state also has a shape, for people who can't tell the colours.
    const status = dot.next.length ? "moving" : dot.status;
    if (dot.shape === status) continue;
    dot.shape = status;
    dot.element.className = status;
    dot.element.replaceChildren(...(["delivered", "failed", "retrying"].includes(status) ? [icon(status)] : []));
  }
}
