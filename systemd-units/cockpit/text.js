// Words, numbers and times as people read them.

// The page speaks English, and so do its dates: as they are written where the reader is, when that is known.
const locale = navigator.languages.find(language => language.startsWith("en")) ?? "en";

// To make one takes longer than to use it, and there may be thousands of roots.
const moments = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const spans = new Intl.RelativeTimeFormat(locale, { numeric: "always" });

const minute = 60, hour = 60 * minute, day = 24 * hour;

/** A time, given in microseconds since 1970, in the local zone. */
export function moment(usec) {
    return moments.format(usec / 1000);
}

/** How long ago a time was, given in microseconds since 1970. The clock here is another than that of the machine. */
export function ago(usec, now = Date.now()) {
    const seconds = (now - usec / 1000) / 1000;
    if (Math.abs(seconds) < minute)
        return "just now";
    if (seconds < 0)
        return "in the future";
    const [size, unit] = seconds < hour ? [minute, "minute"] : seconds < day ? [hour, "hour"] : [day, "day"];
    return spans.format(-Math.floor(seconds / size), unit);
}

/** A length of time, given in microseconds. */
export function span(usec) {
    if (usec < 1e6)
        return `${Number((usec / 1e3).toPrecision(3))} ms`;
    if (usec < minute * 1e6)
        return `${Number((usec / 1e6).toPrecision(3))} s`;
    return count(Math.floor(usec / 1e6 / minute), "minute");
}

/** A number of bytes, in the binary units that btrfs prints. */
export function size(bytes) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = 0;
    while (bytes >= 1024 && unit < units.length - 1) {
        bytes /= 1024;
        unit++;
    }
    return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

/** "1 root", "2 roots"; of a noun with an irregular plural that is given too. */
export function count(n, noun, plural = noun + "s") {
    return `${n} ${n === 1 ? noun : plural}`;
}

/** The last part of a path. */
export function base(path) {
    return path.slice(path.lastIndexOf("/") + 1);
}
