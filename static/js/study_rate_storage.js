// What this browser keeps for the page, by name. Where it keeps nothing (blocked, or full) the page's own memory does: that is
// lost with the page, but nothing else is.

const spare = new Map();

// The very look at it throws where it is blocked.
function found() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

const disk = found();

export const storage = {
  lasts: Boolean(disk),
  names: (prefix) => [...new Set([...Object.keys(disk ?? {}), ...spare.keys()])].filter((name) => name.startsWith(prefix)).sort(),
  read: (name) => JSON.parse(spare.get(name) ?? disk?.getItem(name) ?? 'null'),
  write(name, value) {
    const text = JSON.stringify(value);
    try {
      disk.setItem(name, text);
      spare.delete(name);
    } catch {
      spare.set(name, text);
    }
  },
  drop(name) {
    spare.delete(name);
    disk?.removeItem(name);
  },
  // Whether all that begins so outlives the page.
  safe: (prefix) => ![...spare.keys()].some((name) => name.startsWith(prefix)),
};
