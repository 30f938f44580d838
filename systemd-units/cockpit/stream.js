// Large results, which come as lines of JSON through a socket: see "Large results" in org.impermanence1(5).

/**
 * Reads a result to its end, from the job and the path, as base64, that a method replied with. Gives each line to `each`, and fails
 * as the job did when the result is not complete.
 */
export async function readResult(daemon, [job, path], each) {
    const problem = await read(path, each);
    if (problem === null)
        return;
    const [, name, message] = await daemon.call("Wait", "t", [0], job, "Job").catch(() => []);
    throw Object.assign(new Error(message || problem), { name });
}

/** Reads a result, and answers with null, or with what to say when it is not complete. */
function read(path, each) {
    return new Promise(resolve => {
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
        channel.addEventListener("close", (_event, ended) => resolve(complete ? null : ended.message || "The result is not complete"));
    });
}

/** Bytes as a message has them, in base64, as text; a zero byte at their end is left out. */
export function fromBytes(base64) {
    const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    return new TextDecoder().decode(bytes[bytes.length - 1] === 0 ? bytes.subarray(0, -1) : bytes);
}

/** Text as bytes for a message, in base64. Of a byte that is not UTF-8 Cockpit makes half of a surrogate pair, as Python does. */
export function toBytes(text) {
    const bytes = [...text].flatMap(c => /[\udc80-\udcff]/u.test(c) ? c.charCodeAt(0) & 0xff : [...new TextEncoder().encode(c)]);
    return btoa(bytes.map(b => String.fromCharCode(b)).join(""));
}

/** A path in a result, which is an object where it is not UTF-8: as text, and in base64. */
export function pathOf(value) {
    return typeof value === "string" ? { text: value, bytes: toBytes(value) } : { text: fromBytes(value.base64), bytes: value.base64 };
}
