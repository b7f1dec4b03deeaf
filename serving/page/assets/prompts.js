// Prompts, versions and trials; publishing by dropping a file, promoting, rolling back.

import * as api from "./api.js";
import { byId, element, percent, plain, problem, show } from "./dom.js";

let changed;

/** Set the section up; `whenChanged` is called after each change. */
export function start(whenChanged) {
  changed = whenChanged;
  byId("publish").addEventListener("submit", publish);
  byId("rollback").addEventListener("submit", rollBack);
  byId("publish-as").addEventListener("change", () => show("publish-sharing", byId("publish-as").value === "canary"));
  byId("publish-file").addEventListener("change", nameAfterFile);
  const drop = byId("drop");
  for (const kind of ["dragover", "dragleave", "drop"])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") {
        byId("publish-file").files = event.dataTransfer.files;
        nameAfterFile();
      }
    });
}

export async function write() {
  try {
    const [listed, trials] = await Promise.all([api.prompts(), api.trials()]);
    byId("prompts-generation").textContent = `Generation ${listed.generation}: every change makes the next, and any can be rolled back to.`;
    byId("prompts-rows").replaceChildren(...listed.prompts.map(row));
    const shown = trials.trials.map(trial);
    byId("prompts-trials").replaceChildren(...(shown.length ? shown : [element("p", {}, "Nothing is on trial.")]));
  } catch (error) {
    problem("prompts-problem", error);
  }
}

function row(prompt) {
  const card = prompt.card;
  const kind = card ? (card.kind === "ensemble" ? `${card.members.length} together` : card.kind) : prompt.problem;
  const routes = prompt.routes.map((route) => plain(route.clade)).join(", ");
  return element("tr", {},
    element("td", {}, element("a", { href: `v1/prompts/${encodeURIComponent(prompt.name)}` }, prompt.name)),
    element("td", {}, `${prompt.version}`, prompt.versions.length > 1 ? element("span", { class: "soft" }, ` of ${prompt.versions.join(", ")}`) : null),
    element("td", {}, kind), element("td", {}, `${prompt.length ?? ""}`),
    element("td", {}, card?.dev_accuracy == null ? "" : percent(card.dev_accuracy)), element("td", {}, routes));
}

function trial({ trial, problems, clades }) {
  const share = trial.share == null ? "" : ` with ${percent(trial.share)} of the texts`;
  const about = `${trial.kind === "canary" ? "A canary" : "A shadow"}${share}, beside the prompts of ${trial.clades?.map(plain).join(", ") || "its routes"}.`;
  const counted = clades.map((each) => `${plain(each.clade)}: ${each.texts} texts`).join(", ");
  const promote = element("button", { type: "button" }, "Promote");
  promote.addEventListener("click", () => change(() => api.promote(trial.name, token()), `${trial.name} answers now`));
  const end = element("button", { type: "button", class: "quiet" }, "End");
  end.addEventListener("click", () => change(() => api.endTrial(trial.name, token()), `the trial of ${trial.name} has ended`));
  return element("div", { class: "card" },
    element("strong", {}, trial.name), element("p", {}, about, " ", counted),
    problems.length ? element("p", { class: "problem" }, problems.join("; ")) : null,
    element("p", { class: "controls" }, promote, end));
}

// In this page's memory alone: neither cookies nor storage, and gone with the page.
const token = () => byId("token").value;

function nameAfterFile() {
  const [file] = byId("publish-file").files;
  if (file && !byId("publish-name").value)
    byId("publish-name").value = file.name.replace(/\.safetensors$/, "").toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 64);
}

async function publish(event) {
  event.preventDefault();
  const name = byId("publish-name").value, as = byId("publish-as").value;
  const share = encodeURIComponent(`${byId("publish-share").value}%`);
  const routes = byId("publish-routes").value.split(",").map((each) => each.trim().replaceAll(" ", "_")).filter(Boolean);
  const asked = as === "canary" ? [`canary=${share}`] : as === "shadow" ? ["shadow=true"] : [];
  const query = `?${[...asked, ...routes.map((each) => `route=${encodeURIComponent(each)}`)].join("&")}`;
  const [file] = byId("publish-file").files;
  const said = as ? `${name} is on trial` : `${name} is published`;
  if (await change(() => api.publish(name, file, query, token()), said)) event.target.reset();
}

async function rollBack(event) {
  event.preventDefault();
  const to = byId("rollback-to").value;
  await change(() => api.rollBack(to ? Number(to) : null, token()), to ? `generation ${to} is back` : "the generation before is back");
}

async function change(call, said) {
  problem("prompts-problem");
  byId("prompts-done").textContent = "";
  try {
    const { generation } = await call();
    byId("prompts-done").textContent = `${said}: generation ${generation} is served by every replica.`;
    await Promise.all([write(), changed()]);
    return true;
  } catch (error) {
    problem("prompts-problem", error);
    return false;
  }
}
