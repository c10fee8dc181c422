// The report's numbers, what of them is shown, and small helpers to make elements.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = new Map(data.configurations.map((configuration) => [configuration.id, configuration]));
const metrics = new Map(data.metrics.map((metric) => [metric.name, metric]));

const state = {
  structures: new Set(data.structures.keys()),
  configurations: new Set(data.configurations.map((configuration) => configuration.id)),
  metric: "dice",
  compared: "dice",
  structure: -1,
  reference: "",
  measure: "",
  across: "epoch",
  smooth: 1,
  colored: "configuration",
  logarithmic: false,
  order: -2,
  paper: false,
  everyStructure: false,
  sorts: {},
  searches: {},
  subjectMetric: "dice",
  subjectStructure: -1,
  subjectFirst: "",
  subjectSecond: "",
  subjectFilter: "",
  subjectAxis: "",
  subject: "",
  confused: "",
  viewer: {},
  section: "",
  theme: null,
};
const defaults = { ...state };
const listeners = [];

function changed() {
  for (const listener of listeners) listener();
  remember();
}

function whenChanged(listener) {
  listeners.push(listener);
  listener();
}

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function selected() {
  return data.configurations.filter((c) => c.shown && state.configurations.has(c.id));
}

function selectedStructures() {
  return [...data.structures.keys()].filter((index) => state.structures.has(index));
}

function everyStructure() {
  return state.structures.size === data.structures.length;
}

function structureName(index) {
  if (index >= 0) return data.structures[index].name;
  return everyStructure() ? "average" : `average of the ${state.structures.size} selected`;
}

// Statistics, and tables that came ready, are of all structures, whatever is selected.
function testedName(index) {
  return index < 0 ? "average" : structureName(index);
}

function ofAllStructures() {
  return everyStructure() ? "" : ` These numbers are of all ${data.structures.length} structures, whatever is selected.`;
}

function average(values) {
  const there = values.filter((value) => value !== null && value !== undefined);
  return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
}

function deviation(values) {
  const there = values.filter((value) => value !== null && value !== undefined);
  if (there.length < 2) return null;
  const mean = average(there);
  return Math.sqrt(there.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (there.length - 1));
}

// Mean and standard deviation over replicates of a structure, or (-1) of the shown ones' mean.
function summary(values, structure) {
  const shown = selectedStructures();
  const perReplicate = values.map((row) => (structure < 0 ? average(shown.map((i) => row[i])) : row[structure]));
  return { mean: average(perReplicate), std: deviation(perReplicate), count: perReplicate.filter((v) => v !== null).length };
}

function number(value, metric, more = 0) {
  if (value === null || value === undefined) return "–";
  return (value * metric.factor).toFixed(metric.digits + more);
}

function withSpread(found, metric) {
  return found.std === null ? number(found.mean, metric) : `${number(found.mean, metric)} ± ${number(found.std, metric)}`;
}

function signed(value, metric) {
  if (value === null) return "–";
  const text = number(Math.abs(value), metric, 1);
  return Number(text) === 0 ? text : (value > 0 ? "+" : "−") + text;
}

function probability(value) {
  if (value === null) return "–";
  return value < 0.0001 ? "< 0.0001" : value.toPrecision(2);
}

function unitOf(metric) {
  return metric.unit === "%" ? "points" : metric.unit;
}

// Text in which "10^-3" gets a raised exponent, as nodes of HTML or of a drawing.
function rich(text, inDrawing = false) {
  return String(text).split(/(10\^-?[\d.]*\d)/).map((part, index) => {
    if (index % 2 === 0) return part;
    const exponent = part.slice(3).replace("-", "−");
    const raised = inDrawing ? draw("tspan", { dy: "-0.45em", "font-size": "0.78em" }, exponent) : make("sup", {}, exponent);
    return make("span", {}, "10", raised);
  });
}

function raisedInDrawing(text) {
  return rich(text, true).flatMap((part) => (part instanceof Element ? [...part.childNodes] : [part]));
}

const tip = document.getElementById("tip");

function showTip(text, target) {
  tip.textContent = text;
  tip.hidden = false;
  const box = target.getBoundingClientRect();
  const left = Math.min(window.innerWidth - tip.offsetWidth - 8, Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2));
  const above = box.top - tip.offsetHeight - 10;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : box.bottom + 10}px`;
}

function hideTip() {
  tip.hidden = true;
}

function explained(element, text) {
  fill(element, { onpointerenter: () => showTip(text, element), onpointerleave: hideTip, onfocus: () => showTip(text, element), onblur: hideTip }, []);
  return element;
}

function section(id, title, ...children) {
  return make("section", { id, "data-title": title }, make("h2", {}, title), ...children);
}

function note(text) {
  return make("p", { class: "note" }, rich(text));
}

// A row of buttons of which one is pressed.
function tabs(label, options, current, choose) {
  const bar = make("div", { class: "tabs", role: "group", "aria-label": label });
  for (const option of options) {
    const press = () => {
      choose(option.id);
      for (const button of bar.children) button.setAttribute("aria-pressed", String(button.dataset.id === option.id));
    };
    bar.append(make("button", { type: "button", "data-id": option.id, "aria-pressed": String(option.id === current), onclick: press }, option.name));
  }
  return bar;
}

function chooser(label, options, current, choose) {
  const select = make("select", { onchange: () => choose(select.value) });
  for (const option of options) select.append(make("option", { value: option.id, selected: String(option.id) === String(current) }, option.name));
  return make("label", {}, label, select);
}
