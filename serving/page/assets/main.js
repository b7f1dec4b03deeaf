// Which section is shown, and what all of them know: models, tasks, routes, languages.

import * as api from "./api.js";
import { byId, element, show } from "./dom.js";
import * as prompts from "./prompts.js";
import * as routes from "./routes.js";
import * as text from "./text.js";
import * as texts from "./texts.js";

const SECTIONS = ["text", "texts", "routes", "prompts"];

let listed, tables, ready = false;

/** What is asked: a model, one of its tasks, and its route table. */
function asked() {
  const { model, task } = listed.data.find((each) => each.id === byId("asked").value) ?? listed.data[0] ?? {};
  const fingerprint = listed.models.find((each) => each.name === model)?.fingerprint;
  const table = tables.find((each) => each.task === task && each.model.fingerprint === fingerprint);
  return { model, task, table };
}

function showSection() {
  const wanted = SECTIONS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "text";
  for (const name of SECTIONS) show(name, name === wanted);
  for (const link of document.querySelectorAll("nav a"))
    if (link.getAttribute("href") === `#${wanted}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  if (wanted === "routes") routes.write();
  if (wanted === "prompts") prompts.write();
}

async function learn() {
  const [models, routed] = await Promise.all([api.models(), api.routes()]);
  const before = byId("asked").value;
  listed = models;
  tables = routed.routes;
  byId("asked").replaceChildren(...models.data.map((each) => element("option", { value: each.id }, `${each.model}: ${each.task}`)));
  if (models.data.some((each) => each.id === before)) byId("asked").value = before;
  show("asking", models.data.length > 1);
  return routed.generation;
}

/** Say what is served: the page is ready when it does. */
function tell(generation) {
  const [first, ...more] = listed.models;
  const others = more.length ? ` and ${more.length} more` : "";
  byId("serving").textContent = `${first.name}${others} on ${first.device} in ${first.dtype}, generation ${generation}`;
}

/** What is done once, however often a key is given. */
function setUp(languages) {
  text.start(asked, languages);
  texts.start(asked);
  routes.start(asked, languages);
  prompts.start(async () => {
    tell(await learn());
    await text.ask();
  });
  byId("asked").addEventListener("change", () => {
    showSection();
    text.ask();
  });
  addEventListener("hashchange", showSection);
}

async function start() {
  try {
    const [generation, { languages }] = await Promise.all([learn(), api.languages()]);
    languages.sort((one, other) => one.name.localeCompare(other.name));
    if (!ready) setUp(languages);
    ready = true;
    show("keyed", false);
    showSection();
    tell(generation);
  } catch (error) {
    byId("serving").textContent = error.message;
    if (error.status === 401) show("keyed", true);
  }
}

byId("key").addEventListener("change", () => {
  api.useKey(byId("key").value);
  start();
});
start();
