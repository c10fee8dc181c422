// Tables: sortable by every column, and following what is switched on.

// columns: {text, small, kind}; rows: lists of {text, key, class, node, head}; a row's `fixed` keeps it last.
// first: how the rows are sorted until the reader chooses; files: addresses of the table's files by kind.
function dataTable(id, columns, rows, { groups = null, tall = false, again = changed, first = null, shaded = false, search = false, files = {} } = {}) {
  const sort = state.sorts[id] ?? first;
  const body = make("tbody");
  for (const row of sorted(rows, sort)) {
    const line = make("tr", { class: row.fixed ? "average" : null });
    row.cells.forEach((cell, column) => line.append(tableCell(cell, column === 0, columns[column])));
    body.append(line);
  }
  const press = (column) => {
    const down = sort && sort.column === column ? !sort.down : columns[column].kind !== "text";
    state.sorts[id] = { column, down };
    again();
    document.querySelector(`[data-sort="${id}/${column}"]`)?.focus();
  };
  const heads = columns.map((column, index) => tableHead(id, column, index, sort, press));
  const table = make("table", { id: `table-${id}`, class: shaded ? "shaded" : null }, make("thead", {}, groups, make("tr", {}, heads)), body);
  const frame = wide(id, table, tall, files);
  if (search) frame.prepend(searchBox(id, table));
  return frame;
}

// Rows that lack a word of the search are hidden.
function searchBox(id, table) {
  const box = make("input", { type: "search", placeholder: "filter rows", "aria-label": `filter table ${id.replaceAll("_", " ")}`, "data-search": id, value: state.searches[id] ?? "" });
  const sift = () => {
    const words = box.value.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  };
  box.addEventListener("input", () => {
    if (box.value) state.searches[id] = box.value;
    else delete state.searches[id];
    sift();
    remember();
  });
  sift();
  return box;
}

// A table in its frame: it scrolls, shows where it goes on, and can be copied.
function wide(id, table, tall = false, files = {}) {
  const scroll = make("div", { class: tall ? "scroll tall" : "scroll", tabindex: 0, role: "region", "aria-label": `table ${id.replaceAll("_", " ")}` }, table);
  const frame = make("div", { class: "wide" }, scroll);
  const look = () => frame.classList.toggle("more", scroll.scrollWidth - scroll.clientWidth - scroll.scrollLeft > 4);
  scroll.addEventListener("scroll", look, { passive: true });
  scroll.look = look;
  frames.observe(scroll);
  const name = id.replaceAll("_", " ");
  const copy = make("button", { type: "button", class: "link", "aria-label": `copy table ${name}`, onclick: () => copyText(textOf(table), copy) }, "copy");
  const makers = { csv: ["text/csv", csvOf], tex: ["application/x-tex", latexOf] };
  const saved = Object.entries(makers).filter(([kind]) => !files[kind]).map(([kind, [type, written]]) => saveButton(kind, `table ${name} as ${kind}`, () => save(`${id}.${kind}`, type, written(table))));
  const links = Object.entries(files).map(([kind, href]) => make("a", { href, "aria-label": `table ${name} as ${kind}` }, kind));
  frame.append(make("p", { class: "files" }, copy, links, saved));
  return frame;
}

const frames = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.look()));

// What a cell says as plain text: raised exponents after a ^.
function plainText(cell) {
  const copy = cell.cloneNode(true);
  for (const raised of copy.querySelectorAll("sup")) raised.prepend("^");
  return copy.textContent.trim();
}

// A table as lines of cells with tabs between them, as spreadsheets take them.
function textOf(table) {
  return [...table.rows].map((row) => [...row.cells].map(plainText).join("\t")).join("\n");
}

// The same as csv, for tables that have no file beside the page; no cell is a formula to a spreadsheet.
function csvOf(table) {
  const cell = (text) => {
    const plain = text.replaceAll("−", "-");
    const safe = /^[=@\t\r]|^[+-](?![\d.])/.test(plain) ? `'${plain}` : plain;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [...table.rows].map((row) => [...row.cells].map((found) => cell(plainText(found))).join(",")).join("\n") + "\n";
}

const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "·": "$\\cdot$", "−": "$-$", "–": "--", "…": "\\dots{}" };

