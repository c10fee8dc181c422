// The subjects: every one's scores, two configurations against each other, and who the subjects are.

const people = data.subjects;
const told = new Map(people.columns.map((column) => [column.name, column]));

function subjectScore(id, subject, structure, metric = metrics.get(state.subjectMetric)) {
  const row = people.scores[metric.name]?.[id]?.[subject];
  if (!row) return null;
  const value = structure < 0 ? average(selectedStructures().map((i) => row[i])) : row[structure];
  return value === null || value === undefined ? null : value / (metric.factor * 10 ** (metric.digits + 1));
}

// The subjects that pass the filter, "column=value".
function chosenSubjects() {
  const [column, ...value] = state.subjectFilter.split("=");
  const wanted = told.get(column);
  return [...people.names.keys()].filter((i) => !wanted || String(wanted.values[i]) === value.join("="));
}

function subjectsOf(id, structure = state.subjectStructure) {
  return chosenSubjects().map((subject) => ({ subject, value: subjectScore(id, subject, structure) })).filter((f) => f.value !== null);
}

function worstFirst(a, b) {
  return (metrics.get(state.subjectMetric).better < 0 ? -1 : 1) * (a.value - b.value);
}

function subjectTip(configuration, subject, value) {
  const metric = metrics.get(state.subjectMetric);
  const facts = people.columns.map((column) => (column.values[subject] === null ? null : `${column.name} ${column.values[subject]}`)).filter(Boolean);
  return [`${people.names[subject]}, ${configuration.label}`, `${structureName(state.subjectStructure)}: ${number(value, metric, 1)} ${metric.unit}`, facts.join(", ")].filter(Boolean).join("\n");
}

function subjectMark(svg, configuration, shape, x, y, subject, value) {
  point(svg, configuration, shape, x, y, subjectTip(configuration, subject, value), 4.2);
  const mark = svg.lastChild;
  mark.classList.add("subject");
  if (people.names[subject] === state.subject) mark.classList.add("chosen");
  mark.addEventListener("click", () => chooseSubject(people.names[subject]));
}

function chooseSubject(name) {
  state.subject = name;
  changed();
  showInViewer(name);
}

// A row a configuration, a dot a subject; the line is their mean.
function dotsChart() {
  return chart("Scores of the subjects", (width, size, label) => {
    const metric = metrics.get(state.subjectMetric);
    const shown = selected();
    const rows = shown.map((c) => subjectsOf(c.id));
    const longest = 0.58 * size * Math.max(...shown.map((c) => c.label.length), 0) + 12;
    const narrow = longest > 0.36 * width; // then names stand above their rows
    const height = Math.max(3.6 * size, 46) + (narrow ? 1.2 * size : 0);
    const frame = { left: narrow ? 6 : longest, right: width - 14, top: 8, bottom: 8 + height * shown.length, size };
    const svg = canvas(width, frame.bottom + 3.4 * size, `${label}: ${metric.title}`);
    const values = rows.flat().map((f) => f.value * metric.factor);
    if (!values.length) return svg;
    const range = extent(values, 0.04);
    const x = scale(range, [frame.left, frame.right]);
    xAxis(svg, x, ticks(...range, width / (7 * size)), frame, `test ${metric.title} of a subject [${metric.unit}], ${structureName(state.subjectStructure)}`);
    shown.forEach((c, i) => dotsRow(svg, c, rows[i], metric, x, frame, frame.top + height * i, height, narrow));
    return svg;
  });
}

function dotsRow(svg, configuration, found, metric, x, frame, top, whole, narrow) {
  const height = whole - (narrow ? 1.2 * frame.size : 0);
  const middle = top + whole - height / 2;
  const place = narrow ? { x: 0, y: top + 1.1 * frame.size } : { x: frame.left - 8, y: middle, dy: "0.35em", "text-anchor": "end" };
  svg.append(draw("g", { class: "axis" },
    draw("line", { x1: frame.left, x2: frame.right, y1: middle + height / 2, y2: middle + height / 2 }),
    draw("text", { class: "title", ...place }, configuration.label)));
  const mean = average(found.map((f) => f.value));
  if (mean === null) return;
  const at = x(mean * metric.factor);
  svg.append(draw("line", { x1: at, x2: at, y1: middle - height * 0.42, y2: middle + height * 0.42, stroke: colorOf(configuration), "stroke-width": 2.4, "stroke-opacity": 0.55 }));
  const placed = [];
  for (const { subject, value } of [...found].sort((a, b) => a.value - b.value)) {
    const px = x(value * metric.factor);
    const offset = freePlace(placed, px, height * 0.4);
    placed.push([px, offset]);
    subjectMark(svg, configuration, configuration.mark, px, middle + offset, subject, value);
  }
}

