// Calls to the console's server: reads and actions. Each sends the token; actions on a deployed stage are confirmed.
// @ts-check
import { byId, write } from "./dom.js";

/** The stage's properties that do not change while the page is open. @type {any} */
export const stage = {};
/** How many actions have begun or ended, and how many are running: a state that was read before an action is outdated after it. */
export const acts = { count: 0, underWay: 0, after: () => {} };

/** Move the token from the URL's fragment to this tab's storage, so that the browser's history does not keep it.
 * Returns whether there was one. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return false;
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}
takeToken();
// A new token belongs to a new console, which may show another stage: nothing of the former one may stay.
addEventListener("hashchange", () => takeToken() && location.reload());

const headers = () => ({ "X-Console": sessionStorage.getItem("token") ?? "" });

/** @param {string} path @param {RequestInit} [how] */
async function ask(path, how = {}) {
  const answer = await fetch(`/api/${path}`, { ...how, headers: { ...headers(), ...how.headers } });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error);
  return document;
}

/** @param {string} path */
export const get = (path) => ask(path);

/** @param {string} act @param {object} body @returns {Promise<any>} */
export async function call(act, body) {
  const document = await ask(act, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  return document.result;
}

/** Run an action, write its result or its error into `where`, and disable the button meanwhile.
 * @param {any} where @param {() => Promise<string>} act @param {any} [button] */
export async function acting(where, act, button) {
  if (button?.getAttribute("aria-disabled") === "true") return;
  button?.setAttribute("aria-disabled", "true");
  acts.count++;
  acts.underWay++;
  try {
    write(where, await act());
  } catch (error) {
    // fetch throws a TypeError if no answer comes, and its message is only "Failed to fetch".
    if (error instanceof TypeError) write(where, "The console has not answered: perhaps it has done this, perhaps not.");
    else write(where, `Not done: ${/** @type {Error} */ (error).message.replace(/\.$/, "")}.`);
  }
  acts.count++;
  acts.underWay--;
  button?.removeAttribute("aria-disabled");
  acts.after();
}

/** Run an operator's action. For a deployed stage, the user must type its name; for the local stack, only `final` actions are confirmed.
 * @param {any} where @param {string} act @param {object} body @param {string} question @param {any} button @param {boolean} [final] */
export async function operate(where, act, body, question, button, final = false) {
  const confirm = stage.local && !final ? "" : await confirmed(question);
  if (confirm === null) return;
  await acting(where, () => call(act, stage.local ? body : { ...body, confirm }), button);
}

/** Ask for confirmation. Returns the typed name, or null if the user cancels. @param {string} question @returns {Promise<string | null>} */
function confirmed(question) {
  const dialog = byId("confirm"), name = byId("confirm-name"), form = byId("confirm-form");
  write(byId("confirm-title"), question);
  write(byId("confirm-text"), stage.local ? "This can't be undone." : `This acts on ${stage.stack} in ${stage.region}.`);
  write(byId("confirm-wrong"), "");
  name.removeAttribute("aria-invalid");
  byId("confirm-named").hidden = stage.local;
  write(byId("confirm-named").querySelector("label"), `Type ${stage.stack}`);
  name.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    form.onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (!stage.local && name.value.trim() !== stage.stack) {
        name.setAttribute("aria-invalid", "true");
        write(byId("confirm-wrong"), `This is not the stage's name, ${stage.stack}.`);
        return;
      }
      dialog.close();
      resolve(name.value.trim());
    };
    byId("confirm-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(null);
  });
}
