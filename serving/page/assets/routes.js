// The route table as the tree it follows, with what each decision rests on.

import { byId, drawing, element, percent, plain, show } from "./dom.js";

let served, lineages;

export function start(about, languages) {
  served = about;
  lineages = new Map(languages.map((each) => [each.code, each]));
  byId("routes-all").addEventListener("change", write);
}

export function write() {
  const { table } = served();
  const known = table !== undefined;
  show("routes-universal", known);
  show("routes-tree", known);
  if (!known) return;
  const evidence = new Map(table.evidence.map((each) => [each.clade, each]));
  writeUniversal(table, evidence.get(null));
  const all = byId("routes-all").checked;
  const wanted = new Set([...Object.keys(table.clades), ...(all ? [...evidence.keys()].filter(Boolean) : [])]);
  const scale = Math.max(2, ...[...wanted].map((clade) => 100 * Math.abs(evidence.get(clade)?.interval?.[1] ?? 0)));
  const nodes = tree(wanted).map((node) => drawn(node, table, evidence, scale, "the universal prompt"));
  byId("routes-tree").replaceChildren(...nodes);
}

function writeUniversal(table, about) {
  const dev = about?.dev_accuracy == null ? "" : `, ${percent(about.dev_accuracy)} on dev`;
  const tried = about?.candidates ? ` It is the best of ${about.candidates} in the mean of ${about.languages?.length ?? "all"} languages${dev}.` : "";
  byId("routes-universal").replaceChildren(
    element("div", { class: "card" }, element("strong", {}, table.universal), ` answers whoever has no route below: the universal prompt.${tried}`),
  );
}

/** The wanted clades below their families, as the lineages of languages have them. */
function tree(wanted) {
  const above = new Map();
  for (const { lineage } of lineages.values()) {
    if (!lineage.some((clade) => wanted.has(clade))) continue;
    let last = null;
    for (const clade of lineage)
      if (clade === lineage[0] || wanted.has(clade)) {
        above.set(clade, last);
        last = clade;
      }
  }
  const nodes = new Map([...above.keys()].map((clade) => [clade, { clade, below: [] }]));
  const roots = [];
  for (const [clade, parent] of above) (parent === null ? roots : nodes.get(parent).below).push(nodes.get(clade));
  const byName = (one, other) => one.clade.localeCompare(other.clade);
  for (const node of nodes.values()) node.below.sort(byName);
  return roots.sort(byName);
}

function drawn(node, table, evidence, scale, otherwise = "as above") {
  const about = evidence.get(node.clade), prompt = table.clades[node.clade];
  const names = (about?.languages ?? []).map((code) => lineages.get(code)?.name ?? code);
  const row = element("div", { class: prompt ? "node" : "node left" },
    element("div", { class: "clade" }, plain(node.clade), element("small", {}, names.slice(0, 6).join(", ") + (names.length > 6 ? " …" : ""))),
    element("div", {}, prompt ?? otherwise, element("small", {}, reasons(about, prompt))),
    about?.interval && (prompt || byId("routes-all").checked) ? forest(about, scale) : element("span"));
  const below = node.below.map((each) => drawn(each, table, evidence, scale));
  return element("li", {}, row, below.length ? element("ul", {}, ...below) : null);
}

function reasons(about, prompt) {
  if (!about) return prompt ? "set by hand" : "";
  if (!prompt && !byId("routes-all").checked) return "";
  const parts = [];
  if (about.sentences) parts.push(`${about.sentences} dev sentences`);
  if (about.candidates) parts.push(`${about.candidates} candidates`);
  if (about.probability != null && (prompt || about.probability > 0)) parts.push(`better with a probability of ${about.probability.toFixed(2)}`);
  return parts.join(", ");
}

/** Gain and interval in points, on one scale for all. */
function forest({ gain, interval }, scale) {
  const x = (points) => 60 + (50 * Math.max(-scale, Math.min(scale, points))) / scale;
  const points = [gain, ...interval].map((share) => 100 * share);
  const said = `${points[0].toFixed(1)} points (${points[1].toFixed(1)} to ${points[2].toFixed(1)})`;
  const picture = drawing("svg", { class: "forest", viewBox: "0 0 120 20", role: "img", "aria-label": said, preserveAspectRatio: "xMinYMid" },
    drawing("line", { x1: 60, x2: 60, y1: 1, y2: 19 }),
    drawing("line", { class: "interval", x1: x(points[1]), x2: x(points[2]), y1: 10, y2: 10 }),
    drawing("circle", { cx: x(points[0]), cy: 10, r: 3.5 }));
  return element("div", {}, picture, element("small", { class: "soft" }, said));
}
