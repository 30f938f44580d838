// Large results, which come as lines of JSON through a socket: see "Large results" in org.impermanence1(5).

/**
 * Reads a result to its end, from the path that a method replied with, as base64. Gives each line to `each`, and fails when the
 * result is not complete.
 */
export function readResult(path, each) {
    return new Promise((resolve, reject) => {
        // As whoever asked: the daemon lets nobody else read it.
        const channel = cockpit.channel({ payload: "stream", unix: fromBytes(path), superuser: "try" });
        let rest = "", complete = false;
        channel.addEventListener("message", (_event, text) => {
            const lines = (rest + text).split("\n");
            rest = lines.pop();
            for (const line of lines.map(l => JSON.parse(l))) {
                if (line.end)
                    complete = true;
                else
                    each(line);
            }
        });
        channel.addEventListener("close", (_event, ended) => {
            if (complete)
                resolve();
            else
                reject(new Error(ended.message || "The result is not complete"));
        });
    });
}

/** Bytes as a message has them, in base64, as text; a zero byte at their end is left out. */
export function fromBytes(base64) {
    const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    return new TextDecoder().decode(bytes[bytes.length - 1] === 0 ? bytes.subarray(0, -1) : bytes);
}

/** Text as bytes for a message, in base64. */
export function toBytes(text) {
    return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** A path in a result, which is an object where it is not UTF-8: as text, and in base64. */
export function pathOf(value) {
    return typeof value === "string" ? { text: value, bytes: toBytes(value) } : { text: fromBytes(value.base64), bytes: value.base64 };
}
