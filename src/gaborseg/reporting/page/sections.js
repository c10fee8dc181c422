// The sections of the page, each with its controls.

const main = document.getElementById("sections");

function overview() {
  const box = document.getElementById("findings");
  for (const finding of data.findings) box.append(make("article", { class: "finding" }, make("h2", {}, finding.title), make("strong", {}, finding.value), make("p", {}, rich(finding.note))));
  const words = note("");
  box.after(words);
  const meanings = data.notes.words ? `${data.notes.words}.` : "";
  whenChanged(() => { words.textContent = `${ofAllStructures()} ${meanings}`.trim(); });
}

function structures() {
  const place = make("div");
  const plot = structuresChart();
  const marks = make("div");
  const words = note("");
  const paper = make("input", { type: "checkbox", checked: state.paper, onchange: () => { state.paper = paper.checked; changed(); } });
  const choices = data.metrics.map((metric) => ({ id: metric.name, name: metric.title }));
  const pick = (name) => { state.metric = name; changed(); };
  const bar = make("div", { class: "bar" }, tabs("Score", choices, state.metric, pick), Object.keys(data.paper).length ? make("label", {}, paper, "the paper's numbers beside ours") : null);
  main.append(section("structures", "Structures", bar, place, words, marks, plot, figureFiles("structures", "surface", "volume_error")));
  whenChanged(() => {
    const metric = metrics.get(state.metric);
    place.replaceChildren(structuresTable());
    words.replaceChildren(...rich([metric.meaning, metric.better < 0 ? "Lower is better." : "", data.notes.spread, data.notes.counts[state.metric], metric.better ? "Bold: the best of the row, several where the shown digits are equal, none where all are. The deeper the shade, the better within the row; a click on a structure orders the columns by it." : "A click on a structure orders the columns by it.", cvlWords(), state.paper ? "The paper's numbers are of other scans: not the same task." : ""].filter(Boolean).join(" ")));
    marks.replaceChildren(legend(selected(), (c) => c.mark, (c) => c.label));
    plot.again();
  });
}

function cvlWords() {
  return data.structures.some((s) => s.name.startsWith("CVL")) ? "CVL: cerebellar vermal lobules." : "";
}

function learningRates() {
  if (!Object.keys(data.curves).length) return;
  const place = make("div", { class: "panels" });
  const marks = make("div");
  const table = make("div");
  const words = note("");
  main.append(section("learning-rate", "Learning rate", note("Mean test Dice over the selected structures, error bars: standard deviation over splits (over seeds, if there is one split)."), data.notes.edge ? make("p", { class: "note" }, make("strong", {}, rich(data.notes.edge))) : null, marks, place, figureFiles("learning_rate"), make("h3", {}, data.tables.robustness?.title ?? ""), table, words));
  whenChanged(() => {
    const lines = rateLines();
    const values = lines.flatMap((f) => f.points.flatMap((p) => [p.mean - (p.std ?? 0), p.mean + (p.std ?? 0)].map((v) => 100 * v)));
    const range = extent(values.length ? values : [0, 100]);
    const kernels = data.kernels.filter((kernel) => lines.some((f) => f.configuration.kernel === kernel.id));
    const panels = kernels.map((kernel, i) => [kernel, ratePanel(kernel, range, i === 0)]);
    place.replaceChildren(...panels.map(([kernel, panel]) => make("div", {}, make("h3", {}, kernel.name), panel)));
    marks.replaceChildren(legend(lines.map((f) => f.configuration), () => "-", lineName));
    table.replaceChildren(...(data.tables.robustness ? [plainTable("robustness")] : []));
    words.replaceChildren(...rich(data.tables.robustness ? `${data.tables.robustness.note}${ofAllStructures()}` : ""));
  });
}

function statistics() {
  const names = Object.keys(data.comparisons).filter((name) => data.comparisons[name].length);
  if (!names.length) return;
  const [matrix, table, ranks] = [make("div"), make("div"), make("div")];
  const plot = forestChart();
  const places = [{ id: -1, name: "average of all structures" }, ...data.structures.map((s, index) => ({ id: index, name: s.name }))];
  const shown = data.configurations.filter((c) => c.shown);
  preset("reference", shown[0].id);
  preset("compared", names[0], (name) => names.includes(name));
  const act = (key, convert = (value) => value) => (value) => { state[key] = convert(value); changed(); };
  const bar = make("div", { class: "bar" },
    tabs("Score", names.map((name) => ({ id: name, name: metrics.get(name).title })), state.compared, act("compared")),
    chooser("structure ", places, state.structure, act("structure", Number)));
  const against = chooser("reference ", shown.map((c) => ({ id: c.id, name: c.label })), state.reference, act("reference"));
  const every = make("input", { type: "checkbox", checked: state.everyStructure, onchange: () => { state.everyStructure = every.checked; delete state.sorts.comparisons; changed(); } });
  const key = make("ul", { class: "legend" }, make("li", {}, "verdicts:"), data.verdicts.map((v, i) => make("li", {}, explained(make("span", { class: `verdict v${i}`, tabindex: 0 }, v.id), v.meaning))));
  main.append(section("statistics", "Statistics",
    note("Paired differences on the same test subjects in the same splits, row minus column. ● means that the difference is shown: over subjects (Wilcoxon signed rank, Holm) and over trainings (t-test over splits, corrected for overlapping training sets). Violet is better, orange is worse; the deeper, the larger the difference."),
    bar, matrix, make("h3", {}, "Against one configuration"), make("div", { class: "bar" }, against), plot, figureFiles("differences"),
    make("h3", {}, "All pairs"), make("div", { class: "bar" }, make("label", {}, every, "every selected structure"), key), table, note("All splits and scans of a person count as one subject. Interval: 95 %, bootstrap over subjects. p Holm: over subjects, adjusted for the number of comparisons; p subjects: the same, not adjusted; p trainings: over splits. r: matched-pairs rank-biserial correlation. dz: mean over standard deviation of the subjects' differences. Tests are of all subjects and structures, whatever is selected."),
    data.tables.ranks ? make("h3", {}, data.tables.ranks.title) : null, ranks, data.tables.ranks ? note(data.tables.ranks.note) : null));
  whenChanged(() => {
    matrix.replaceChildren(comparisonMatrix());
    table.replaceChildren(comparisonsTable());
    plot.again();
    if (data.tables.ranks) ranks.replaceChildren(plainTable("ranks"));
  });
}

