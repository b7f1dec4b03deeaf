// Many texts: lines, or a column of a CSV; results as a table, and as a file.

import * as api from "./api.js";
import * as csv from "./csv.js";
import { byId, element, labels, percent, plain, problem, show } from "./dom.js";

const AT_A_TIME = 64;
const SHOWN = 500;

let served, table = null, results = [];

export function start(about) {
  served = about;
  byId("texts-file").addEventListener("change", open);
  byId("texts-column").addEventListener("change", takeColumn);
  byId("texts-ask").addEventListener("click", ask);
  byId("texts-save").addEventListener("click", save);
}

async function open() {
  const [file] = byId("texts-file").files;
  if (!file) return;
  const text = await file.text();
  if (file.name.endsWith(".txt")) {
    table = null;
    byId("texts-input").value = text;
  } else {
    table = csv.parse(text.replace(/^\ufeff/, ""));
    const options = (table[0] ?? []).map((name, place) => element("option", { value: place }, name || `column ${place + 1}`));
    byId("texts-column").replaceChildren(...options);
    const likeliest = table[0]?.findIndex((name) => /text|message|title|content/i.test(name)) ?? 0;
    byId("texts-column").value = Math.max(0, likeliest);
    takeColumn();
  }
  show("texts-columns", table !== null);
}

function takeColumn() {
  const place = Number(byId("texts-column").value);
  const lines = table.slice(1).map((row) => (row[place] ?? "").replace(/\s*[\r\n]+\s*/g, " "));
  byId("texts-input").value = lines.join("\n");
}

async function ask() {
  const texts = byId("texts-input").value.split("\n").map((line) => line.trim()).filter(Boolean);
  byId("texts-rows").replaceChildren();
  results = [];
  show("texts-table", texts.length > 0);
  byId("texts-ask").disabled = true;
  problem("texts-problem");
  try {
    const { model, task } = served();
    for (let at = 0; at < texts.length; at += AT_A_TIME) {
      const inputs = texts.slice(at, at + AT_A_TIME);
      const answer = await api.classify({ inputs, model, task });
      answer.results.forEach((result, place) => results.push([inputs[place], result]));
      write(results.slice(at));
      byId("texts-progress").textContent = `${results.length} of ${texts.length}`;
    }
    if (texts.length > SHOWN) byId("texts-progress").textContent += `; the first ${SHOWN} are shown, all are saved`;
  } catch (error) {
    problem("texts-problem", error);
  } finally {
    byId("texts-ask").disabled = false;
    show("texts-save", results.length > 0);
  }
}

function write(more) {
  const room = SHOWN - byId("texts-rows").childElementCount;
  const rows = more.slice(0, Math.max(0, room)).map(([text, result]) =>
    element("tr", {},
      element("td", { class: "text", dir: "auto" }, text), element("td", {}, labels(result)),
      element("td", { class: "number" }, percent(result.score)),
      element("td", {}, result.language.name),
      element("td", {}, result.prompt.name, element("br"), element("span", { class: "soft" }, decided(result)))),
  );
  byId("texts-rows").append(...rows);
}

const decided = (result) => (result.route.clade ? plain(result.route.clade) : result.route.reason);

function save() {
  const head = ["text", "label", "score", "language", "confidence", "clade", "prompt"];
  const rows = results.map(([text, result]) => [
    text, labels(result), result.score, result.language.code, result.language.confidence,
    result.route.clade ?? "", `${result.prompt.name}@${result.prompt.version}`,
  ]);
  const file = new Blob(["\ufeff", csv.write([head, ...rows])], { type: "text/csv" });
  const link = element("a", { href: URL.createObjectURL(file), download: "classified.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