// How far from the middle a dot goes so that it covers no other, as far as there is room.
function freePlace(placed, x, room, step = 9) {
  for (let i = 0; ; i++) {
    const offset = Math.ceil(i / 2) * step * (i % 2 ? 1 : -1);
    if (Math.abs(offset) > room) return (placed.length % 2 ? 0.5 : -0.5) * step;
    if (!placed.some(([px, py]) => Math.abs(px - x) < step && Math.abs(py - offset) < step)) return offset;
  }
}

function worstTable() {
  const metric = metrics.get(state.subjectMetric);
  const first = byId.get(state.subjectFirst);
  const columns = [{ text: "subject", kind: "text" }, { text: everyStructure() ? "average" : "average of the selected" }, ...selectedStructures().map((i) => ({ text: structureName(i) })), ...factColumns()];
  const places = [-1, ...selectedStructures()];
  const subjects = chosenSubjects().filter((s) => people.scores[metric.name]?.[first.id]?.[s]);
  const table = places.map((place) => subjects.map((s) => subjectScore(first.id, s, place)));
  const ends = table.map((values) => values.filter((v) => v !== null)).map((there) => [Math.min(...there), Math.max(...there)]);
  const rows = subjects.map((subject, row) => ({
    cells: [subjectCell(subject), ...places.map((_, i) => ({ key: table[i][row], text: number(table[i][row], metric), share: shareOf(table[i][row], ...ends[i], metric) })), ...factCells(subject)],
  }));
  return dataTable("subjects", columns, rows, { tall: rows.length > 16, first: { column: 1, down: metric.better < 0 }, shaded: true, files: { csv: "study.csv" } });
}

function subjectCell(subject) {
  const name = people.names[subject];
  const node = inViewer(name) ? make("button", { type: "button", class: "link", title: "show in the viewer", onclick: () => chooseSubject(name) }, name) : make("span", {}, name);
  return { key: name, node, class: name === state.subject ? "chosen" : null };
}

function factColumns() {
  return people.columns.map((column) => ({ text: column.name, kind: column.number ? "number" : "text" }));
}

function factCells(subject) {
  return people.columns.map((column) => ({ key: column.values[subject], text: column.values[subject] ?? "–" }));
}

// Two configurations, subject by subject.
function duel() {
  const [first, second] = [byId.get(state.subjectFirst), byId.get(state.subjectSecond)];
  const other = new Map(subjectsOf(second.id).map((f) => [f.subject, f.value]));
  const both = subjectsOf(first.id).filter((f) => other.has(f.subject));
  return { first, second, both: both.map((f) => ({ ...f, other: other.get(f.subject), difference: f.value - other.get(f.subject) })) };
}

function duelTable() {
  const metric = metrics.get(state.subjectMetric);
  const { first, second, both } = duel();
  const columns = [{ text: "subject", kind: "text" }, { text: first.label }, { text: second.label }, { text: `difference [${unitOf(metric)}]` }, { text: "better", kind: "text" }, ...factColumns()];
  const rows = both.map((f) => {
    const winner = winnerOf(f, first, second, metric);
    return { cells: [subjectCell(f.subject), { key: f.value, text: number(f.value, metric, 1) }, { key: f.other, text: number(f.other, metric, 1) }, { key: f.difference, text: signed(f.difference, metric) }, { key: winner?.label ?? "", text: winner?.label ?? "–" }, ...factCells(f.subject)] };
  });
  return dataTable("duel", columns, rows, { tall: rows.length > 16, first: { column: 3, down: false } });
}

function winnerOf(found, first, second, metric) {
  const gain = found.difference * metric.better;
  return gain === 0 ? null : gain > 0 ? first : second;
}

