// What the page remembers in this browser. Without storage it remembers until it is closed.
const kept = new Map();

/** Returns what was remembered under a name, else what `otherwise` is. */
export function recall(name, otherwise) {
  if (kept.has(name)) return kept.get(name);
  try {
    const text = localStorage.getItem(`velatura.${name}`);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Remembers a value that JSON can hold; null forgets it. */
export function remember(name, value) {
  kept.set(name, value);
  try {
    if (value === null) localStorage.removeItem(`velatura.${name}`);
    else localStorage.setItem(`velatura.${name}`, JSON.stringify(value));
  } catch { /* full or switched off */ }
}
