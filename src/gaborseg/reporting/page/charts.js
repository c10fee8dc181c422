// Charts drawn as SVG from the numbers: points with a value for pointer and keyboard.

const SHAPES = {
  o: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  s: (r) => `M${-r * 0.9},${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}Z`,
  D: (r) => `M0,${-r * 1.25}L${r * 1.25},0L0,${r * 1.25}L${-r * 1.25},0Z`,
  "^": (r) => `M0,${-r * 1.15}L${r * 1.15},${r * 0.9}L${-r * 1.15},${r * 0.9}Z`,
  v: (r) => `M0,${r * 1.15}L${r * 1.15},${-r * 0.9}L${-r * 1.15},${-r * 0.9}Z`,
  P: (r) => cross(r, 0),
  X: (r) => cross(r, Math.PI / 4),
  "*": (r) => star(r * 1.3),
  "-": (r) => `M${-r * 1.6},${-r * 0.3}h${r * 3.2}v${r * 0.6}h${-r * 3.2}Z`,
};

function cross(r, turn) {
  const [a, b] = [r * 1.15, r * 0.42];
  const corners = [[-b, -a], [b, -a], [b, -b], [a, -b], [a, b], [b, b], [b, a], [-b, a], [-b, b], [-a, b], [-a, -b], [-b, -b]];
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  return `M${corners.map(([x, y]) => `${(x * cos - y * sin).toFixed(2)},${(x * sin + y * cos).toFixed(2)}`).join("L")}Z`;
}

function star(r) {
  const corners = Array.from({ length: 10 }, (_, i) => [i % 2 ? r * 0.45 : r, (i * Math.PI) / 5 - Math.PI / 2]);
  return `M${corners.map(([size, angle]) => `${(size * Math.cos(angle)).toFixed(2)},${(size * Math.sin(angle)).toFixed(2)}`).join("L")}Z`;
}

function colorOf(configuration) {
  return `var(--c${configuration.color})`;
}

function markFor(configuration, shape, r = 4.6) {
  return draw("path", { d: SHAPES[shape](r), fill: colorOf(configuration) });
}

function legendMark(configuration, shape) {
  const mark = markFor(configuration, shape, 5);
  mark.setAttribute("transform", "translate(8,8)");
  return draw("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, mark);
}

// What a line is called beside others of its panel: loss and variant, or all if those are the same.
function lineName(configuration) {
  return new Set(data.configurations.map((c) => c.line)).size > 1 ? configuration.line : configuration.label;
}

function legend(configurations, shape, label) {
  const seen = new Map(configurations.map((c) => [label(c), c]));
  return make("ul", { class: "legend" }, [...seen].map(([text, c]) => make("li", {}, legendMark(c, shape(c)), text)));
}

// A container whose chart is drawn again when its width changes.
function chart(label, paint) {
  const box = make("div", { class: "chart" });
  let width = 0;
  const again = () => {
    width = Math.round(box.clientWidth);
    if (!width) return;
    const size = parseFloat(getComputedStyle(document.documentElement).fontSize) > 17 ? 15 : 12;
    box.replaceChildren(paint(width, size, label));
  };
  new ResizeObserver(() => Math.round(box.clientWidth) !== width && again()).observe(box);
  box.again = again;
  return box;
}

// Links to the files of figures beside the page, of those that there are.
function figureFiles(...names) {
  const there = names.filter((name) => data.figures.includes(name));
  const link = (name, kind) => {
    const words = name.replaceAll("_", " ");
    return make("a", { href: `figures/${name}.${kind}`, "aria-label": `figure ${words} ${kind}` }, there.length > 1 ? `${words} ${kind}` : kind);
  };
  return there.length ? make("p", { class: "files" }, there.flatMap((name) => ["svg", "png"].map((kind) => link(name, kind)))) : null;
}

const LOOK = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "font-size", "font-weight", "visibility"];

// Buttons that save a chart as it is now, for charts that have no file beside the page.
function figureNow(box, name) {
  const stem = name.replaceAll(" ", "_");
  const drawing = () => drawnAlone(box.querySelector("svg"));
  return make("p", { class: "files" },
    saveButton("svg", `figure ${name} as svg`, () => save(`${stem}.svg`, "image/svg+xml", drawing())),
    saveButton("png", `figure ${name} as png`, () => savePixels(`${stem}.png`, drawing())));
}