function duelWords() {
  const metric = metrics.get(state.subjectMetric);
  const { first, second, both } = duel();
  if (!both.length) return "No subject was tested by both.";
  const won = both.filter((f) => winnerOf(f, first, second, metric) === first).length;
  const sizes = both.map((f) => f.difference * (metric.better || 1));
  const say = (value) => `${signed(value, metric)} ${unitOf(metric)}`;
  const counts = metric.better ? `${first.label} is better in ${won} of ${both.length} subjects, ${second.label} in ${both.filter((f) => winnerOf(f, first, second, metric) === second).length} (dashed lines). ` : "";
  return `${counts}Mean difference ${say(average(both.map((f) => f.difference)))}; from ${say(Math.min(...sizes) * (metric.better || 1))} to ${say(Math.max(...sizes) * (metric.better || 1))}. Whether that would hold for other subjects and trainings, Statistics tells.`;
}

// A line a subject from the one configuration to the other, in the colour of the better one; dashed if that is the second.
function duelChart() {
  return chart("Two configurations, subject by subject", (width, size, label) => {
    const metric = metrics.get(state.subjectMetric);
    const { first, second, both } = duel();
    const frame = { left: 3.4 * size, right: width - 10, top: 2.2 * size, bottom: 280, size };
    const svg = canvas(width, 280 + 2 * size, label);
    if (!both.length) return svg;
    const range = extent(both.flatMap((f) => [f.value, f.other].map((v) => v * metric.factor)));
    const y = scale(range, [frame.bottom, frame.top]);
    const ends = [frame.left + 0.2 * width, frame.right - 0.2 * width];
    yAxis(svg, y, ticks(...range, 6), frame, `test ${metric.title} [${metric.unit}]`);
    [first, second].forEach((c, i) => svg.append(draw("g", { class: "axis" }, draw("text", { class: "title", x: ends[i], y: frame.bottom + 1.6 * size, "text-anchor": "middle" }, c.label))));
    for (const f of both) {
      const winner = winnerOf(f, first, second, metric) ?? first;
      const dash = winner === second ? "6 3" : null;
      line(svg, winner, [[ends[0], y(f.value * metric.factor)], [ends[1], y(f.other * metric.factor)]], { "stroke-opacity": people.names[f.subject] === state.subject ? 1 : 0.55, "stroke-width": people.names[f.subject] === state.subject ? 3 : 1.6, "stroke-dasharray": dash });
    }
    for (const f of both) {
      subjectMark(svg, first, first.mark, ends[0], y(f.value * metric.factor), f.subject, f.value);
      subjectMark(svg, second, second.mark, ends[1], y(f.other * metric.factor), f.subject, f.other);
    }
    return svg;
  });
}

// Scores against a column of the data set: numbers along the axis, words side by side.
function factChart() {
  return chart("Scores against what is known of the subjects", (width, size, label) => {
    const metric = metrics.get(state.subjectMetric);
    const column = told.get(state.subjectAxis);
    const frame = { left: 3.4 * size, right: width - 14, top: 2.2 * size, bottom: 260, size };
    const svg = canvas(width, 260 + 3.4 * size, label);
    if (!column) return svg;
    const shown = [state.subjectFirst, state.subjectSecond].filter(Boolean).map((id) => byId.get(id));
    const found = shown.flatMap((c) => subjectsOf(c.id).filter((f) => column.values[f.subject] !== null).map((f) => ({ ...f, c })));
    if (!found.length) return svg;
    const words = [...new Set(found.map((f) => String(column.values[f.subject])))].sort();
    const across = column.number ? extent(found.map((f) => column.values[f.subject])) : [-0.6, words.length - 0.4];
    const range = extent(found.map((f) => f.value * metric.factor));
    const [x, y] = [scale(across, [frame.left, frame.right]), scale(range, [frame.bottom, frame.top])];
    const place = (f) => (column.number ? column.values[f.subject] : words.indexOf(String(column.values[f.subject])) + (shown.indexOf(f.c) - (shown.length - 1) / 2) * 0.2);
    yAxis(svg, y, ticks(...range, 5), frame, `test ${metric.title} [${metric.unit}]`);
    xAxis(svg, x, column.number ? ticks(...across, width / (7 * size)) : [...words.keys()], frame, column.name, column.number ? undefined : (i) => [words[i]], false);
    for (const f of found) subjectMark(svg, f.c, f.c.mark, x(place(f)), y(f.value * metric.factor), f.subject, f.value);
    return svg;
  });
}

