// What the next boot will lose, and how to keep it.

import { h } from "./dom.js";
import { count, size } from "./text.js";
import { badge, button, card, table } from "./widgets.js";
import { pathOf, readResult } from "./stream.js";

/** Of how many losses the paths are remembered; of all of them the number and the size are. */
const remembered = 1000;

/** What was found; `state` is "unknown", "looking" or "known". */
export const noLosses = { state: "unknown", files: 0, bytes: 0, largest: [] };

/** Looks for what the next boot will lose, and tells `found` about it now and then. */
export async function look(daemon, found) {
    const losses = { ...noLosses, state: "looking", largest: [] };
    found(losses);
    try {
        await readResult(daemon, await daemon.call("ListLosses", "a{sv}t", [{}, 0]), loss => {
            if (loss.type === "directory" || loss.change === "deleted")
                return; // what is lost of those is in their files, or is not there any more
            losses.files++;
            losses.bytes += loss.link ? 0 : loss.size;
            losses.largest.push(loss);
            if (losses.largest.length >= 2 * remembered)
                losses.largest = largest(losses);
        });
        losses.largest = largest(losses);
        found({ ...losses, state: "known" });
    } catch (error) {
        found(noLosses);
        throw error;
    }
}

const largest = losses => losses.largest.sort((a, b) => b.size - a.size).slice(0, remembered);

const colors = { added: "green", changed: "blue", renamed: "blue", metadata: "gray" };

function row(loss) {
    const { text, bytes } = pathOf(loss.path);
    return {
        key: `loss-${bytes}`,
        cells: [
            h("span", { class: "name" }, text),
            badge(loss.change, colors[loss.change]),
            size(loss.size),
            h("div", { class: "actions" }, button("keep", "Keep…", { look: "link", data: { bytes }, label: `Keep… ${text}` })),
        ],
    };
}

export function losses({ state, files, bytes, largest: found }, limit) {
    const known = state === "known";
    return card("losses", "What the next boot will lose",
        { note: known && `${count(files, "file")}, ${size(bytes)}`, actions: button("look", known ? "Look again" : "Look", { busy: state === "looking" }) },
        state === "unknown" && h("p", { class: "empty" }, "Everything on the root that no entry keeps. To find it, the root is compared with what the next boot makes."),
        state === "looking" && h("p", { class: "empty" }, "Looking…"),
        known && files === 0 && h("p", { class: "empty" }, "Nothing: all that is on the root is kept, or is in every fresh root."),
        known && files > 0 && table("losses", "What the next boot will lose, the largest first", ["Path", "What", "Size", ""], found, row, limit),
        files > found.length && h("p", { class: "note" }, `Only the ${found.length} largest are listed. All of them: type `, h("code", null, "sudo impermanence diff"), "."));
}
