// The view of one request: whether it reached a human, its history, and actions. It has its own URL.
// @ts-check
import { operate, stage } from "./api.js";
import { after, exact, time } from "./clock.js";
import { badge, byId, button, icon, make, outwards, write } from "./dom.js";
import { listAddress } from "./list.js";
import { bring, open, paneOf } from "./panels.js";
import { titleOf } from "./story.js";

const REACHED = /** @type {Record<string, [string, string]>} */ ({ yes: ["delivered", "Reached a human"], no: ["failed", "Reached nobody"], "not yet": ["retrying", "Not yet"] });
let shown = "";
let id = "";

export function hideRequest() {
  if (!id) return;
  id = shown = "";
  byId("request-view").hidden = true;
  byId("list-view").hidden = false;
}

/** @param {any} request @param {any} state */
export function showRequest(request, state) {
  const letters = state.dead_letters.letters.filter((/** @type {any} */ letter) => letter.request_id === request.id);
  const content = JSON.stringify([request, letters.map((/** @type {any} */ letter) => letter.id)]);
  if (content === shown) return;
  const view = byId("request-view"), fresh = id !== (request.id ?? "missing");
  const active = /** @type {any} */ (document.activeElement), held = view.contains(active) ? active.dataset.mark : null;
  const typed = view.querySelector("#who")?.value ?? "", chosen = view.querySelector("#resend-by")?.value, result = view.querySelector("#request-result")?.textContent ?? "", scrolled = view.querySelector(".scroll")?.scrollTop ?? 0;
  [shown, id] = [content, request.id ?? "missing"];
  view.replaceChildren(...(request.missing ? [back(), make("h2", "", "No such request"), make("p", "empty", request.missing)] : parts(request, letters)));
  view.hidden = false;
  byId("list-view").hidden = true;
  if (!fresh && view.querySelector("#who")) {
    view.querySelector("#who").value = typed;
    // A change of the request must not undo the user's choice of a channel.
    if (chosen && view.querySelector("#resend-by")) view.querySelector("#resend-by").value = chosen;
    write(view.querySelector("#request-result"), result);
    view.querySelector(".scroll").scrollTop = scrolled;
  }
  if (fresh) view.querySelector("h2").focus({ preventScroll: true });
  else if (held) (view.querySelector(`[data-mark="${held}"]`) ?? view.querySelector("h2")).focus({ preventScroll: true });
}

function back() {
  const link = make("a", "back", "Back to the list");
  link.href = listAddress.last;
  link.dataset.mark = "back";
  return link;
}

/** @param {any} request @param {any[]} letters */
function parts(request, letters) {
  const [state, word] = REACHED[request.reached.reached];
  const heading = make("h2", "", request.description ?? request.reference ?? request.id);
  heading.id = "request-title";
  heading.tabIndex = -1;
  // The description may be longer than the panel, so it scrolls with the rest.
  const scroll = make("div", "scroll", heading,
    make("p", `reached ${state}`, icon(state), make("b", "", `${word}:`), ` ${request.reached.words} `, request.reached.at && time(request.reached.at)),
    actions(request, letters), facts(request), make("h3", "", "History ", make("small", "", "time after it was accepted")), history(request));
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "The request");
  return [make("div", "title", back(), badge(request.status), make("small", "", request.topic)), scroll];
}

