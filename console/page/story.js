// Describes the stage's state in a sentence or two.
// @ts-check
import { stage } from "./api.js";
import { many } from "./dom.js";

/** @param {string} name */
export const titleOf = (name) => stage.destinations.find((/** @type {any} */ destination) => destination.name === name)?.title ?? name;
/** The shown names of the faults of a channel's provider. @type {Record<string, string>} */
export const FAULTS = { fine: "fine", slow: "slow", rate_limited: "rate-limited", failing: "failing", refusing: "refusing" };

/** @param {any} state */
export function story(state) {
  const sentences = [];
  const { producer = true, reconciler = true, faults = {} } = state.switches ?? {};
  if (state.outbox)
    sentences.push(
      `${many(state.outbox, "request")} in the outbox: stored in one write, so nothing is lost. ` +
        (producer ? "The producer publishes them." : reconciler ? "The reconciler publishes after a minute." : "They wait until the producer or the reconciler runs."),
    );
  else if (!producer) sentences.push("The producer is stopped: requests that you send now wait in the outbox.");
  for (const { name } of stage.destinations) {
    const back = (state.moving ?? []).filter((/** @type {any} */ each) => each.deliveries.some((/** @type {any} */ d) => d.channel === name && d.status === "retrying")).length;
    const fault = faults[name] ?? "fine";
    if (back) sentences.push(`${titleOf(name)}: ${many(back, "request")} in the queue again, for another attempt.`);
    else if (fault === "refusing") sentences.push(`${titleOf(name)} refuses messages for good: without a retry, each becomes a dead letter, and goes to the fallback.`);
    else if (fault !== "fine") sentences.push(`${titleOf(name)} is ${FAULTS[fault] ?? fault}.`);
  }
  const dead = Object.values(state.dead).reduce((/** @type {any} */ sum, count) => sum + count, 0);
  if (dead) sentences.push(`${many(dead, "dead letter")}: redrive or discard.`);
  return sentences.join(" ") || (stage.local ? "Each dot is a request on its way to one channel. Send one, and follow it." : "Nothing waits in the outbox, and there are no dead letters.");
}
