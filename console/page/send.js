// The form that sends a request as a bot does. If the API refuses a field, the error is shown at that field.
// @ts-check
import { acting, call, stage } from "./api.js";
import { byId, make, many, write } from "./dom.js";
import { titleOf } from "./story.js";

const EXAMPLE = {
  name: "Anna Example", email: "anna@example.org", phone: "+49 30 1234567", conversation: "https://app.example.com/conversations/42",
  reference: "chat-17", details: "Plan: Pro\nSeats: 40\nTrial: false",
};
/** The ids of the form's fields, by the last part of the JSON pointer with which the API names a field. */
const FIELDS = /** @type {Record<string, string>} */ ({
  description: "description", name: "name", email: "email", phone: "phone", conversation_url: "conversation", callback_url: "callback", reference: "reference",
  details: "details", "Idempotency-Key": "key", "idempotency-key": "key",
});

export function setUpSend() {
  const form = byId("send");
  for (const [topic, { channels, fallback }] of Object.entries(stage.routes)) {
    const input = Object.assign(make("input"), { type: "radio", name: "topic", value: topic });
    const way = `to ${channels.map(titleOf).join(", ")}${fallback ? `, else ${titleOf(fallback)}` : ""}`;
    byId("topics").append(make("label", "", input, ` ${topic} `, make("small", "", way)));
  }
  byId("topics").querySelector("input").checked = true;
  byId("example").onclick = () => {
    for (const [id, value] of Object.entries(EXAMPLE)) byId(id).value = value;
  };
  form.onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    acting(byId("sent"), sendRequests, byId("send-button"));
  };
  byId("description").onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
}

/** The optional members of the call. Numbers and booleans in the details are sent as JSON numbers and booleans. @param {any} values */
function optionalMembers(values) {
  const value = (/** @type {string} */ text) => (/^(true|false|-?(0|[1-9]\d*)(\.\d+)?)$/.test(text) ? JSON.parse(text) : text);
  const lines = values.get("details").split("\n").filter((/** @type {string} */ line) => line.trim());
  const details = lines.map((/** @type {string} */ line) => {
    const [label, ...rest] = line.split(":");
    return [label.trim(), value(rest.join(":").trim())];
  });
  const [name, email, phone] = ["name", "email", "phone"].map((each) => values.get(each));
  const callback = values.get("callback_url").trim();
  return {
    customer: { name, email, phone },
    conversation_url: values.get("conversation_url"),
    reference: values.get("reference"),
    details: Object.fromEntries(details),
    ...(callback ? { callback_url: callback } : {}),
  };
}

async function sendRequests() {
  for (const id of Object.values(FIELDS)) mark(id, "");
  const values = new FormData(byId("send"));
  const answers = [];
  for (let left = Number(values.get("times")); left > 0; left--) {
    answers.push(await call("send", { topic: values.get("topic"), description: values.get("description"), key: values.get("key") || null, members: optionalMembers(values) }));
    if (answers[answers.length - 1].status !== 202) break;
  }
  const { status, replayed, body } = answers[answers.length - 1];
  if (status !== 202) return refused(status, body);
  // With a key, several calls are one request.
  const ids = new Set(answers.map((each) => each.body.id));
  const accepted = ids.size > 1 ? many(ids.size, "request") : body.id;
  return `202 Accepted: ${accepted}${replayed ? ", which was accepted before: the same key and payload are one request" : ""}`;
}

/** @param {number} status @param {any} body A problem: https://www.rfc-editor.org/rfc/rfc9457 */
function refused(status, body) {
  const wrong = (body.errors ?? []).map((/** @type {any} */ { pointer, header, detail }) => {
    const names = header ? [header] : (pointer ?? "").split("/").reverse();
    const id = FIELDS[names.find((/** @type {string} */ name) => name in FIELDS) ?? ""];
    if (id) mark(id, detail);
    return `${id ? byId(id).labels[0].textContent : (pointer ?? header ?? "")}: ${detail}`;
  });
  const first = /** @type {any} */ (document.querySelector("#send [aria-invalid]"));
  if (first?.closest("details")) byId("optional").open = true;
  first?.focus();
  return `${status} ${body.title}. ${wrong.join(" ") || body.detail || ""}`;
}

/** Show an error at a field; an empty text removes it. @param {string} id @param {string} wrong */
function mark(id, wrong) {
  const field = byId(id);
  byId(`${id}-wrong`)?.remove();
  if (!wrong) {
    field.removeAttribute("aria-invalid");
    if (id === "description" || id === "details") field.setAttribute("aria-describedby", `${id}-help`);
    else field.removeAttribute("aria-describedby");
    return;
  }
  const message = make("p", "wrong", wrong);
  message.id = `${id}-wrong`;
  field.after(message);
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", message.id);
}