// Mean and spread over subjects, structure by structure; also where there is but one run.
function spreadTable() {
  const metric = metrics.get(state.subjectMetric);
  const columns = [{ text: "structure", kind: "text" }, ...["mean", "std", "median", "worst", "best"].map((text) => ({ text: text + (["worst", "best"].includes(text) ? "" : ` [${metric.unit}]`) })), { text: "subjects" }];
  const rows = [...selectedStructures(), -1].map((place) => {
    const found = subjectsOf(state.subjectFirst, place).sort(worstFirst);
    const values = found.map((f) => f.value);
    const end = (f) => (f ? { key: f.value, text: `${number(f.value, metric)} (${people.names[f.subject]})` } : { key: null, text: "–" });
    const cell = (value) => ({ key: value, text: number(value, metric) });
    const middle = [...values].sort((a, b) => a - b);
    const median = middle.length ? (middle[(middle.length - 1) >> 1] + middle[middle.length >> 1]) / 2 : null;
    return { fixed: place < 0, cells: [{ key: structureName(place), text: structureName(place) }, cell(average(values)), cell(deviation(values)), cell(median), end(found[0]), end(found.at(-1)), { key: found.length, text: String(found.length) }] };
  });
  return dataTable("spread", columns, rows);
}

function subjects() {
  const shown = data.configurations.filter((c) => c.shown);
  if (!people.names.length || !shown.length) return;
  const means = shown.map((c) => average(data.scores.dice[c.id].values.map((row) => average(row))) ?? -1);
  preset("subjectFirst", shown[means.indexOf(Math.max(...means))].id);
  const act = (key, convert = (value) => value) => (value) => { state[key] = convert(value); changed(); };
  const choices = data.metrics.map((metric) => ({ id: metric.name, name: metric.title }));
  const places = [{ id: -1, name: "average" }, ...data.structures.map((s, index) => ({ id: index, name: s.name }))];
  const named = shown.map((c) => ({ id: c.id, name: c.label }));
  const filters = people.columns.filter((c) => new Set(c.values).size <= 12).flatMap((c) => [...new Set(c.values)].filter((v) => v !== null).sort().map((v) => ({ id: `${c.name}=${v}`, name: `${c.name} ${v}` })));
  const axes = people.columns.map((c) => ({ id: c.name, name: c.name }));
  const bar = make("div", { class: "bar" },
    tabs("Score", choices, state.subjectMetric, act("subjectMetric")),
    chooser("structure ", places, state.subjectStructure, act("subjectStructure", Number)),
    chooser("configuration ", named, state.subjectFirst, act("subjectFirst")),
    shown.length > 1 ? chooser("against ", [{ id: "", name: "none" }, ...named], state.subjectSecond, act("subjectSecond")) : null,
    filters.length ? chooser("only ", [{ id: "", name: "all subjects" }, ...filters], state.subjectFilter, act("subjectFilter")) : null,
    axes.length ? chooser("along ", [{ id: "", name: "nothing" }, ...axes], state.subjectAxis, act("subjectAxis")) : null);
  const [dots, lines, facts] = [dotsChart(), duelChart(), factChart()];
  const [worst, spread, table, words, pairs, along] = [make("div"), make("div"), make("div"), note(""), make("div"), make("div")];
  const [worstTitle, spreadTitle] = [make("h3"), make("h3")];
  pairs.append(make("h3", {}, "Subject by subject"), words, lines, figureNow(lines, "subject by subject"), table);
  along.append(make("h3", {}, "Who the subjects are"), facts, figureNow(facts, "scores by column"));
  main.append(section("subjects", "Subjects", note("A dot is a subject, the line the mean of a configuration. Splits and seeds that tested a subject are averaged."), bar, dots, figureNow(dots, "scores of the subjects"), worstTitle, worst, pairs, along, spreadTitle, spread));
  whenChanged(() => {
    const label = byId.get(state.subjectFirst).label;
    worstTitle.textContent = `Worst first: ${label}`;
    spreadTitle.textContent = `Mean and spread over subjects: ${label}`;
    worst.replaceChildren(worstTable());
    spread.replaceChildren(spreadTable());
    pairs.hidden = !state.subjectSecond || state.subjectSecond === state.subjectFirst;
    along.hidden = !state.subjectAxis;
    if (!pairs.hidden) {
      words.replaceChildren(duelWords());
      table.replaceChildren(duelTable());
      lines.again();
    }
    if (!along.hidden) facts.again();
    dots.again();
  });
}
