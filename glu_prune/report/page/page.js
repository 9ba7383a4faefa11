// Charts are drawn by vega's interpreter (`ast`), which needs no `eval`, so that the page's policy can forbid it.
for (const place of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(document.getElementById(`spec-${place.dataset.figure}`).textContent);
  const bind = document.getElementById(`choice-${place.dataset.figure}`);
  vegaEmbed(place, spec, {bind, actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: {disableDefaultStyle: true}})
    .then(() => {
      place.dataset.drawn = "yes";
      // Only what can be scrolled is a stop of the keyboard.
      const frame = place.parentElement;
      if (frame.scrollWidth > frame.clientWidth) frame.tabIndex = 0;
    })
    .catch((error) => { place.textContent = `not drawn: ${error.message}`; });
}

const dialog = document.getElementById("cell");
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
// Each matrix is one stop of the keyboard; arrow keys go from cell to cell.
const STEPS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
for (const matrix of document.querySelectorAll(".matrix")) {
  const rows = [...matrix.tBodies[0].rows].map((row) => [...row.cells].slice(1).map((cell) => cell.firstElementChild));
  const every = rows.flat().filter(Boolean);
  const stop = (cell) => { for (const each of every) each.tabIndex = each === cell ? 0 : -1; };
  stop(every[0]);
  matrix.addEventListener("focusin", (event) => stop(event.target));
  matrix.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    let row = rows.findIndex((each) => each.includes(event.target));
    let column = rows[row].indexOf(event.target);
    let next;
    do {
      row += step[0];
      column += step[1];
      next = rows[row]?.[column];
    } while (next === null);
    event.preventDefault();
    next?.focus();
  });
}
for (const cell of document.querySelectorAll(".matrix button")) {
  cell.addEventListener("click", () => {
    document.getElementById("cell-title").textContent = cell.getAttribute("aria-label");
    document.getElementById("cell-says").textContent = cell.dataset.says;
    document.getElementById("cell-why").textContent = cell.dataset.why ? `Claimed because: ${cell.dataset.why}` : "";
    document.getElementById("cell-where").textContent = cell.dataset.where;
    dialog.showModal();
  });
}

const text = document.getElementById("filter-text");
const verdict = document.getElementById("filter-verdict");
const claims = [...document.querySelectorAll(".claims li")];
function filter() {
  const words = text.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const claim of claims) {
    claim.hidden = !(words.every((word) => claim.textContent.toLowerCase().includes(word)) && (!verdict.value || claim.dataset.verdict === verdict.value));
    shown += !claim.hidden;
  }
  document.getElementById("filter-count").textContent = `${shown} of ${claims.length} claims`;
}
text.addEventListener("input", filter);
verdict.addEventListener("change", filter);
text.form.addEventListener("submit", (event) => event.preventDefault());
filter();

// Texts of models are put in as text, never as HTML.
function made(name, text, parent) {
  const element = document.createElement(name);
  element.textContent = text;
  parent.append(element);
  return element;
}

function answer(title, text, score, flaws, parent) {
  const column = made("div", "", parent);
  made("strong", `${title}, scores ${Number(score.toPrecision(4))}${flaws ? ` (${flaws})` : ""}`, column);
  if (text !== null) made("pre", text === "" ? "(empty)" : text, column);
}

const items = JSON.parse(document.getElementById("items-data").textContent);
const of = document.getElementById("items-of");
function list() {
  const chosen = items[of.selectedIndex];
  const kind = document.getElementById("items-kind").value;
  const words = document.getElementById("items-text").value.toLowerCase().split(/\s+/);
  const place = document.getElementById("items-list");
  place.replaceChildren();
  let shown = 0;
  for (const row of chosen.rows) {
    const all = [row.question, row.target, row.dense, row.pruned, ...row.groups].join("\n").toLowerCase();
    if ((kind && row.change !== kind) || !words.every((word) => all.includes(word))) continue;
    shown += 1;
    const item = made("article", "", place);
    item.className = "item";
    made("h3", [row.change, ...row.groups].join(" · "), item);
    made("pre", row.question, item);
    if (row.target) made("p", `right: ${row.target}`, item);
    const answers = made("div", "", item);
    answers.className = "answers";
    answer("dense", row.dense, row.dense_score, row.flaws[0], answers);
    answer("pruned", row.pruned, row.pruned_score, row.flaws[1], answers);
  }
  document.getElementById("items-count").textContent = `${shown} shown of ${chosen.found} that changed`;
}
if (of) {
  for (const each of items) made("option", each.about, of);
  for (const name of ["items-of", "items-kind", "items-text"]) document.getElementById(name).addEventListener("input", list);
  of.form.addEventListener("submit", (event) => event.preventDefault());
  list();
}