// Three pixels to each of the screen's, enough for print.
function savePixels(name, drawing, times = 3) {
  const image = new Image();
  image.onload = () => {
    const board = make("canvas", { width: times * image.width, height: times * image.height });
    board.getContext("2d").drawImage(image, 0, 0, board.width, board.height);
    board.toBlob((pixels) => save(name, "image/png", pixels));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
}

// A drawing that needs no style sheet, on the ground that it has here.
function drawnAlone(svg) {
  const copy = svg.cloneNode(true);
  const parts = (root) => [root, ...root.querySelectorAll("*")];
  const copied = parts(copy);
  parts(svg).forEach((part, i) => {
    const look = getComputedStyle(part);
    for (const name of LOOK) copied[i].setAttribute(name, look.getPropertyValue(name));
  });
  const [width, height] = [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height];
  fill(copy, { width, height, "font-family": "sans-serif" }, []);
  copy.prepend(draw("rect", { width, height, fill: getComputedStyle(document.documentElement).getPropertyValue("--card") }));
  return new XMLSerializer().serializeToString(copy);
}

function canvas(width, height, label) {
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", tabindex: 0, "aria-label": `${label}. Arrow keys go from value to value.` });
  let active = -1;
  const points = () => [...svg.querySelectorAll("[data-tip]")];
  const goTo = (index) => {
    const all = points();
    all[active]?.classList.remove("active");
    active = Math.max(0, Math.min(all.length - 1, index));
    all[active]?.classList.add("active");
    if (all[active]) showTip(all[active].dataset.tip, all[active]);
  };
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) goTo(active + step);
    if (event.key === "Escape") hideTip();
    if (step) event.preventDefault();
  });
  svg.addEventListener("blur", () => {
    points()[active]?.classList.remove("active");
    active = -1;
    hideTip();
  });
  svg.spots = [];
  svg.addEventListener("pointermove", (event) => showNearest(svg, event));
  svg.addEventListener("pointerdown", (event) => showNearest(svg, event));
  svg.addEventListener("pointerleave", () => forget(svg));
  return svg;
}

// The value that is nearest to the pointer, wherever on the chart it is.
function showNearest(svg, event) {
  const frame = svg.getBoundingClientRect();
  const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
  let [best, least] = [null, Infinity];
  for (const spot of svg.spots) {
    const distance = (spot.x - x) ** 2 + (spot.y - y) ** 2;
    if (distance < least) [best, least] = [spot, distance];
  }
  if (!best || best === svg.spot) return;
  forget(svg);
  svg.spot = best;
  svg.ring ??= svg.appendChild(draw("circle", { class: "ring", r: 7 }));
  fill(svg.ring, { cx: best.x, cy: best.y, visibility: "visible" }, []);
  best.line?.classList.add("lit");
  showTip(typeof best.text === "string" ? best.text : best.text(), svg.ring);
}

function forget(svg) {
  svg.spot?.line?.classList.remove("lit");
  svg.spot = null;
  svg.ring?.setAttribute("visibility", "hidden");
  hideTip();
}

