// Charts are drawn by vega's interpreter (`ast`), which needs no `eval`, so that the page's policy can forbid it.
for (const place of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(document.getElementById(`spec-${place.dataset.figure}`).textContent);
  const bind = document.getElementById(`choice-${place.dataset.figure}`);
  vegaEmbed(place, spec, {bind, actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: {disableDefaultStyle: true}})
    .then(() => { place.dataset.drawn = "yes"; })
    .catch((error) => { place.textContent = `not drawn: ${error.message}`; });
}

const dialog = document.getElementById("cell");
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
  const wanted = text.value.toLowerCase();
  let shown = 0;
  for (const claim of claims) {
    claim.hidden = !(claim.textContent.toLowerCase().includes(wanted) && (!verdict.value || claim.dataset.verdict === verdict.value));
    shown += !claim.hidden;
  }
  document.getElementById("filter-count").textContent = `${shown} of ${claims.length} claims`;
}
text.addEventListener("input", filter);
verdict.addEventListener("change", filter);
text.form.addEventListener("submit", (event) => event.preventDefault());
filter();
