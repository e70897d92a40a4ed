// A soft label: 100 % split over labels. Each press gives a label one more part; what is stored is the share that is shown.

const MOST_PARTS = 20;

// {name: parts} -> {name: percent}, whole numbers that add to 100 (largest remainders).
export function percents(parts) {
  const rows = Object.entries(parts).filter(([, n]) => n > 0);
  const total = rows.reduce((sum, [, n]) => sum + n, 0);
  const exact = rows.map(([name, n]) => ({ name, floor: Math.floor((100 * n) / total), rest: ((100 * n) / total) % 1 }));
  let left = 100 - exact.reduce((sum, row) => sum + row.floor, 0);
  for (const row of [...exact].sort((a, b) => b.rest - a.rest)) {
    if (left <= 0) break;
    row.floor += 1;
    left -= 1;
  }
  return Object.fromEntries(exact.map((row) => [row.name, row.floor]));
}

export function fractions(parts) {
  const shares = percents(parts);
  return Object.keys(shares).length ? Object.fromEntries(Object.entries(shares).map(([name, n]) => [name, n / 100])) : null;
}

// The fewest parts that give these fractions, so that a restored answer goes on as it was.
export function partsOf(soft) {
  for (let n = 1; n <= MOST_PARTS; n += 1) {
    const parts = Object.fromEntries(Object.entries(soft).map(([name, share]) => [name, Math.round(share * n)]));
    const back = fractions(parts);
    if (back && Object.keys(soft).every((name) => Math.abs((back[name] ?? 0) - soft[name]) < 1e-9)) return parts;
  }
  return Object.fromEntries(Object.entries(soft).map(([name, share]) => [name, Math.round(share * 100)]));
}

// The one label with the largest share; null where two share it.
export function largest(soft) {
  const rows = Object.entries(soft ?? {}).sort((a, b) => b[1] - a[1]);
  return rows.length && (rows.length === 1 || rows[0][1] > rows[1][1]) ? rows[0][0] : null;
}
