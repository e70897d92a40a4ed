// The last readings as JSON and CSV; no picture and no sound is in them.

const CONDITIONS = ["both", "face", "voice"];

// Offers both files for download. Times are seconds before `until`, which is on the clock of the page, in ms.
export function save(kept, until, facts) {
  const labels = facts.emotions.map((emotion) => emotion.name);
  const readings = kept.map((reading) => row(reading, until, labels));
  const record = {
    kept_at: new Date().toISOString(),
    model_id: facts.model_id,
    window_s: facts.window_s,
    smoothing_s: facts.smoothing_s,
    readings,
  };
  const name = `avemo-live-${record.kept_at.slice(0, 19).replaceAll(":", "-")}`;
  download(`${name}.json`, "application/json", JSON.stringify(record, null, 1));
  download(`${name}.csv`, "text/csv", table(readings, labels));
}

function row(r, until, labels) {
  const named = (p) => p && Object.fromEntries(labels.map((label, k) => [label, p[k]]));
  return {
    seconds: Math.round(r.seen_ms - until) / 1000,
    frame_age_ms: Math.round(r.age_ms),
    verdict: r.verdict,
    both: named(r.both),
    face: named(r.face),
    voice: named(r.voice),
    why: r.why,
    box: r.box,
    frame: r.frame,
    level_db: r.level_db,
    voiced: r.voiced,
    baseline: r.baseline,
  };
}

function table(readings, labels) {
  const columns = CONDITIONS.flatMap((c) => labels.map((label) => `${c}_${label}`));
  const header = ["seconds", "frame_age_ms", "verdict", "confidence", "reason", ...columns, "level_db", "voiced", "baseline"];
  const rows = readings.map((r) => [
    r.seconds,
    r.frame_age_ms,
    r.verdict && !r.verdict.abstained ? r.verdict.label : "",
    r.verdict?.confidence ?? "",
    r.verdict?.reason ?? "",
    ...CONDITIONS.flatMap((c) => labels.map((label) => r[c]?.[label] ?? "")),
    r.level_db ?? "",
    r.voiced,
    r.baseline !== null,
  ]);
  return [header, ...rows].map((cells) => cells.join(",")).join("\n") + "\n";
}

function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
