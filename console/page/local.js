// The parts that only the local stack has: sending as a bot, dots, faults, received messages, and the guide.
// @ts-check
import { acting, call, stage } from "./api.js";
import { showCards } from "./cards.js";
import { byId, button, make } from "./dom.js";
import { setUpDots, travel } from "./dots.js";
import { showGuide, setUpGuide } from "./guide.js";
import { showMails } from "./mail.js";
import { controls } from "./map.js";
import { setUpSend } from "./send.js";
import { showSlack } from "./slack.js";
import { FAULTS } from "./story.js";

const PANES = { slack: showSlack, mail: showMails, webhook: showCards };
let switched = false;

export function setUp() {
  byId("send-panel").hidden = false;
  setUpSend();
  setUpDots();
  setUpGuide();
}

/** @param {any} state @param {boolean} current */
export function show(state, current) {
  if (!switched) setUpSwitches(state.switches);
  switched = true;
  if (current) fillSwitches(state.switches);
  travel(state);
  for (const pane of state.panes) PANES[/** @type {keyof typeof PANES} */ (pane.kind)](byId(`pane-${pane.channel}`), pane);
  showGuide(state);
}

const resultLine = () => byId("switch-result");

/** Put each switch at the station that it affects. @param {any} switches */
function setUpSwitches(switches) {
  for (const [name, title] of Object.entries({ producer: "Producer", reconciler: "Reconciler" })) {
    const input = Object.assign(make("input"), { type: "checkbox", id: name });
    input.setAttribute("role", "switch");
    input.setAttribute("aria-label", `${title} runs`);
    input.onchange = () => acting(resultLine(), async () => {
      await call(name, { on: input.checked });
      return `The ${title.toLowerCase()} ${input.checked ? "runs" : "is stopped"}.`;
    });
    controls(name).append(input);
  }
  const sweep = button("Run", (self) => acting(resultLine(), () => call("reconcile", {}), self), "small");
  sweep.setAttribute("aria-label", "Run the reconciler now");
  controls("reconciler").append(sweep);
  for (const { name, title } of stage.destinations) {
    const worker = `${name}_consumer`;
    if (worker in switches.workers) {
      const kill = button("Kill", (self) => acting(resultLine(), () => call("kill", { function: worker }), self), "small danger");
      kill.setAttribute("aria-label", `Kill a process of the ${worker}`);
      controls(`consumer:${name}`).append(kill);
    }
    if (!(name in switches.faults)) continue;
    const select = make("select", "", ...Object.entries(FAULTS).map(([value, text]) => Object.assign(make("option", "", text), { value })));
    select.id = `fault-${name}`;
    select.setAttribute("aria-label", `${title} is`);
    select.onchange = () => acting(resultLine(), async () => {
      await call("fault", { channel: name, kind: select.value });
      return `${title} is ${FAULTS[select.value]} now.`;
    });
    controls(`arrived:${name}`).append(select);
  }
}

/** @param {any} switches */
function fillSwitches(switches) {
  for (const [channel, kind] of Object.entries(switches.faults)) {
    const select = byId(`fault-${channel}`);
    if (select !== document.activeElement || select.value !== kind) select.value = kind ?? "";
  }
  byId("producer").checked = switches.producer;
  byId("reconciler").checked = switches.reconciler;
}
