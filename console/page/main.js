// The console's page: reads the stage's state regularly, and shows what has changed.
// @ts-check
import { acts, get, stage } from "./api.js";
import { showDead } from "./dead.js";
import { hideRequest, showRequest } from "./detail.js";
import { byId, many, write } from "./dom.js";
import { setUpList, showList } from "./list.js";
import { fillMap, layOut } from "./map.js";
import { open, setUpPanels } from "./panels.js";
import { listen, opened, query } from "./route.js";
import { story } from "./story.js";

/** While nothing changes, the waits between two reads grow up to this multiple, so that an idle page costs little. */
const LONGEST_WAIT = 4;
let asking = false;
let again = false;
/** The wait until the next read, as a multiple of the shortest wait. */
let wait = 1;
let timer = 0;
let shown = "";
/** The module local.js, or null for a deployed stage. @type {any} */
let localParts = null;

async function begin() {
  Object.assign(stage, await get("stage"));
  document.title = `Assistance · ${stage.local ? "local console" : stage.stack}`;
  document.documentElement.dataset.where = stage.local ? "local" : "deployed";
  write(byId("stage"), stage.stack);
  write(byId("mode"), stage.local ? "on this machine" : `${stage.region} · ${stage.write ? "reads and writes" : "read only"}${stage.texts ? "" : " · customers' texts left out"}`);
  layOut();
  setUpPanels();
  setUpList();
  if (stage.local) {
    localParts = await import("./local.js");
    localParts.setUp();
  }
}

/** @param {any} state @param {any} request @param {boolean} current Whether no action has run since the state was read. */
function fill(state, request, current) {
  fillMap(state);
  showStory(story(state));
  if (state.page) showList(state.page);
  showDead(state);
  if (request) showRequest(request, state);
  else hideRequest();
  if (state.cost) write(byId("cost"), `${many(state.cost.calls, "call")} to AWS so far, ${price(state.cost.dollars)}`);
  localParts?.show(state, current);
}

/** @param {number} dollars */
const price = (dollars) => (dollars < 0.01 ? "less than a cent" : `about $${dollars.toFixed(2)}`);

/** Show a text; if it is cut off, the complete text appears on hover. @param {string} text */
function showStory(text) {
  write(byId("story"), text);
  if (byId("story").title !== text) byId("story").title = text;
}

/** Read the state and show it. Only one read runs at a time; after an action during a read, another read follows. */
async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  again = false;
  const connection = byId("connection"), before = acts.count;
  try {
    if (!stage.stack) await begin();
    const asked = location.href, id = opened(), search = query();
    search.set("view", id && !stage.local ? "request" : "list");
    const [state, request] = await Promise.all([get(`state?${search}`), id ? get(`requests/${id}`) : null]);
    byId("page").hidden = false;
    // The costs change with each read.
    const found = JSON.stringify([search.toString(), { ...state, cost: null }, request]);
    wait = found === shown ? Math.min(2 * wait, LONGEST_WAIT) : 1;
    shown = found;
    // If the address has changed meanwhile, this is the state for another search or request, and another read follows.
    if (asked === location.href) fill(state, request, acts.count === before && !acts.underWay);
    write(connection, "Live");
    connection.className = "";
  } catch (error) {
    const stopped = stage.local === false ? "The console has stopped: start it again, and open the address that it prints"
      : "The stack has stopped: start it again with make run, and open the address that it prints";
    write(connection, error instanceof TypeError ? stopped : /** @type {Error} */ (error).message);
    connection.className = "lost";
  }
  asking = false;
  if (again) refresh();
}

/** Read the state now, and then again after the shortest wait: the user expects a change. */
function expectChange() {
  shown = "";
  poll();
}

acts.after = expectChange;
listen(() => {
  open("requests");
  expectChange();
});
addEventListener("hashchange", expectChange);
document.addEventListener("visibilitychange", () => document.hidden || expectChange());

async function poll() {
  // A hidden tab reads nothing, so that it costs nothing.
  if (!document.hidden) await refresh();
  clearTimeout(timer);
  timer = setTimeout(poll, wait * (stage.poll_ms ?? 1000));
}
poll();
