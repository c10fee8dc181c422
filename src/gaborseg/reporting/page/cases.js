// What needs label maps: which structures are confused, and the viewer of single subjects.

const confusionLabels = ["background", ...data.structures.map((s) => s.name)];

function confusedShown() {
  return selected().filter((c) => data.confusion[c.id]);
}

// Rows: true structures; columns: what their voxels were labelled as. Off the diagonal, shaded by share.
function confusionMatrix(configuration) {
  const { counts } = data.confusion[configuration.id];
  const places = [0, ...selectedStructures().map((i) => i + 1)];
  const sums = counts.map((row) => row.reduce((sum, value) => sum + value, 0));
  const share = (i, j) => (sums[i] ? counts[i][j] / sums[i] : null);
  const wrong = places.slice(1).flatMap((i) => places.filter((j) => j !== i).map((j) => share(i, j) ?? 0));
  const largest = Math.max(...wrong, 1e-9);
  const head = make("tr", {}, make("th", { scope: "col" }, "true \\ labelled as"), places.map((j) => make("th", { scope: "col" }, make("span", { class: "slanted" }, confusionLabels[j]))));
  const body = places.map((i) => make("tr", {}, make("th", { scope: "row" }, confusionLabels[i]), places.map((j) => confusionCell(i, j, share(i, j), counts[i][j], largest))));
  return wide("confusion", make("table", { class: "matrix confusion", id: "table-confusion" }, make("thead", {}, head), make("tbody", {}, body)), false, filesOf(`confusion_${configuration.id}`));
}

function confusionCell(i, j, share, count, largest) {
  if (share === null) return make("td", { class: "self" }, "–");
  const text = share > 0 && share < 0.0005 ? "·" : (100 * share).toFixed(1);
  const words = `${confusionLabels[i]}\nlabelled as ${confusionLabels[j]}: ${(100 * share).toPrecision(3)} % (${count.toLocaleString("en")} voxels)`;
  const wrong = i !== j && i > 0;
  const cell = make("td", { class: i === j ? "right" : null, style: wrong ? `background: rgba(var(--minus), ${((0.42 * share) / largest).toFixed(3)})` : null }, share ? text : "");
  return share ? explained(cell, words) : cell;
}

function confusion() {
  if (!Object.keys(data.confusion).length) return;
  const shown = data.configurations.filter((c) => data.confusion[c.id]);
  preset("confused", data.confusion[state.subjectFirst] ? state.subjectFirst : shown[0].id);
  const [matrix, table, words] = [make("div"), make("div"), note("")];
  const pick = shown.length > 1 ? chooser("configuration ", shown.map((c) => ({ id: c.id, name: c.label })), state.confused, (id) => { state.confused = id; changed(); }) : null;
  main.append(section("confusion", "Confusions", words, make("div", { class: "bar" }, pick), matrix, make("h3", {}, data.tables.confusions?.title ?? ""), table, note(data.tables.confusions?.note ?? "")));
  whenChanged(() => {
    const configuration = byId.get(state.confused);
    const { cases } = data.confusion[configuration.id];
    words.textContent = `What the voxels of each true structure were labelled as, in percent, over ${cases} tested case${cases === 1 ? "" : "s"}. The deeper the orange, the larger the share that went astray.`;
    matrix.replaceChildren(confusionMatrix(configuration));
    if (data.tables.confusions) table.replaceChildren(plainTable("confusions"));
  });
}

let parsedBook = null;
let openViewer = null;

function book() {
  parsedBook ??= JSON.parse(document.getElementById("book").textContent);
  return parsedBook;
}

function inViewer(name) {
  return data.viewer.includes(name);
}

function showInViewer(name) {
  if (!inViewer(name)) return;
  document.getElementById("viewer").scrollIntoView();
  makeOnce().show(name);
}

function makeOnce() {
  openViewer ??= makeViewer(document.getElementById("viewer-place"), book(), state.viewer, (view) => { state.viewer = view; remember(); });
  return openViewer;
}

// The volumes are unpacked when the reader comes near.
function viewer() {
  if (!data.viewer.length) return;
  const place = make("div", { id: "viewer-place" }, make("p", { class: "empty" }, "unpacking …"));
  main.append(section("viewer", "Viewer", note("Scroll with the wheel, the arrow keys or the sliders; click to move the cross in all planes and maps. The subject's left is at the left. A structure that is chosen, by name or in the legend below, is shown alone, and the cross moves to it. Median: by mean Dice over configurations. Worst of a configuration: its subject of the lowest mean Dice."), place));
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    makeOnce();
  }, { rootMargin: "600px" });
  near.observe(place);
}
