// One text: its language, its path in the tree, the prompt that read it, and what others would say.

import * as api from "./api.js";
import { bar, byId, element, labels, percent, plain, problem, settled, show } from "./dom.js";

const EXAMPLES = [
  ["Français", "L'équipe a gagné le match de football en finale."],
  ["Kiswahili", "Watalii hukaa katika hoteli karibu na ufuo."],
  ["हिन्दी", "डॉक्टर ने मरीज़ को अस्पताल में दवा दी।"],
  ["中文", "科学家在实验室里研究新的机器人。"],
  ["isiZulu", "Iqembu lebhola liwinile emdlalweni wamanqamu."],
];
const WAIT_MS = 250;

let served;
let running = new AbortController();

/** Set the section up; `about()` tells which model and task are asked, and their routes. */
export function start(about, languages) {
  served = about;
  for (const [name, text] of EXAMPLES) {
    const button = element("button", { class: "quiet", type: "button" }, name);
    button.addEventListener("click", () => {
      byId("text-input").value = text;
      ask();
    });
    byId("examples").append(button, " ");
  }
  for (const each of languages)
    byId("text-language").append(element("option", { value: each.code }, each.name));
  byId("text-input").addEventListener("input", settled(WAIT_MS, ask));
  byId("text-language").addEventListener("change", ask);
  byId("text-others").addEventListener("toggle", ask);
}

export async function ask() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const text = byId("text-input").value;
  if (!text.trim()) return show("text-answer", false);
  const language = byId("text-language").value || null;
  try {
    const { model, task } = served();
    const request = { inputs: text, model, task, language };
    const answer = await api.classify(request, signal);
    problem("text-problem");
    write(answer.results[0]);
    if (byId("text-others").open) await writeOthers(request, answer.results[0], signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    problem("text-problem", error);
    show("text-answer", false);
  }
}

function write(result) {
  show("text-answer", true);
  byId("text-scores").replaceChildren(
    ...result.scores.map((each) =>
      element("li", assigned(result, each.label) ? { class: "assigned" } : {}, element("span", {}, each.label), bar(each.score), number(each.score)),
    ),
  );
  byId("text-language-said").replaceChildren(...said(result));
  byId("text-path").replaceChildren(
    ...result.route.lineage.map((clade) =>
      element("li", clade === result.route.clade ? { class: "decided" } : {}, plain(clade)),
    ),
  );
  byId("text-why").replaceChildren(...why(result));
}

/** The likeliest label; of a task with several labels all that reach their thresholds. */
const assigned = ({ label, labels }, name) => (labels ? labels.includes(name) : name === label);

const number = (score) => element("span", { class: "number" }, percent(score));

function said({ language }) {
  const parts = [element("strong", {}, language.name || "No language that we know")];
  parts.push(language.detected ? `, with a confidence of ${percent(language.confidence)}` : ", as you said");
  if (language.known != null) {
    const known = language.known < 0.005 ? "next to nothing of it" : `${percent(language.known)} as much of it as of its best-fed language`;
    parts.push(`. The model read ${known}.`);
  }
  return parts;
}

function why(result) {
  const prompt = element("strong", {}, `${result.prompt.name}@${result.prompt.version}`);
  const parts = [prompt];
  if (result.prompt.members) parts.push(`, which is ${result.prompt.members.length} prompts together,`);
  const { clade, reason } = result.route;
  parts.push(reason === "clade" ? ` read it, because it is the prompt of ${plain(clade)}.` : ` read it: no family above the language has a prompt of its own, so the universal prompt answers.`);
  if (result.mixture) {
    const mixed = result.mixture.map((part) => `${part.prompt.name} ${percent(part.weight)}`);
    parts.push(` The language is uncertain, so scores are mixed: ${mixed.join(", ")}.`);
  }
  if (result.trial) parts.push(` It is part of the trial of ${result.trial.name}.`);
  return parts;
}

async function writeOthers(request, answered, signal) {
  const clades = new Map();
  const { table } = served();
  const all = [["", table.universal], ...Object.entries(table.clades)];
  for (const [clade, name] of all) clades.set(name, [...(clades.get(name) ?? []), clade]);
  const asked = [...clades.keys()].map((prompt) => api.classify({ ...request, task: null, prompt }, signal));
  const rows = (await Promise.all(asked)).map(({ results: [result] }) => {
    const name = result.prompt.name;
    const for_ = (clades.get(name) ?? []).map((clade) => (clade ? plain(clade) : "all others"));
    const own = name === answered.prompt.name;
    return element("tr", own ? { class: "answered" } : {},
      element("td", {}, name, own ? " (answered)" : ""), element("td", {}, for_.join(", ")),
      element("td", {}, labels(result)), element("td", { class: "number" }, percent(result.score)));
  });
  byId("text-others-rows").replaceChildren(...rows);
}
