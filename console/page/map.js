// The map: a station for each part that a request passes, with the stage's channels.
// @ts-check
import { stage } from "./api.js";
import { byId, make, write } from "./dom.js";

/** The stations that all channels share. */
export const TRUNK = ["bot", "api", "outbox", "producer", "topic"];
const TEXTS = {
  bot: ["Bot", "calls"],
  api: ["API", "answers 202"],
  outbox: ["Outbox", "in the table"],
  producer: ["Producer", "publishes"],
  reconciler: ["Reconciler", "every minute"],
  topic: ["SNS", "a copy per channel"],
};
/** @type {Record<string, any>} */
export const stations = {};
/** A function that is called when the stations have moved. */
export const moved = { notify: () => {} };

/** @param {string} name @param {string} title @param {string} text @param {string} kind */
function station(name, title, text, kind) {
  const words = make("span", "words", make("b", "", title), " ", make("small", "", text));
  const element = make("li", `station ${kind}`, words, make("span", "count"), make("span", "control"));
  element.dataset.station = name;
  stations[name] = element;
  byId("stations").append(element);
  return element;
}

/** @param {string} name */
export const controls = (name) => stations[name].querySelector(".control");

export function layOut() {
  const rows = stage.destinations.length;
  byId("map").dataset.destinations = rows;
  byId("stations").style.setProperty("--destinations", rows);
  for (const [name, [title, text]] of Object.entries(TEXTS)) station(name, title, text, `trunk ${name}`);
  stage.destinations.forEach((/** @type {any} */ { name, title, human }, /** @type {number} */ index) => {
    const parts = [
      station(`queue:${name}`, "Queue", title, "destination queue"),
      station(`consumer:${name}`, "Consumer", "sends", "destination consumer"),
      station(`arrived:${name}`, title, human ? "a human reads it" : "gets the final status", "destination arrived"),
      station(`dead:${name}`, "Dead", "letters", "destination dead"),
    ];
    for (const part of parts) part.style.setProperty("--row", index);
  });
  new ResizeObserver(draw).observe(byId("map"));
}

/** A station's position and size within the map. @param {string} name */
export function place(name) {
  const map = byId("map").getBoundingClientRect(), box = stations[name].getBoundingClientRect();
  return { left: box.x - map.x, right: box.right - map.x, top: box.y - map.y, bottom: box.bottom - map.y,
    x: box.x - map.x + box.width / 2, y: box.y - map.y + box.height / 2, width: box.width };
}

function draw() {
  byId("lines").replaceChildren();
  TRUNK.slice(1).forEach((name, index) => line(TRUNK[index], name));
  line("outbox", "reconciler", "dashed");
  line("reconciler", "topic", "dashed");
  for (const { name } of stage.destinations) {
    line("topic", `queue:${name}`);
    line(`queue:${name}`, `consumer:${name}`);
    line(`consumer:${name}`, `arrived:${name}`);
    under(`consumer:${name}`, `dead:${name}`);
  }
  moved.notify();
}

/** @param {string} d @param {string} kind */
function path(d, kind) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
  element.setAttribute("d", d);
  element.setAttribute("class", kind);
  byId("lines").append(element);
}

/** @param {string} from @param {string} to @param {string} [kind] */
function line(from, to, kind = "") {
  const a = place(from), b = place(to);
  if (Math.abs(a.x - b.x) > 2) {
    const turn = (a.right + b.left) / 2;
    path(`M${a.right},${a.y}H${turn}V${b.y}H${b.left}`, kind);
  } else if (b.top - a.bottom < 20) path(`M${a.x},${a.bottom}V${b.top}`, kind);
  else {
    // One station is below the other, with a third between them: draw the line around it.
    const [edge, turn] = kind ? [a.left, a.left - 5] : [a.right, a.right + 5];
    path(`M${edge},${a.y}H${turn}V${b.y}H${edge}`, kind);
  }
}

/** Draw the line to the dead letters, below the station in between. @param {string} from @param {string} to */
function under(from, to) {
  const a = place(from), b = place(to), below = Math.max(a.bottom, b.bottom) + 3;
  path(`M${a.x},${a.bottom}V${below}H${b.x}V${b.bottom}`, "dashed");
}

/** @param {string} name @param {string | number} count @param {string} [how] busy, off or dead */
function show(name, count, how = "") {
  const element = stations[name];
  write(element.querySelector(".count"), count ? String(count) : "");
  for (const each of ["busy", "off"]) element.classList.toggle(each, each === how);
}

/** @param {any} state */
export function fillMap(state) {
  show("outbox", state.outbox && `${state.outbox}${state.outbox >= 1000 ? "+" : ""} waiting`, state.outbox ? "busy" : "");
  const moving = state.moving ?? [];
  const { producer = true, reconciler = true, faults = {} } = state.switches ?? {};
  show("producer", producer ? "" : "stopped", producer ? "" : "off");
  show("reconciler", reconciler ? "" : "stopped", reconciler ? "" : "off");
  for (const { name } of stage.destinations) {
    const { waiting, hidden } = state.queues[name];
    const sending = moving.filter((/** @type {any} */ each) => each.deliveries.some((/** @type {any} */ d) => d.channel === name && d.status === "sending")).length;
    const back = Math.max(0, hidden - sending);
    const parts = [waiting && `${waiting} waiting`, back && `${back} hidden`].filter(Boolean);
    show(`queue:${name}`, parts.join(", "), waiting + back ? "busy" : "");
    show(`consumer:${name}`, sending && `${sending} sending`, sending ? "busy" : "");
    show(`arrived:${name}`, "", (faults[name] ?? "fine") === "fine" ? "" : "off");
    show(`dead:${name}`, state.dead[name], state.dead[name] ? "busy" : "");
  }
}