function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function tickText(value) {
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

function scale([low, high], [from, to]) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

function extent(values, margin = 0.06) {
  const there = values.filter((value) => value !== null && Number.isFinite(value));
  const [low, high] = [Math.min(...there), Math.max(...there)];
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

function yAxis(svg, y, values, frame, title) {
  const axis = draw("g", { class: "axis" });
  for (const value of values) {
    axis.append(draw("line", { x1: frame.left, x2: frame.right, y1: y(value), y2: y(value) }));
    axis.append(draw("text", { x: frame.left - 7, y: y(value), dy: "0.35em", "text-anchor": "end" }, tickText(value)));
  }
  if (title) axis.append(draw("text", { class: "title", x: 2, y: frame.top - 10 }, title));
  svg.append(axis);
}

function xAxis(svg, x, values, frame, title, text = (value) => [tickText(value)], grid = true) {
  const axis = draw("g", { class: "axis" });
  for (const value of values) {
    if (grid) axis.append(draw("line", { x1: x(value), x2: x(value), y1: frame.top, y2: frame.bottom }));
    axis.append(draw("text", { x: x(value), y: frame.bottom + 1.4 * frame.size, "text-anchor": "middle" }, ...text(value)));
  }
  axis.append(draw("text", { class: "title", x: (frame.left + frame.right) / 2, y: frame.bottom + 2.9 * frame.size, "text-anchor": "middle" }, title));
  svg.append(axis);
}

function point(svg, configuration, shape, x, y, text, r = 4.6) {
  const mark = markFor(configuration, shape, r);
  fill(mark, { class: "mark", transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, "data-tip": text }, []);
  svg.append(mark);
  svg.spots.push({ x, y, text });
}

function bar(svg, configuration, x1, y1, x2, y2) {
  svg.append(draw("line", { x1, y1, x2, y2, stroke: colorOf(configuration), "stroke-width": 1.5 }));
}

function line(svg, configuration, points, attributes = {}) {
  const path = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
  return svg.appendChild(draw("path", { d: path, fill: "none", stroke: colorOf(configuration), "stroke-width": 1.8, "stroke-linejoin": "round", ...attributes }));
}

// Fig. 3, the panel of one kernel.
function ratePanel(kernel, range, title) {
  const metric = metrics.get("dice");
  return chart(`Test Dice against learning rate, ${kernel.name}`, (width, size, label) => {
    const frame = { left: 3.2 * size, right: width - 10, top: 2.2 * size, bottom: 250, size };
    const svg = canvas(width, 250 + 3.4 * size, label);
    const rates = data.rates.map((rate) => Math.log10(rate.value));
    const x = scale(extent(rates, 0.06), [frame.left, frame.right]);
    const y = scale(range, [frame.bottom, frame.top]);
    yAxis(svg, y, ticks(...range, 5), frame, title ? "test Dice [%]" : "");
    const names = new Map(data.rates.map((rate) => [Math.log10(rate.value), rate.name]));
    xAxis(svg, x, rates, frame, "learning rate", (value) => raisedInDrawing(names.get(value)), false);
    for (const found of rateLines().filter((f) => f.configuration.kernel === kernel.id)) {
      const { configuration, points } = found;
      line(svg, configuration, points.map((p) => [x(Math.log10(p.rate)), y(100 * p.mean)]));
      for (const p of points) {
        const [px, py] = [x(Math.log10(p.rate)), y(100 * p.mean)];
        if (p.std) bar(svg, configuration, px, y(100 * (p.mean - p.std)), px, y(100 * (p.mean + p.std)));
        const words = `${configuration.label}\nlearning rate ${names.get(Math.log10(p.rate))}: ${withSpread(p, metric)} %\n${p.from}`;
        point(svg, configuration, configuration.mark, px, py, words);
      }
    }
    return svg;
  });
}

function rateLines() {
  return data.configurations
    .filter((c) => data.curves[c.id] && state.configurations.has(c.id))
    .map((configuration) => {
      const curve = data.curves[configuration.id];
      const points = curve.rates.map((rate, i) => ({ rate, from: curve.counts[i], ...summary(curve.values[i], -1) }));
      return { configuration, points: points.filter((p) => p.mean !== null) };
    });
}

// A metric per structure: a row a structure, a mark a configuration.
function structuresChart() {
  return chart("Scores per structure", (width, size, label) => {
    const metric = metrics.get(state.metric);
    const rows = [...selectedStructures(), -1];
    const shown = selected().filter((c) => data.scores[state.metric]?.[c.id]);
    const height = Math.max(2.1 * size, 7 * Math.sqrt(shown.length) + 12);
    const frame = { left: Math.min(12.2 * size, width * 0.38), right: width - 14, top: 8, bottom: 8 + height * rows.length, size };
    const svg = canvas(width, frame.bottom + 3.4 * size, `${label}: ${metric.title}`);
    const found = rows.map((row) => shown.map((c) => summary(data.scores[state.metric][c.id].values, row)));
    const values = found.flat().filter((f) => f.mean !== null).flatMap((f) => [f.mean - (f.std ?? 0), f.mean + (f.std ?? 0)].map((v) => v * metric.factor));
    if (!values.length) return svg;
    const range = extent(values, 0.04);
    const x = scale(range, [frame.left, frame.right]);
    xAxis(svg, x, ticks(...range, width / (7 * size)), frame, `test ${metric.title} [${metric.unit}]`);
    rows.forEach((row, i) => structureMarks(svg, row, found[i], shown, metric, x, frame, frame.top + height * (i + 0.5), height));
    return svg;
  });
}

function structureMarks(svg, row, found, shown, metric, x, frame, middle, height) {
  svg.append(draw("g", { class: "axis" },
    draw("line", { x1: frame.left, x2: frame.right, y1: middle + height / 2, y2: middle + height / 2 }),
    draw("text", { x: frame.left - 8, y: middle, dy: "0.35em", "text-anchor": "end", class: row < 0 ? "title" : null }, structureName(row))));
  found.forEach((f, i) => {
    if (f.mean === null) return;
    const y = middle + (shown.length > 1 ? ((i + 0.5) / shown.length - 0.5) * height * 0.78 : 0);
    const at = (value) => x(value * metric.factor);
    if (f.std) bar(svg, shown[i], at(f.mean - f.std), y, at(f.mean + f.std), y);
    const words = `${shown[i].label}\n${structureName(row)}: ${withSpread(f, metric)} ${metric.unit}\n${data.scores[metric.name][shown[i].id].count}`;
    point(svg, shown[i], shown[i].mark, at(f.mean), y, words, 3.9);
  });
}

// Differences to one configuration with their intervals.
function forestChart() {
  return chart("Differences to the reference", (width, size, label) => {
    const metric = metrics.get(state.compared);
    const rows = comparisonsShown(state.structure)
      .map((row) => [row, data.configurations[field(row, "first")].id === state.reference ? -1 : 1])
      .filter(([row]) => ["first", "second"].some((name) => data.configurations[field(row, name)].id === state.reference));
    const height = 2.3 * size;
    const narrow = width < 560;
    const frame = { left: narrow ? 10 : Math.min(20 * size, 0.36 * width), right: width - (narrow ? 10 : 9 * size), top: 6, bottom: 6 + (narrow ? 1.8 : 1) * height * Math.max(1, rows.length), size };
    const svg = canvas(width, frame.bottom + 3.4 * size, label);
    if (!rows.length) return svg;
    const ends = rows.flatMap(([row, sign]) => ["difference", "low", "high"].map((name) => field(row, name)).filter((v) => v !== null).map((v) => v * sign * metric.factor));
    const range = extent([...ends, 0], 0.05);
    const x = scale(range, [frame.left, frame.right]);
    xAxis(svg, x, ticks(...range, (frame.right - frame.left) / (6 * size)), frame, `difference to ${byId.get(state.reference).label} [${unitOf(metric)}]`);
    svg.append(draw("line", { x1: x(0), x2: x(0), y1: frame.top, y2: frame.bottom, stroke: "var(--soft)", "stroke-width": 1.2 }));
    rows.forEach((found, i) => forestRow(svg, found, metric, x, frame, frame.top + ((frame.bottom - frame.top) / rows.length) * (i + (narrow ? 0.72 : 0.5)), narrow));
    return svg;
  });
}

function forestRow(svg, [row, sign], metric, x, frame, y, narrow) {
  const other = data.configurations[field(row, sign > 0 ? "first" : "second")];
  const at = (name) => x(field(row, name) * sign * metric.factor);
  const place = narrow ? { x: frame.left, y: y - 1.15 * frame.size } : { x: frame.left - 8, y, dy: "0.35em", "text-anchor": "end" };
  svg.append(draw("g", { class: "axis" }, draw("text", { class: "title", ...place }, other.label)));
  if (!narrow) svg.append(draw("g", { class: "axis" }, draw("text", { x: frame.right + 10, y, dy: "0.35em" }, data.verdicts[field(row, "verdict")].id)));
  if (field(row, "low") !== null) bar(svg, other, at("low"), y, at("high"), y);
  point(svg, other, other.mark, at("difference"), y, describeComparison(row, sign), field(row, "verdict") === 0 ? 6 : 4.4);
}

// Mean Dice against parameters or time a step, on a log axis.
function costChart(key, title) {
  return chart(`Test Dice against ${title}`, (width, size, label) => {
    const metric = metrics.get("dice");
    const frame = { left: 3.2 * size, right: width - 14, top: 2.2 * size, bottom: 230, size };
    const svg = canvas(width, 230 + 3.4 * size, label);
    const found = data.costs.filter((c) => c[key] && state.configurations.has(c.configuration)).map((cost) => ({ cost, configuration: byId.get(cost.configuration), ...summary(data.scores.dice[cost.configuration].values, -1) })).filter((f) => f.mean !== null);
    if (!found.length) return svg;
    const across = extent(found.map((f) => Math.log10(f.cost[key])), 0.12);
    const range = extent(found.flatMap((f) => [f.mean - (f.std ?? 0), f.mean + (f.std ?? 0)].map((v) => 100 * v)), 0.08);
    const [x, y] = [scale(across, [frame.left, frame.right]), scale(range, [frame.bottom, frame.top])];
    yAxis(svg, y, ticks(...range, 5), frame, "test Dice [%]");
    xAxis(svg, (value) => x(Math.log10(value)), logTicks(across), frame, title, (value) => [compact(value)]);
    for (const f of found) {
      const [px, py] = [x(Math.log10(f.cost[key])), y(100 * f.mean)];
      if (f.std) bar(svg, f.configuration, px, y(100 * (f.mean - f.std)), px, y(100 * (f.mean + f.std)));
      point(svg, f.configuration, f.configuration.mark, px, py, `${f.configuration.label}\n${withSpread(f, metric)} %, ${compact(f.cost[key])} ${title}${key === "seconds" ? `\non ${f.cost.device}` : ""}`);
    }
    return svg;
  });
}

function logTicks([low, high]) {
  const inside = (factors) => {
    const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => 10 ** (Math.floor(low) + i));
    const all = powers.flatMap((power) => factors.map((factor) => factor * power));
    return all.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
  };
  return [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]].map(inside).find((all) => all.length > 2) ?? [Number((10 ** ((low + high) / 2)).toPrecision(2))];
}

function compact(value) {
  return value >= 1e5 ? `${Number((value / 1e6).toPrecision(3))} M` : String(Number(value.toPrecision(3)));
}