function latexText(text) {
  const powers = text.split(/(10\^[-−]?[\d.]*\d)/);
  const escaped = (part) => part.replace(/[\\~^±·−–…&%$#_{}]/g, (sign) => LATEX[sign] ?? `\\${sign}`);
  return powers.map((part, i) => (i % 2 ? `$10^{${part.slice(3).replace("−", "-")}}$` : escaped(part))).join("");
}

// The same for LaTeX with the package booktabs; best values bold.
function latexOf(table) {
  const cell = (found) => (found.classList.contains("best") ? `\\textbf{${latexText(plainText(found))}}` : latexText(plainText(found)));
  const [head, ...rows] = [...table.rows].map((row) => `${[...row.cells].map(cell).join(" & ")} \\\\`);
  const columns = `l${"r".repeat(table.rows[0].cells.length - 1)}`;
  return [`\\begin{tabular}{${columns}}`, "\\toprule", head, "\\midrule", ...rows, "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

function saveButton(kind, label, act) {
  return make("button", { type: "button", class: "link", "aria-label": label, onclick: act }, kind);
}

function save(name, type, content) {
  const link = make("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copyText(text, button, label = button.textContent) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "offscreen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

function filesOf(name) {
  return Object.fromEntries(["csv", "md", "tex"].map((kind) => [kind, `tables/${name}.${kind}`]));
}

function tableHead(id, column, index, sort, press) {
  const order = sort && sort.column === index ? (sort.down ? "descending" : "ascending") : "none";
  const button = make("button", { type: "button", class: "sort", "data-sort": `${id}/${index}`, onclick: () => press(index) }, rich(column.text));
  const length = column.text.length <= 10 ? "short" : column.text.length > 18 ? "long" : null;
  return make("th", { scope: "col", "aria-sort": order, class: [column.kind === "text" ? "text" : null, length].filter(Boolean).join(" ") || null }, button, column.small?.length ? make("small", {}, column.small) : null);
}

function tableCell(cell, head, column) {
  const kind = [cell.class, column.kind === "text" ? "text" : null].filter(Boolean).join(" ");
  const shade = cell.share === undefined || cell.share === null ? null : `--share: ${cell.share.toFixed(3)}`;
  return make(head ? "th" : "td", { class: kind || null, scope: head ? "row" : null, style: shade }, cell.node ?? rich(cell.text));
}

function sorted(rows, sort) {
  if (!sort) return rows;
  const free = rows.filter((row) => !row.fixed);
  const key = (row) => row.cells[sort.column]?.key ?? null;
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return sort.down ? -order : order;
  };
  return [...free.sort((a, b) => compare(key(a), key(b))), ...rows.filter((row) => row.fixed)];
}

// Table 1b: structures by configurations. What is the same in most columns is said once, below.
function structuresTable() {
  const metric = metrics.get(state.metric);
  const shown = inOrder(selected().filter((c) => data.scores[state.metric]?.[c.id]), metric);
  const counts = shown.map((c) => data.scores[state.metric][c.id].count);
  const rates = shown.map((c) => (c.rate === "not recorded" ? "rate not recorded" : `rate ${c.rate}`));
  const small = (i) => [counts, rates].filter((values) => values[i] !== mostFrequent(values)).map((values) => values[i]);
  const columns = shown.map((c, i) => ({ text: state.order > -2 ? c.label : c.line, small: small(i).flatMap((text) => [make("br"), ...rich(text)]).slice(1) }));
  const rows = selectedStructures().map((index) => structureRow(index, shown, metric));
  rows.push({ ...structureRow(-1, shown, metric), fixed: true });
  return dataTable("structures", [{ text: "structure", kind: "text" }, ...columns], rows, { groups: state.order > -2 ? null : kernelHeads(shown), shaded: true, files: filesOf(`structures_${state.metric}`) });
}

function mostFrequent(values) {
  const count = (value) => values.filter((other) => other === value).length;
  return [...values].sort((a, b) => count(b) - count(a))[0];
}

// Configurations by kernel, or from the best to the worst in the row that the reader chose.
function inOrder(shown, metric) {
  if (state.order < -1) return shown;
  const mean = new Map(shown.map((c) => [c, summary(data.scores[metric.name][c.id].values, state.order).mean ?? -Infinity * (metric.better || 1)]));
  return [...shown].sort((a, b) => (mean.get(b) - mean.get(a)) * (metric.better || 1));
}

function orderButton(index, name, size) {
  const press = () => {
    state.order = state.order === index ? -2 : index;
    changed();
    document.querySelector(`[data-order="${index}"]`)?.focus();
  };
  const button = make("button", { type: "button", class: "order", "data-order": index, "aria-pressed": String(state.order === index), title: "order the columns by this row", onclick: press }, name);
  return size ? explained(button, size) : button;
}

function kernelHeads(shown) {
  const row = make("tr", { class: "kernels" }, make("th", { "aria-hidden": "true" }));
  for (const kernel of data.kernels) {
    const own = shown.filter((c) => c.kernel === kernel.id);
    const sizes = new Set(own.map((c) => c.parameters).filter(Boolean));
    const size = sizes.size === 1 ? ` · ${([...sizes][0] / 1e6).toFixed(2)} M` : "";
    if (own.length) row.append(make("th", { colspan: own.length, scope: "colgroup" }, kernel.name + size));
  }
  return row;
}

function structureRow(index, shown, metric) {
  const found = shown.map((c) => summary(data.scores[metric.name][c.id].values, index));
  const rounded = found.map((f) => (f.mean === null ? null : Number(number(f.mean, metric)) * metric.better));
  const different = new Set(rounded.filter((v) => v !== null));
  const best = metric.better && different.size > 1 ? Math.max(...different) : null;
  const means = found.map((f) => f.mean).filter((v) => v !== null);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const cells = found.map((f, i) => ({
    key: f.mean,
    class: best !== null && rounded[i] === best ? "best" : null,
    share: shareOf(f.mean, low, high, metric),
    node: make("span", {}, scoreNode(f, metric), paperNode(shown[i], index, metric)),
  }));
  const name = structureName(index);
  const size = index >= 0 && data.structures[index].size ? `${data.structures[index].size} % of the labelled voxels in the paper's scans` : null;
  return { cells: [{ text: name, key: name, node: orderButton(index, name, size) }, ...cells] };
}

function scoreNode(found, metric) {
  const spread = found.std === null ? null : make("span", { class: "spread" }, ` ± ${number(found.std, metric)}`);
  return make("span", {}, number(found.mean, metric), spread);
}

function paperNode(configuration, index, metric) {
  if (!state.paper || metric.name !== "dice") return null;
  const published = data.paper[configuration.id]?.[index < 0 ? data.structures.length : index];
  const whole = index >= 0 || everyStructure();
  if (!published || !whole) return make("span", { class: "paper" }, "–");
  return make("span", { class: "paper" }, `paper ${(100 * published[0]).toFixed(0)} ± ${(100 * published[1]).toFixed(0)}`);
}

// Where a value stands between the worst (0) and the best (1) of its row.
function shareOf(value, low, high, metric) {
  if (value === null || high <= low || !metric.better) return null;
  return metric.better > 0 ? (value - low) / (high - low) : (high - value) / (high - low);
}

// A table that came ready; rows of configurations that are switched off are left out.
function plainTable(name) {
  const table = data.tables[name];
  const off = new Set(data.configurations.filter((c) => !state.configurations.has(c.id)).map((c) => c.label));
  const hidden = new Set(data.structures.filter((_, index) => !state.structures.has(index)).map((s) => s.name));
  const keep = table.columns.map((heading) => ![...off].some((label) => heading === label || heading.startsWith(`${label} [`)));
  const columns = table.columns.map((text, index) => ({ text, kind: typeof (table.rows[0]?.[index]?.key) === "string" ? "text" : "number" }));
  const rows = table.rows
    .filter((row) => !off.has(row[0].text) && !hidden.has(row[0].text))
    .map((row) => ({ cells: row.map((cell) => ({ ...cell, class: cell.best ? "best" : null })).filter((_, index) => keep[index]) }));
  return dataTable(name, columns.filter((_, index) => keep[index]), rows, { tall: rows.length > 16, search: rows.length > 5, files: filesOf(name) });
}

function field(row, name) {
  return row[data.fields.indexOf(name)];
}

function comparisonsShown(structure) {
  return (data.comparisons[state.compared] ?? []).filter((row) => {
    const pair = [field(row, "first"), field(row, "second")].map((index) => data.configurations[index].id);
    const place = field(row, "structure");
    const wanted = structure === null ? place < 0 || state.structures.has(place) : place === structure;
    return wanted && pair.every((id) => state.configurations.has(id));
  });
}

function describeComparison(row, sign = 1) {
  const metric = metrics.get(state.compared);
  const [first, second] = ["first", "second"].map((name) => data.configurations[field(row, name)].label);
  const [low, high] = ["low", "high"].map((name) => field(row, name)).map((v) => (v === null ? null : v * sign)).sort((a, b) => a - b);
  return [
    sign > 0 ? `${first} minus ${second}` : `${second} minus ${first}`,
    `${testedName(field(row, "structure"))}: ${signed(field(row, "difference") * sign, metric)} ${unitOf(metric)} (95 %: ${signed(low, metric)} … ${signed(high, metric)})`,
    `${field(row, "subjects")} subjects; same sign in ${field(row, "agreeing")} of ${field(row, "replicates")} trainings`,
    `p ${probability(field(row, "p_holm"))} over subjects (Holm), ${probability(field(row, "p_trainings"))} over trainings`,
    data.verdicts[field(row, "verdict")].id,
  ].join("\n");
}

// All pairs: row minus column.
function comparisonMatrix() {
  const metric = metrics.get(state.compared);
  const shown = selected();
  const rows = comparisonsShown(state.structure);
  const largest = Math.max(...rows.map((row) => Math.abs(field(row, "difference"))), 1e-12);
  const found = new Map();
  for (const row of rows) {
    const [first, second] = ["first", "second"].map((name) => data.configurations[field(row, name)].id);
    found.set(`${first}|${second}`, [row, 1]).set(`${second}|${first}`, [row, -1]);
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "row − column"), shown.map((c) => make("th", { scope: "col" }, c.label)));
  const body = shown.map((a) => make("tr", {}, make("th", { scope: "row" }, a.label), shown.map((b) => matrixCell(a === b ? null : found.get(`${a.id}|${b.id}`), metric, largest))));
  return wide("matrix", make("table", { class: "matrix", id: "table-matrix" }, make("thead", {}, head), make("tbody", {}, body)), false, filesOf(`comparisons_${state.compared}`));
}

function matrixCell(found, metric, largest) {
  if (!found) return make("td", { class: "self" }, "·");
  const [row, sign] = found;
  const value = field(row, "difference") * sign;
  const share = (0.42 * Math.abs(value)) / largest;
  const shown = field(row, "verdict") === 0;
  const button = make("button", { type: "button", class: shown ? "mark-shown" : "mark-open", "aria-label": describeComparison(row, sign) }, signed(value, metric) + (shown ? " ●" : ""));
  explained(button, describeComparison(row, sign));
  const toward = value * (metric.better || 1) > 0 ? "plus" : "minus";
  return make("td", { style: `background: rgba(var(--${toward}), ${share.toFixed(3)})` }, button);
}

function comparisonsTable() {
  const metric = metrics.get(state.compared);
  const words = ["first", "second", ...(state.everyStructure ? ["structure"] : []), `difference [${unitOf(metric)}]`, "95 % interval", "verdict", "p Holm", "p trainings", "subjects", "cases", "same sign", "p subjects", "r", "dz"];
  const columns = words.map((text) => ({ text, kind: ["first", "second", "structure", "verdict"].includes(text) ? "text" : "number" }));
  const rows = comparisonsShown(state.everyStructure ? null : state.structure).map((row) => comparisonRow(row, metric));
  return dataTable("comparisons", columns, rows, { tall: rows.length > 16, files: filesOf(`comparisons_${state.compared}`) });
}

function comparisonRow(row, metric) {
  const get = (name) => field(row, name);
  const text = (value) => ({ text: value, key: value });
  const measured = (name, shown) => ({ text: shown(get(name)), key: get(name) });
  const two = (value) => (value === null ? "–" : value.toFixed(2).replace("-", "−"));
  const verdict = data.verdicts[get("verdict")];
  return {
    cells: [
      text(data.configurations[get("first")].label),
      text(data.configurations[get("second")].label),
      ...(state.everyStructure ? [text(testedName(get("structure")))] : []),
      measured("difference", (v) => signed(v, metric)),
      { text: `${signed(get("low"), metric)} … ${signed(get("high"), metric)}`, key: get("low") },
      { key: verdict.id, node: explained(make("span", { class: `verdict v${get("verdict")}` }, verdict.id), verdict.meaning) },
      measured("p_holm", probability),
      measured("p_trainings", probability),
      measured("subjects", String),
      measured("cases", String),
      { text: `${get("agreeing")}/${get("replicates")}`, key: get("agreeing") },
      measured("p", probability),
      measured("rank_biserial", two),
      measured("dz", two),
    ],
  };
}
