// Training curves: any column of metrics.csv, smoothed or not, by epochs or minutes.

const DASHES = ["", "6 3", "2 2.5", "9 3 2 3", "1 3"];

function trainingRuns() {
  return data.training.filter((run) => state.configurations.has(run.configuration) && run.values[state.measure]);
}

function measureFactor() {
  return /^val\/dice/.test(state.measure) ? 100 : 1;
}

function splitName(name) {
  return /^split/i.test(name) ? name : `split ${name}`;
}

function smoothed(epochs, values) {
  const reach = (state.smooth - 1) / 2;
  if (reach <= 0) return values;
  return values.map((value, i) => (value === null ? null : average(values.filter((_, j) => Math.abs(epochs[j] - epochs[i]) <= reach))));
}

// The drawn points of a run: [across, up, position], up on the axis's scale.
function curvePoints(run) {
  const values = smoothed(run.epochs, run.values[state.measure]).map((value) => (value === null ? null : value * measureFactor()));
  return run.epochs.map((epoch, i) => [state.across === "minutes" ? run.minutes[i] : epoch, upward(values[i]), i]).filter(([across, up]) => across !== null && up !== null);
}

function upward(value) {
  if (!state.logarithmic) return value;
  return value > 0 ? Math.log10(value) : null;
}

// What colours tell: the configuration, or by choice the split or the seed.
function curveGroups(runs) {
  if (state.colored === "configuration") return null;
  const names = [...new Set(runs.map((run) => String(run[state.colored])))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return new Map(names.map((name, i) => [name, { color: i % 8 }]));
}

function dashOf(run) {
  const splits = [...new Set(data.training.map((other) => other.split))];
  const seeds = [...new Set(data.training.map((other) => other.seed))];
  return DASHES[(splits.length > 1 ? splits.indexOf(run.split) : seeds.indexOf(run.seed)) % DASHES.length];
}

function trainingPanel(kernel, range, furthest, title, first) {
  return chart(`${title}, ${kernel.name}`, (width, size, label) => {
    const frame = { left: 4 * size, right: width - 10, top: 2.2 * size, bottom: 260, size };
    const svg = canvas(width, 260 + 3.4 * size, label);
    const all = trainingRuns();
    const groups = curveGroups(all);
    const x = scale([0, furthest], [frame.left, frame.right]);
    const y = scale(range, [frame.bottom, frame.top]);
    const heading = first ? title + (measureFactor() > 1 ? " [%]" : "") : "";
    if (state.logarithmic) logAxis(svg, y, range, frame, heading);
    else yAxis(svg, y, ticks(...range, 5), frame, heading);
    const whole = ticks(0, furthest, width / (6 * size)).filter((value) => state.across === "minutes" || Number.isInteger(value));
    xAxis(svg, x, whole, frame, state.across === "minutes" ? "minutes of training" : "epoch", undefined, false);
    const own = all.filter((run) => byId.get(run.configuration).kernel === kernel.id);
    for (const run of own) drawCurve(svg, run, groups?.get(String(run[state.colored])) ?? byId.get(run.configuration), x, y);
    for (const run of own) bestEpoch(svg, run, groups?.get(String(run[state.colored])), x, y);
    return svg;
  });
}

function logAxis(svg, y, range, frame, title) {
  const axis = draw("g", { class: "axis" });
  for (const value of logTicks(range)) {
    const at = y(Math.log10(value));
    axis.append(draw("line", { x1: frame.left, x2: frame.right, y1: at, y2: at }), draw("text", { x: frame.left - 7, y: at, dy: "0.35em", "text-anchor": "end" }, tickText(value)));
  }
  if (title) axis.append(draw("text", { class: "title", x: 2, y: frame.top - 10 }, title));
  svg.append(axis);
}

function drawCurve(svg, run, look, x, y) {
  const points = curvePoints(run).map(([across, up, i]) => [x(across), y(up), i]);
  const path = line(svg, look, points, { class: "curve", "stroke-width": 1.2, "stroke-opacity": 0.75, "stroke-dasharray": dashOf(run) || null });
  for (const [px, py, i] of points) svg.spots.push({ x: px, y: py, line: path, text: () => curveTip(run, i) });
}

function curveTip(run, i) {
  const value = run.values[state.measure][i];
  const shown = value === null ? "–" : (value * measureFactor()).toPrecision(4);
  const minutes = run.minutes[i] === null ? "" : `, ${run.minutes[i].toPrecision(3)} minutes`;
  const best = i === run.best ? "\nthe best epoch, which is tested" : "";
  return `${byId.get(run.configuration).label}, ${splitName(run.split)}, seed ${run.seed}\nepoch ${run.epochs[i]}${minutes}: ${shown}${best}`;
}

function bestEpoch(svg, run, look, x, y) {
  const found = curvePoints(run).find(([, , i]) => i === run.best);
  if (!found) return;
  const configuration = byId.get(run.configuration);
  point(svg, look ?? configuration, configuration.mark, x(found[0]), y(found[1]), curveTip(run, run.best));
}

function training() {
  if (!data.training.length) return;
  const [place, marks] = [make("div", { class: "panels" }), make("div")];
  preset("measure", data.measures[0].id, (id) => data.measures.some((measure) => measure.id === id));
  const act = (key, convert = (value) => value) => (value) => { state[key] = convert(value); changed(); };
  const option = (id, name = id) => ({ id, name });
  const log = make("input", { type: "checkbox", checked: state.logarithmic, onchange: () => { state.logarithmic = log.checked; changed(); } });
  const timed = data.training.some((run) => run.minutes.some((value) => value !== null));
  const bar = make("div", { class: "bar" },
    chooser("column ", data.measures, state.measure, act("measure")),
    timed ? chooser("along ", [option("epoch", "epochs"), option("minutes")], state.across, act("across")) : null,
    chooser("smoothed over ", [option(1, "nothing"), ...[3, 5, 9, 15, 31].map((n) => option(n, `${n} epochs`))], state.smooth, act("smooth", Number)),
    chooser("colours tell ", [option("configuration"), option("split"), option("seed")], state.colored, act("colored")),
    make("label", {}, log, "logarithmic"));
  main.append(section("training", "Training", note(`A line is a run, its mark the best epoch: the one that is tested. Dashes tell splits apart (seeds, if there is one split). Runs at ${data.notes.rate}`), bar, marks, place, figureFiles("training_curves")));
  whenChanged(() => {
    const runs = trainingRuns();
    const points = runs.flatMap(curvePoints);
    const range = extent(points.length ? points.map(([, up]) => up) : [0, 1], 0.03);
    const furthest = Math.max(...points.map(([across]) => across), 2);
    const shown = runs.map((run) => byId.get(run.configuration));
    const kernels = data.kernels.filter((kernel) => shown.some((c) => c.kernel === kernel.id));
    const title = data.measures.find((measure) => measure.id === state.measure).name;
    place.replaceChildren(...kernels.map((kernel) => make("div", {}, make("h3", {}, kernel.name), trainingPanel(kernel, range, furthest, title, kernel === kernels[0]))));
    const groups = curveGroups(runs);
    const named = groups && [...groups].map(([name, look]) => ({ ...look, name: state.colored === "split" ? splitName(name) : `seed ${name}` }));
    marks.replaceChildren(named ? legend(named, () => "-", (look) => look.name) : legend(shown, () => "-", lineName));
  });
}
