// The list of requests, newest first, with search and filters. The server returns one page at a time.
// @ts-check
import { stage } from "./api.js";
import { time } from "./clock.js";
import { badge, byId, icon, keep, make, many, write } from "./dom.js";
import { go, opened, query } from "./route.js";
import { titleOf } from "./story.js";

const STATUSES = ["accepted", "published", "sending", "retrying", "delivered", "failed", "taken", "untaken"];
const NAMES = ["q", "status", "topic", "channel"];

/** Whether the user has changed a filter that the list does not reflect yet. */
let changing = false;

/** The search whose results the list shows. */
export const listAddress = { last: "/" };

export function setUpList() {
  const form = byId("filters");
  const options = { status: STATUSES, topic: Object.keys(stage.routes), channel: stage.destinations.filter((/** @type {any} */ destination) => destination.human).map((/** @type {any} */ destination) => destination.name) };
  for (const [name, values] of Object.entries(options))
    for (const value of values) form.elements[name].append(Object.assign(make("option", "", name === "channel" ? titleOf(value) : value), { value }));
  byId("q").placeholder = stage.texts ? "Id, reference, text, customer" : "Id or reference";
  /** @type {any} */
  let waiting;
  const search = () => {
    changing = false;
    // If the user has opened a request meanwhile, it stays open.
    if (opened()) return;
    const values = new URLSearchParams(NAMES.flatMap((name) => (form.elements[name].value ? [[name, form.elements[name].value]] : [])));
    go(`/${values.size ? `?${values}` : ""}`, true);
  };
  form.oninput = () => {
    changing = true;
    clearTimeout(waiting);
    waiting = setTimeout(search, 250);
  };
  form.onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search();
  };
}

/** @param {any} page */
export function showList(page) {
  const given = query(), form = byId("filters");
  // An answer to an earlier search must not undo a filter that the user has just changed.
  if (!changing) for (const name of NAMES) form.elements[name].value = given.get(name) ?? "";
  const searched = NAMES.some((name) => given.get(name));
  keep(byId("requests"), page.requests, (each) => each.id, row);
  const none = byId("no-requests");
  none.hidden = page.requests.length > 0;
  const other = page.next ? " so far. 'Older' searches further back." : ": remove a filter, or shorten the search text.";
  const first = stage.local ? "None yet: send one." : "None yet: requests appear here when the bot calls the API.";
  const no = given.get("before") ? "No older request" : "No request";
  write(none, searched ? `${no} matches${other}` : given.get("before") ? "There is no older request." : first);
  const unread = page.unreadable.length ? `${many(page.unreadable.length, "request")} can't be read: 'assistance list' names them` : "";
  const searchedPart = byId("searched");
  searchedPart.replaceChildren(...(searched && page.back_to ? [`searched ${many(page.searched, "request")}, the oldest `, time(page.back_to), unread && "; "] : []), unread);
  address(byId("older"), page.next && { before: page.next });
  address(byId("newest"), given.get("before") && {});
  listAddress.last = location.pathname === "/" ? location.pathname + location.search : listAddress.last;
}

/** Let a link lead to the same search with these parameters added. @param {any} link @param {Record<string, string> | null | ""} added */
function address(link, added) {
  link.hidden = !added;
  if (!added) return;
  const values = new URLSearchParams(NAMES.flatMap((name) => (query().get(name) ? [[name, query().get(name) ?? ""]] : [])));
  for (const [name, value] of Object.entries(added)) values.set(name, value);
  link.setAttribute("href", `/${values.size ? `?${values}` : ""}`);
}

/** @param {any} request */
function row(request) {
  const link = make("a", "row-link");
  link.href = `/requests/${request.id}`;
  const marks = request.deliveries.map((/** @type {any} */ each) => make("span", `mark ${each.status}`, icon(each.status), `${titleOf(each.channel)}${each.resend ? ", resent" : each.escalation ? ", escalated" : ""} `, make("span", "unseen", each.status)));
  link.append(
    badge(request.status),
    make("span", "text", request.description ?? request.reference ?? request.id),
    time(request.created_at),
    make("small", "below", make("span", "topic", request.topic), ...marks,
      request.fallback && make("span", "fallback", `instead of ${titleOf(request.fallback.failed_channel)}`),
      request.taken && make("span", "taken", icon("taken"), `taken by ${request.taken.by}`)),
  );
  return make("li", "", link);
}
