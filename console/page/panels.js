// Chooses the panel that a phone shows, and the pane on the right: one for each channel, and the dead letters.
// @ts-check
import { stage } from "./api.js";
import { byId, button, make, write } from "./dom.js";

/** @type {string} */
let pane = "dead";

/** @param {string} name */
export const paneOf = (name) => byId(name === "dead" ? "dead-pane" : `pane-${name}`);

/** Show a panel, on a screen with room for only one. @param {string} name */
export function open(name) {
  const hidden = document.documentElement.dataset.panel !== name;
  document.documentElement.dataset.panel = name;
  // While the list was hidden, it could not scroll to its newest message.
  if (hidden && name === "received") for (const list of document.querySelectorAll("#slack")) list.scrollTop = list.scrollHeight;
  for (const each of byId("panels").children) each.toggleAttribute("aria-current", each.dataset.panel === name);
}

/** Show a pane on the right. @param {string} name */
export function bring(name) {
  pane = name;
  for (const each of document.querySelectorAll(".pane")) /** @type {any} */ (each).hidden = each !== paneOf(name);
  for (const tab of byId("tabs").children) {
    if (tab.dataset.pane === name) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  }
  if (document.documentElement.dataset.panel === "received" && name === "dead") open("dead");
}

/** Make a tab, with the number of items in its pane. @param {string} name @param {string} title */
function tab(name, title) {
  const element = button(title, () => {
    bring(name);
    open(name === "dead" ? "dead" : "received");
  }, "tab");
  element.append(" ", make("span", "count"));
  element.dataset.pane = name;
  return element;
}

/** @param {string} name @param {number} count */
export function setCount(name, count) {
  for (const each of document.querySelectorAll(`#tabs [data-pane="${name}"] .count, #panels [data-panel="${name}"] .count`)) write(each, count ? String(count) : "");
}

export function setUpPanels() {
  const channels = stage.local ? stage.destinations.filter((/** @type {any} */ destination) => destination.human) : [];
  for (const { name, title } of channels) {
    const element = make("div", "pane");
    element.id = `pane-${name}`;
    byId("panes").append(element);
    byId("tabs").append(tab(name, title));
  }
  byId("tabs").append(tab("dead", "Dead letters"));
  const panels = [["send", "Send"], ["requests", "Requests"], ["received", "Received"], ["dead", "Dead letters"]];
  for (const [name, title] of panels) {
    if (!stage.local && (name === "send" || name === "received")) continue;
    const element = button(title, () => {
      if (name === "dead") bring("dead");
      if (name === "received" && pane === "dead") bring(channels[0].name);
      open(name);
    });
    element.append(" ", make("span", "count"));
    element.dataset.panel = name;
    byId("panels").append(element);
  }
  bring(channels[0]?.name ?? "dead");
  open(stage.local && location.pathname === "/" ? "send" : "requests");
}
