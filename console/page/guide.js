// The guide: shows one step at a time, points at the control to use, notices when the step is done, and shows the next.
// @ts-check
import { stage } from "./api.js";
import { byId, write } from "./dom.js";
import { titleOf } from "./story.js";

/** @typedef {{text: string, at: () => any, done: (now: any, before: any) => boolean}} Step */
/** @type {Step[]} */
let steps = [];
let number = Number(localStorage.getItem("guide") ?? 0);
/** The stage's state when the current step began. @type {any} */
let before = null;
/** @type {any} */
let latest = null;

/** @param {any} state */
const newest = (state) => state.moving[0]?.id;
/** @param {any} state */
const total = (state) => Object.values(state.dead).reduce((/** @type {any} */ sum, count) => sum + count, 0);

/** The steps that this stage's channels allow. @param {any} state @returns {Step[]} */
function written(state) {
  const found = Object.entries(stage.routes).find(([, { channels, fallback }]) => channels[0] in state.switches.faults && fallback);
  const send = () => byId("send-button");
  /** @type {Step[]} */
  const all = [
    { text: "Send a request. The bot gets its 202 at once; the dot shows the delivery that follows.", at: send, done: (now, then) => newest(now) !== newest(then) },
    { text: "Now stop the producer, which publishes from the outbox.", at: () => byId("producer"), done: (now) => !now.switches.producer },
    { text: "Choose 5 and send. They wait in the outbox, which is the table itself: a request and its outbox entry are one write, so neither can exist without the other.", at: () => (byId("times").value === "1" ? byId("times") : send()), done: (now) => now.outbox > 1 },
    { text: "Start the producer again: it publishes the waiting requests. If it stayed off, the reconciler would publish them after a minute.", at: () => byId("producer"), done: (now) => now.switches.producer && !now.outbox },
  ];
  if (found) {
    const [topic, { channels: [channel], fallback }] = found;
    const name = titleOf(channel);
    const fault = () => byId(`fault-${channel}`);
    const radio = () => document.querySelector(`#topics [value="${topic}"]`);
    all.push(
      { text: `Break ${name}: choose "refusing".`, at: fault, done: (now) => now.switches.faults[channel] === "refusing" },
      { text: `Send a request of the topic ${topic}. ${name} refuses it for good, so its message becomes a dead letter, and ${titleOf(fallback)} gets the request instead: the fallback.`,
        at: () => (/** @type {any} */ (radio())?.checked ? send() : radio()),
        done: (now, then) => now.moving.some((/** @type {any} */ each) => each.fallback?.failed_channel === channel && each.status === "delivered" && !then.moving.some((/** @type {any} */ old) => old.id === each.id && old.status === "delivered")) },
      { text: `Repair ${name}: choose "fine".`, at: fault, done: (now) => now.switches.faults[channel] === "fine" },
      { text: "Redrive the dead letters. A request that the fallback has delivered is not sent again.",
        at: () => (byId("dead-pane").hidden || !byId("dead-pane").offsetParent ? nav("dead") : byId("redrive-all").hidden ? byId("dead-title") : byId("redrive-all")), done: (now) => total(now) === 0 },
    );
  }
  if (stage.takes && state.panes.some((/** @type {any} */ pane) => pane.kind === "slack" && pane.here))
    all.push({ text: "In Slack, click I'll take it. The first person who clicks takes the request. Anybody who clicks later sees who has it.",
      at: () => seen("#pane-slack button[name]:not([name=release])", true) ?? nav("slack"), done: (now, then) => now.moving.filter((/** @type {any} */ each) => each.taken).length > then.moving.filter((/** @type {any} */ each) => each.taken).length });
  return all;
}

/** The tab, or on a phone the panel's button, that shows this pane: the one that is visible. @param {string} name */
const nav = (name) => seen(`#panels [data-panel="${name === "dead" ? "dead" : "received"}"], #tabs [data-pane="${name}"]`);
/** The first element on the page that matches the selector; with `last`, the last one. @param {string} selector @param {boolean} [last] @returns {any} */
const seen = (selector, last = false) => [...document.querySelectorAll(selector)].filter((each) => /** @type {any} */ (each).offsetParent).at(last ? -1 : 0);

/** @param {number} to */
function go(to) {
  number = Math.max(0, to);
  before = latest;
  localStorage.setItem("guide", String(number));
  if (latest) showGuide(latest);
}

export function setUpGuide() {
  byId("guide-back").onclick = () => go(number - 1);
  byId("guide-skip").onclick = () => go(number + 1);
  byId("guide-close").onclick = () => {
    go(99);
    byId("guide-open").focus();
  };
  byId("guide-open").onclick = () => {
    go(0);
    byId("guide-skip").focus();
  };
}

/** @param {any} state */
export function showGuide(state) {
  latest = state;
  if (!steps.length) steps = written(state);
  before ??= state;
  const step = steps[number];
  if (step?.done(state, before)) return go(number + 1);
  byId("guide").hidden = number > steps.length;
  byId("guide-open").hidden = number <= steps.length;
  if (number > steps.length) return point(null);
  write(byId("guide-step"), step ? `Step ${number + 1} of ${steps.length}` : "Done");
  write(byId("guide-text"), step?.text ?? "Now try this: set a channel to slow, send a request, and kill the consumer while it sends. No message is posted twice.");
  byId("guide-back").hidden = number === 0;
  byId("guide-skip").hidden = !step;
  point(step ? step.at() : null);
}

/** Point at an element or, if it is not visible, at the button that shows it. @param {any} wanted */
function point(wanted) {
  const target = wanted?.offsetParent ? wanted : wanted?.closest("#send-panel") ? document.querySelector('#panels [data-panel="send"]') : wanted;
  for (const each of document.querySelectorAll(".pointed")) if (each !== target) each.classList.remove("pointed");
  if (!target || target.classList.contains("pointed")) return;
  target.classList.add("pointed");
  target.scrollIntoView({ block: "nearest" });
}