function volumes() {
  if (data.tables.volumes) simple("volumes", "Volumes", ["volumes"]);
}

// What participants.tsv tells of people: Dice by age, by sex, by site.
function groups() {
  const names = Object.keys(data.tables).filter((name) => name.startsWith("dice_by_"));
  simple("groups", "Groups of people", names);
}

function cost() {
  const panels = [["parameters", "trained parameters"], ["seconds", "seconds a step"]].filter(([key]) => data.costs.some((c) => c[key]));
  const charts = panels.map(([key, title]) => costChart(key, title));
  const marks = make("div");
  const budget = make("div");
  const extra = [budget, marks, make("div", { class: "panels" }, charts), figureFiles("cost", "parameters")];
  simple("cost", "Parameters and cost", ["parameters", "cost"], panels.length ? extra : []);
  whenChanged(() => {
    marks.replaceChildren(legend(selected(), (c) => c.mark, (c) => c.label));
    for (const plot of charts) plot.again();
    budget.replaceChildren(...parameterBars());
  });
}

// Of the parameters' kinds: greys, since colours tell configurations.
const GREYS = [85, 58, 38, 22, 11];

// Stacked bars of trained parameters: a bar a kernel and level, a shade a kind.
function parameterBars() {
  const table = data.tables.parameters;
  if (!table) return [];
  const kinds = table.columns.slice(2, -1);
  const several = new Set(table.rows.filter((row) => row[1].text !== "all").map((row) => row[0].text));
  const rows = table.rows.filter((row) => row[1].text !== "all" || !several.has(row[0].text));
  const whole = Math.max(...rows.map((row) => row.at(-1).key));
  const color = (index) => `background: color-mix(in srgb, var(--text) ${GREYS[index % GREYS.length]}%, var(--card))`;
  const cells = rows.flatMap((row) => {
    const parts = kinds.map((kind, i) => [kind, row[i + 2], i]).filter(([, cell]) => cell.key);
    const spans = parts.map(([kind, cell, i]) => explained(make("span", { tabindex: 0, style: `${color(i)}; width: ${((100 * cell.key) / whole).toFixed(2)}%` }), `${row[0].text}, ${row[1].text}\n${kind}: ${cell.text}`));
    const name = row[1].text === "all" ? row[0].text : `${row[0].text}, ${row[1].text}`;
    return [make("span", {}, name), make("span", { class: "whole" }, spans), make("span", {}, row.at(-1).text)];
  });
  const key = kinds.map((kind, i) => make("li", {}, make("span", { class: "swatch", style: color(i) }), kind));
  return [make("ul", { class: "legend" }, key), make("div", { class: "stack" }, cells)];
}

const AVERAGED = /^(leaderboard|runs|dice_by_)/; // tables of means over structures

function simple(id, title, names, extra = []) {
  const there = names.filter((name) => data.tables[name]);
  if (!there.length) return;
  const places = there.map((name) => [name, make("div"), note("")]);
  main.append(section(id, title, ...extra, ...places.flatMap(([name, place, words]) => [make("h3", {}, rich(data.tables[name].title)), place, words])));
  whenChanged(() => {
    for (const [name, place, words] of places) {
      place.replaceChildren(plainTable(name));
      words.replaceChildren(...rich(`${data.tables[name].note}${AVERAGED.test(name) ? ofAllStructures() : ""}`.trim()));
    }
  });
}

// The numbers of trained kernels, below their pictures.
function kernelNumbers() {
  const place = document.getElementById("kernels");
  for (const name of Object.keys(data.tables).filter((name) => name.startsWith("kernels_"))) {
    const table = make("div");
    place.append(make("h3", {}, rich(data.tables[name].title)), table, note(data.tables[name].note));
    whenChanged(() => table.replaceChildren(plainTable(name)));
  }
}
