// Numbers as the page's language writes them.

const language = document.documentElement.lang;
const units = language === "fr" ? ["o", "ko", "Mo", "Go", "To", "Po"] : ["B", "kB", "MB", "GB", "TB", "PB"];

export function decimal(value, digits) {
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });
}

export function size(count) {
  let unit = 0;
  while (Math.abs(count) >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${decimal(count, unit ? 1 : 0)} ${units[unit]}`;
}
