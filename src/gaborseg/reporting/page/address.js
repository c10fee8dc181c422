// The address holds what the reader has chosen, so that a view can be sent: #section?choice=value.

const KEPT = ["metric", "compared", "structure", "reference", "measure", "across", "smooth", "colored", "logarithmic", "paper", "everyStructure", "order", "subjectMetric", "subjectStructure", "subjectFirst", "subjectSecond", "subjectFilter", "subjectAxis", "subject", "confused"];
const NESTED = ["sorts", "searches", "viewer"];

function known(key, value) {
  if (["structure", "subjectStructure", "order"].includes(key)) return Number.isInteger(value) && value >= -2 && value < data.structures.length;
  if (["metric", "subjectMetric"].includes(key)) return metrics.has(value);
  if (["reference", "subjectFirst", "subjectSecond"].includes(key)) return value === "" || Boolean(byId.get(value)?.shown);
  if (key === "compared") return value in data.comparisons;
  if (key === "confused") return value in data.confusion;
  if (key === "smooth") return value >= 1 && value <= 999;
  if (key === "across") return ["epoch", "minutes"].includes(value);
  if (key === "colored") return ["configuration", "split", "seed"].includes(value);
  return true;
}

function likeDefault(key, text) {
  if (typeof defaults[key] === "number") return Number(text);
  return typeof defaults[key] === "boolean" ? text === "true" : text;
}

// Take over what the address says; anything that this report does not have is passed over.
function restore() {
  const [place, choices] = location.hash.slice(1).split(/\?(.*)/s);
  state.section = place;
  const told = new URLSearchParams(choices ?? "");
  for (const key of KEPT) {
    if (!told.has(key)) continue;
    const value = likeDefault(key, told.get(key));
    if (known(key, value)) state[key] = value;
  }
  for (const key of NESTED) {
    try { Object.assign(state, { [key]: { ...JSON.parse(told.get(key) ?? "{}") } }); } catch { /* not ours */ }
  }
  for (const id of (told.get("without") ?? "").split("~")) state.configurations.delete(id);
  for (const index of (told.get("hidden") ?? "").split("~").filter(Boolean)) state.structures.delete(Number(index));
  state.theme = ["light", "dark"].includes(told.get("theme")) ? told.get("theme") : null;
}

function addressNow() {
  const told = new URLSearchParams();
  for (const key of KEPT) if (state[key] !== defaults[key]) told.set(key, state[key]);
  for (const key of NESTED) if (state[key] && Object.keys(state[key]).length) told.set(key, JSON.stringify(state[key]));
  const without = data.configurations.filter((c) => !state.configurations.has(c.id)).map((c) => c.id);
  const hidden = [...data.structures.keys()].filter((index) => !state.structures.has(index));
  if (without.length) told.set("without", without.join("~"));
  if (hidden.length) told.set("hidden", hidden.join("~"));
  if (state.theme) told.set("theme", state.theme);
  const place = state.section === "overview" ? "" : state.section;
  return `#${place}${told.size ? `?${told}` : ""}`;
}

let waiting = 0;

function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const address = addressNow();
    if (address !== (location.hash || "#")) history.replaceState(null, "", address);
  }, 250);
}

// A choice that depends on the report: what the address says of it counts if it makes sense.
function preset(key, value, fits = (choice) => Boolean(choice)) {
  defaults[key] = value;
  if (!fits(state[key])) state[key] = value;
}

window.addEventListener("hashchange", () => location.hash.includes("?") && location.reload());