/** @param {any} request */
function facts(request) {
  const { name, email, phone } = request.customer ?? {};
  /** @type {[string, any][]} */
  const rows = [["Id", make("code", "", request.id)], ["Accepted", exact(Date.parse(request.created_at))], ["Reference", request.reference], ["Customer", [name, email, phone].filter(Boolean).join(", ")]];
  if (request.conversation_url) rows.push(["Conversation", /^https:\/\//.test(request.conversation_url) ? outwards(request.conversation_url, request.conversation_url) : request.conversation_url]);
  for (const { label, value } of request.details ?? []) rows.push([label, value]);
  rows.push(["Callback URL", request.callback_url]);
  return make("dl", "facts", ...rows.filter(([, value]) => value).flatMap(([label, value]) => [make("dt", "", label), make("dd", "", value)]));
}

/** @param {any} request */
function history(request) {
  const items = request.events.map((/** @type {any} */ event) => {
    const { error } = event;
    const lines = [
      event.note && make("p", "note", event.note),
      error && make("p", "note", make("code", "", error.code), ` ${error.means}. `, event.state !== "due" && make("b", "", error.to_do)),
      (event.sent_to || event.answered) && make("p", "note", event.sent_to && `to ${event.sent_to} `, event.answered && "answered ", event.answered && make("code", "", event.answered), " ", see(event, request)),
    ];
    return make("li", event.state, icon(event.state), after(event.at, request.created_at), make("div", "", make("span", "", event.what), event.seconds !== null && make("small", "", ` in ${event.seconds.toFixed(2)} s`), ...lines));
  });
  return make("ol", "history", ...items);
}

/** A button that shows the delivered message in its pane; only on the local stack. @param {any} event @param {any} request */
function see(event, request) {
  if (!stage.local || !event.answered || event.channel === "callback") return null;
  const element = button(`See it in ${titleOf(event.channel)}`, () => {
    bring(event.channel);
    open("received");
    const found = [...paneOf(event.channel).querySelectorAll("li")].find((each) => each.dataset.key === event.answered || each.textContent.includes(request.id));
    found?.querySelector(".subject")?.click();
    found?.scrollIntoView({ block: "nearest" });
  }, "quiet");
  element.dataset.mark = `see ${event.answered}`;
  return element;
}

/** @param {any} request @param {any[]} letters */
function actions(request, letters) {
  const result = make("p", "", "");
  result.id = "request-result";
  result.setAttribute("role", "status");
  const copied = (/** @type {string} */ what, /** @type {string} */ text) => async (/** @type {any} */ element) => {
    try {
      await navigator.clipboard.writeText(text);
      write(byId("request-result"), `Copied ${what}.`);
    } catch (error) {
      write(byId("request-result"), `The browser refuses to copy (${/** @type {Error} */ (error).name}): ${text}`);
    }
    element.focus();
  };
  const copies = [button("Copy id", copied("the id", request.id)), button("Copy as curl", copied("the call", curl(request)))];
  const row = make("div", "row", ...copies);
  if (stage.write) {
    for (const letter of letters)
      row.append(button(`Redrive ${titleOf(letter.channel)}`, (element) => operate(byId("request-result"), "redrive", { ids: [letter.id] }, `Redrive it on ${titleOf(letter.channel)}?`, element)));
    if (request.has_ended) row.append(...resend(request));
    row.append(...take(request));
  }
  for (const element of row.querySelectorAll("button, select, input")) element.dataset.mark ??= element.textContent || element.id;
  return make("div", "actions", row, result);
}

/** @param {any} request */
function resend(request) {
  const channels = stage.destinations.filter((/** @type {any} */ destination) => destination.human);
  const select = make("select", "", ...channels.map((/** @type {any} */ { name, title }) => Object.assign(make("option", "", title), { value: name })));
  select.id = "resend-by";
  select.setAttribute("aria-label", "Channel to resend by");
  // The stage may no longer have the channel that delivered the request.
  const last = request.deliveries.at(-1)?.channel;
  select.value = channels.some((/** @type {any} */ { name }) => name === last) ? last : channels[0].name;
  const act = button("Resend", (element) => operate(byId("request-result"), "resend", { id: request.id, channel: select.value }, `Send it once more, by ${titleOf(select.value)}?`, element));
  return [make("span", "pair", act, select)];
}

/** @param {any} request */
function take(request) {
  const who = Object.assign(make("input"), { id: "who", placeholder: "name", maxLength: 60, autocomplete: "off" });
  who.setAttribute("aria-label", request.taken ? "Who releases it" : "Who takes it");
  const act = request.taken ? "release" : "take";
  const element = button(request.taken ? "Release" : "Take", (self) => {
    const name = who.value.trim();
    who.toggleAttribute("aria-invalid", !name);
    if (!name) {
      write(byId("request-result"), `Not done: enter the name of the person who ${act}s it.`);
      who.focus();
    } else operate(byId("request-result"), act, { id: request.id, name }, `${request.taken ? "Release" : "Take"} it as ${name}?`, self);
  });
  // Release follows Take in the same place, and gets the focus from it.
  element.dataset.mark = "take or release";
  return [make("span", "pair", element, who)];
}

/** A curl command to paste: the call that sent this request or, without the customer's texts, the call that reads it. @param {any} request */
function curl(request) {
  const quoted = (/** @type {string} */ text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const address = stage.api_url.replace(/\/$/, ""), key = stage.api_key ? `-H ${quoted(`x-api-key: ${stage.api_key}`)}` : '-H "x-api-key: $API_KEY"';
  if (!stage.texts) return `curl -i ${quoted(`${address}/assistance-requests/${request.id}`)} ${key}`;
  const { topic, description, customer, conversation_url, reference, details, callback_url } = request;
  const pairs = Object.fromEntries((details ?? []).map((/** @type {any} */ each) => [each.label, each.value]));
  const body = { topic, description, customer, conversation_url, reference, callback_url, ...(details?.length ? { details: pairs } : {}) };
  const json = JSON.stringify(body, (_, value) => value ?? undefined);
  return `curl -i ${quoted(`${address}/assistance-requests`)} ${key} -H 'Content-Type: application/json' -d ${quoted(json)}`;
}
