// The dead letters: the request, the reason, whether a human has received the request anyway, the age and the expiry.
// @ts-check
import { operate, stage } from "./api.js";
import { time } from "./clock.js";
import { byId, button, icon, keep, make, many, write } from "./dom.js";
import { setCount } from "./panels.js";
import { titleOf } from "./story.js";

/** @param {any} state */
export function showDead(state) {
  const { letters, more, hidden, was_read } = state.dead_letters;
  const count = Object.values(state.dead).reduce((/** @type {any} */ sum, each) => sum + each, 0);
  setCount("dead", count);
  keep(byId("letters"), letters, (each) => each.id, row);
  const none = byId("no-letters");
  none.hidden = letters.length > 0;
  write(none, count ? (was_read && hidden ? `${many(hidden, "dead letter")} invisible for a moment, because another program reads them.` : "Reading …") : "There are none: every message was delivered or is being retried.");
  const all = byId("redrive-all");
  if (!letters.length && document.activeElement === all) byId("tabs").querySelector("[aria-current]")?.focus();
  all.hidden = !stage.write || !letters.length;
  write(all, more ? `Redrive all, also ${more} that are not shown` : "Redrive all");
  all.onclick = () => operate(byId("dead-result"), "redrive", {}, `Redrive ${many(count, "dead letter")}?`, all);
}

/** @param {any} letter */
function row(letter) {
  const { error, reached } = letter;
  const human = reached && (reached.reached === "yes" ? ["delivered", `A human has it: ${reached.words}`] : ["failed", `No human has it yet. ${reached.words}`]);
  const buttons = make("div", "row");
  if (letter.request_id) {
    const link = make("a", "", "Open the request");
    link.href = `/requests/${letter.request_id}`;
    buttons.append(link);
  }
  if (stage.write) {
    const named = letter.description ?? letter.request_id ?? letter.id;
    const act = (/** @type {string} */ word, /** @type {string} */ name, /** @type {boolean} */ final) => {
      const element = button(word, (self) => operate(byId("dead-result"), name, { ids: [letter.id] }, `${word} this dead letter of ${titleOf(letter.channel)}?`, self, final), final ? "danger" : "");
      element.setAttribute("aria-label", `${word} ${named} on ${titleOf(letter.channel)}`);
      element.dataset.mark = name;
      return element;
    };
    if (letter.readable) buttons.append(act("Redrive", "redrive", false));
    buttons.append(act("Discard", "discard", true));
  }
  return make("li", "letter",
    make("p", "text", letter.description ?? letter.reference ?? letter.request_id ?? "A message that no consumer can read"),
    make("p", "note", make("b", "", `${titleOf(letter.channel)}${letter.why ? ", a resend" : ""}: ${error.means} `), make("code", "", error.code), ` ${error.to_do}`),
    human && make("p", `note human ${human[0]}`, icon(human[0]), human[1]),
    make("p", "note", "failed ", time(letter.sent_at), ", expires ", time(letter.expires_at), letter.topic && ` · ${letter.topic}`),
    buttons);
}

